/* SPDX-License-Identifier: MIT */
/*
 * Virtual machines by QEMU: kind "qemu". The kind (keys.c) is linked into both
 * programs, the backend (qemu.c) into the shim alone.
 */
#ifndef QEMU_QEMU_H
#define QEMU_QEMU_H

#include "backends/backend.h"

extern const struct poolfs_kind qemu_kind;
extern const struct poolfs_backend qemu_backend;

#endif
