/* SPDX-License-Identifier: MIT */
/*
 * What can be set for a run before it starts: its time limit, environment, directory and
 * terminal. An instance has such settings too, which its new runs start from. No I/O;
 * loop's thread only.
 */
#ifndef FS_SETTINGS_H
#define FS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/base/text.h"

/* Longest environment and directory, in bytes; with them a command still fits one frame. */
#define SETTINGS_ENVIRONMENT_MAX 65536u
#define SETTINGS_CWD_MAX	 4095u

struct settings {
	uint32_t timeout_ms;		/* 0: none */
	struct text environment;	/* lines KEY=VALUE; the last one may lack its newline */
	struct text cwd;		/* empty: the directory of files/ */
	uint16_t columns, rows;		/* 0: no terminal */
};

void settings_copy(struct settings *settings, const struct settings *from);
void settings_done(struct settings *settings);

/* The texts of the files, each a value and a newline. */
void settings_show_timeout(const struct settings *settings, struct text *text);
void settings_show_environment(const struct settings *settings, struct text *text);
void settings_show_cwd(const struct settings *settings, struct text *text);
void settings_show_tty(const struct settings *settings, struct text *text);

/* What was written: 0, or -EINVAL (and nothing changed), -EFBIG. A newline at the end is no part of the
 * value. timeout: seconds, with a fraction; cwd: a path; tty: "0" or "COLUMNSxROWS". */
int settings_store_timeout(struct settings *settings, const char *data, size_t size);
int settings_store_cwd(struct settings *settings, const char *data, size_t size);
int settings_store_tty(struct settings *settings, const char *data, size_t size);

/*
 * The environment is a text that is written as any file is: bytes at an offset (at most the end).
 * Every line must be KEY=VALUE, KEY made of letters, digits and '_', not beginning with a digit; of the
 * last one there may be a beginning only.
 */
int settings_write_environment(struct settings *settings, const char *data, size_t size,
	uint64_t offset);

/* Appends the payload of FRAME_RUN_SETUP. input: standard input stays open. */
void settings_frame(const struct settings *settings, bool input, struct text *payload);

/* The number of a signal by its name ("INT", "SIGINT") or as digits, 1 to 31; 0: there is none. size
 * bytes, a newline at the end does not count. */
int settings_signal(const char *name, size_t size);

#endif
