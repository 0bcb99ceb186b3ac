/* SPDX-License-Identifier: MIT */
/*
 * The configuration keys of the SSH transport. A kind of machine that is reached
 * by SSH lists this table among its own. Linked into the daemon too: no SSH here.
 */
#ifndef SSH_KEYS_H
#define SSH_KEYS_H

#include "backends/backend.h"

/* Ended by an entry without name. */
extern const struct poolfs_key ssh_keys[];

/* For the check of a kind that lists them: 0 or a negative errno with err. */
int ssh_keys_check(const struct poolfs_values *values, struct poolfs_err *err);

#endif
