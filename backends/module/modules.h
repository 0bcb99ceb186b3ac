/* SPDX-License-Identifier: MIT */
/*
 * The kinds of machines that a daemon knows: those of this build, and those of modules that it was
 * given. What is in a module, and what its kind says of a pool, is asked of a shim (describe.h), which
 * ends again; nothing of a module is in this process. Each question waits for its answer, 10 seconds at
 * most: this is for the time before anything is mounted.
 */
#ifndef MODULE_MODULES_H
#define MODULE_MODULES_H

#include "backends/backend.h"
#include "backends/facts.h"

struct modules;

/* None yet. shim: the program that is asked; NULL: no module can be added. directory: where modules lie that
 * are named without a slash. Both are copied. */
struct modules *modules_new(const char *shim, const char *directory);
void modules_free(struct modules *modules);

/* The path of a file that is written as `word`: where that has no slash, in the directory for
 * modules, where it must be; else relative to directory, ~/ being the home. 0 with *path for free(), or a
 * negative errno. */
int modules_path(const struct modules *modules, const char *word, const char *directory, char **path,
	struct poolfs_err *err);

/* Adds the module at path, an absolute one; one that is there already is fine. 0, or a negative errno with
 * err, which begins with the path. */
int modules_add(struct modules *modules, const char *path, struct poolfs_err *err);

/* The index-th kind, those of this build first; NULL beyond the last. */
const struct poolfs_kind *modules_kind(const struct modules *modules, size_t index);
/* The kind of that name, or NULL. */
const struct poolfs_kind *modules_find(const struct modules *modules, const char *name);
/* The path of the module that a kind is of; NULL: it is of this build. */
const char *modules_file(const struct modules *modules, const struct poolfs_kind *kind);

/* As facts_find, of any of these kinds. */
int modules_facts(const struct modules *modules, const struct poolfs_kind *kind,
	const struct poolfs_values *values, struct facts *facts, struct poolfs_err *err);

#endif
