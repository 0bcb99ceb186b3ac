/* SPDX-License-Identifier: MIT */
#include "backends/shim/registry.h"

#include <string.h>

#include "backends/container/container.h"
#include "backends/exec/exec.h"
#include "backends/qemu/qemu.h"
#include "backends/remote/remote.h"

static const struct poolfs_backend *const backends[] = {
	&qemu_backend,
	&container_backend,
	&remote_backend,
	&exec_backend,
	NULL,
};

static const struct transport_ops *const transports[] = {
	&ssh_transport,
	&agent_transport,
	&programs_transport,
	&none_transport,
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

/* Looks a transport up. */
const struct transport_ops *registry_transport(const char *name)
{
	for (size_t i = 0; transports[i]; i++)
		if (strcmp(transports[i]->name, name) == 0)
			return transports[i];
	return NULL;
}
