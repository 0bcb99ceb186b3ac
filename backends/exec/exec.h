/* SPDX-License-Identifier: MIT */
/*
 * The kind "exec": a machine is what programs of the user's make of it (poolfs-exec(5)). It is
 * reached by SSH, at the address that one of them prints, or by the transport "programs": a
 * program that runs a command in it.
 */
#ifndef EXEC_EXEC_H
#define EXEC_EXEC_H

#include "backends/backend.h"

extern const struct poolfs_kind exec_kind;
extern const struct poolfs_backend exec_backend;

#endif
