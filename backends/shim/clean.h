/* SPDX-License-Identifier: MIT */
/*
 * poolfs-shim --clean: ends what a machine left whose shim was killed, by the backend's `clean`. There is
 * no daemon: messages go to standard error, and the console and the status nowhere.
 */
#ifndef SHIM_CLEAN_H
#define SHIM_CLEAN_H

#include "backends/shim/shim.h"

/* Of setup, the backend, values, name, directory, dirfd and stop_limit are used. 0, or a negative errno with
 * the reason: something is left. */
int clean_run(const struct shim_setup *setup, struct poolfs_err *err);

#endif
