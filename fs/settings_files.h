/* SPDX-License-Identifier: MIT */
/*
 * The files of settings, which an instance and a run both show: timeout, environment,
 * cwd, tty. Those of an instance are what its new runs start from; those of a run can be
 * set until it starts (then EBUSY), but for the size of a terminal that it has.
 */
#ifndef FS_SETTINGS_FILES_H
#define FS_SETTINGS_FILES_H

#include "fs/control.h"

void settings_files_timeout_show(struct object *object, struct text *text);
int settings_files_timeout_store(struct object *object, const char *data, size_t size);
void settings_files_cwd_show(struct object *object, struct text *text);
int settings_files_cwd_store(struct object *object, const char *data, size_t size);
void settings_files_tty_show(struct object *object, struct text *text);
int settings_files_tty_store(struct object *object, const char *data, size_t size);
void settings_files_environment_show(struct object *object, struct text *text);
extern const struct control_ops settings_files_environment_ops;

#endif
