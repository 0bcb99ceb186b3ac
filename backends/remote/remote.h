/* SPDX-License-Identifier: MIT */
/*
 * Machines that exist already and are reached by SSH: kind "ssh". The kind (keys.c)
 * is linked into both programs, the backend (remote.c) into the shim alone.
 */
#ifndef REMOTE_REMOTE_H
#define REMOTE_REMOTE_H

#include "backends/backend.h"

extern const struct poolfs_kind remote_kind;
extern const struct poolfs_backend remote_backend;

#endif
