/* SPDX-License-Identifier: MIT */
#include "backends/shim/registry.h"

#include <string.h>

#include "backends/qemu/qemu.h"
#include "backends/remote/remote.h"

static const struct poolfs_backend *const backends[] = {
	&qemu_backend,
	&remote_backend,
	NULL,
};

/* Looks a backend up. */
const struct poolfs_backend *registry_find(const char *type)
{
	for (size_t i = 0; backends[i]; i++)
		if (strcmp(backends[i]->kind->name, type) == 0)
			return backends[i];
	return NULL;
}
