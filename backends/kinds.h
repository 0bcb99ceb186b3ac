/* SPDX-License-Identifier: MIT */
/*
 * The kinds of machines that this build knows, and the keys that every pool takes
 * whatever its kind. Linked into both programs.
 */
#ifndef BACKENDS_KINDS_H
#define BACKENDS_KINDS_H

#include "backends/backend.h"

/* All kinds, ended by NULL. */
extern const struct poolfs_kind *const kinds_all[];

/* The kind of that name, or NULL. */
const struct poolfs_kind *kinds_find(const char *name);

/* Looks whether the values of a pool can work together: those that every pool takes, then the kind's
 * own check. 0, or a negative errno; err begins with the key that is to be changed. */
int kinds_check(const struct poolfs_kind *kind, const struct poolfs_values *values,
	struct poolfs_err *err);

/* Keys that every pool takes: type, count, boot_timeout, ... Ended by an entry without name. */
extern const struct poolfs_key kinds_pool_keys[];

/* kinds_pool_keys and the kind's own tables, in one array ended by NULL; free() it. */
const struct poolfs_key **kinds_tables(const struct poolfs_kind *kind);

#endif
