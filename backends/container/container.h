/* SPDX-License-Identifier: MIT */
/*
 * Containers of Linux's namespaces on this host: kind "container". The kind (keys.c) is linked into
 * both programs, the backend (container.c) into the shim alone; what makes and holds the container
 * is a program of its own (main.c).
 */
#ifndef CONTAINER_CONTAINER_H
#define CONTAINER_CONTAINER_H

#include "backends/backend.h"

extern const struct poolfs_kind container_kind;
extern const struct poolfs_backend container_backend;

#endif
