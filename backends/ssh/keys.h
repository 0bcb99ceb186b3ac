/* SPDX-License-Identifier: MIT */
/*
 * The configuration keys of the SSH transport, poolfs_ssh_keys of backend.h. A kind of machine
 * that is reached by SSH lists this table among its own. Linked into the daemon too: no SSH here.
 */
#ifndef SSH_KEYS_H
#define SSH_KEYS_H

#include "backends/backend.h"

/* Whether their values fit together: 0 or a negative errno with err. */
int ssh_keys_check(const struct poolfs_values *values, struct poolfs_err *err);

#endif
