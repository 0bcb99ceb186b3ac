/* SPDX-License-Identifier: MIT */
/*
 * A module: a shared object with a kind of machine that is not part of poolfs, found by the one
 * symbol poolfs_module (backend.h). It is loaded by the shim alone: the daemon, which serves every
 * instance of a mount, is told what is in it (describe.h), and never runs a line of it.
 *
 * It runs with all that poolfs may do, so nobody else may be able to change it.
 */
#ifndef MODULE_LOAD_H
#define MODULE_LOAD_H

#include "backends/backend.h"

/* The tables of a module that was found to be right, with zeros for what an older one lacks. */
struct module {
	struct poolfs_kind kind;
	struct poolfs_backend backend;	/* its kind is the one above */
};

/*
 * Loads file, checks that nobody but root and this user can change it, and all of its tables. 0 with
 * *module for free(), while the module's own code and data stay until the process ends; or a negative
 * errno, where err says what is wrong, and with what. Reads files.
 */
int module_load(const char *file, struct module **module, struct poolfs_err *err);

/* Whether the tables are right: names, keys, features and the functions that these need. */
int module_check(const struct module *module, struct poolfs_err *err);

#endif
