/* SPDX-License-Identifier: MIT */
/* The backends that this build has. */
#ifndef SHIM_REGISTRY_H
#define SHIM_REGISTRY_H

#include "backends/backend.h"

/* The backend of a kind's name, or NULL. */
const struct poolfs_backend *registry_find(const char *type);

#endif
