/* SPDX-License-Identifier: MIT */
/* The backends that this build has. */
#ifndef SHIM_REGISTRY_H
#define SHIM_REGISTRY_H

#include "backends/backend.h"
#include "backends/transport.h"

/* The backend of a kind's name, or NULL. */
const struct poolfs_backend *registry_find(const char *type);
/* The transport of that name (facts.h), or NULL. */
const struct transport_ops *registry_transport(const char *name);

#endif
