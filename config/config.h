/* SPDX-License-Identifier: MIT */
/*
 * A configuration file, read and checked: section [poolfs] for the daemon and one
 * section [pool NAME] per pool, in the syntax of inih. Every error of the file is
 * found in one go. Reads files; waits for nothing else; any thread.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stddef.h>
#include <stdio.h>

#include "backends/backend.h"
#include "backends/facts.h"

struct config_pool {
	char *name;
	const struct poolfs_kind *kind;
	struct poolfs_values *values;	/* kinds_pool_keys and the kind's tables */
	struct facts facts;		/* what the kind says of them */
	const char *module;		/* the path of the kind's module; NULL: it is of this build */
};

struct config {
	char *file;			/* absolute path, or a name where there is no file */
	struct poolfs_values *daemon;	/* section [poolfs]: config_keys */
	struct config_pool *pools;	/* in the order of the file */
	size_t pool_count;
};

/* The keys of section [poolfs]; ended by an entry without name. */
extern const struct poolfs_key config_keys[];

struct modules;
struct text;

/*
 * Adds the modules that section [poolfs] names to `modules`, which must outlive the configuration.
 * Reads file and checks all of it: syntax, sections, keys, types, repeated keys, what must exist,
 * each kind's own rules, and that no configured file lies below mount_point (NULL: not checked).
 * Each error is appended to errors as a line "FILE:LINE: KEY: what is wrong; what would be right\n"
 * (":LINE" and "KEY: " where there is one). 0 with *config for config_free, or -EINVAL / -errno.
 */
int config_load(const char *file, const char *mount_point, struct modules *modules,
	struct config **config, struct text *errors);
/* The configuration of poolfs --demo: one pool "demo" of containers. 0, or a negative errno. */
int config_demo(struct config **config, struct poolfs_err *err);
void config_free(struct config *config);

/* What --backends and --help-backend TYPE print. -ENOENT: no such kind. */
void config_print_kinds(FILE *out, const struct modules *modules);
int config_print_keys(FILE *out, const struct modules *modules, const char *kind);

#endif
