/* SPDX-License-Identifier: MIT */
#include "backends/container/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/base/memory.h"

/* Whether it is a full path to "poolfs-PID". */
static bool is_group(const char *path, pid_t pid)
{
	const char *slash = strrchr(path, '/');
	char *name = memory_format("poolfs-%d", (int)pid);
	bool result = *path == '/' && !strcmp(slash + 1, name) && !strstr(path, "/../");

	free(name);
	return result;
}

/* Notes one. */
void groups_add(struct groups *groups, const char *path, pid_t pid)
{
	if (groups->count < GROUPS_MAX && is_group(path, pid))
		groups->paths[groups->count++] = memory_string(path);
}

/* Removes what can be. Whatever hinders but processes does so for good. */
bool groups_remove(struct groups *groups)
{
	unsigned left = 0;

	for (unsigned i = 0; i < groups->count; i++) {
		if (rmdir(groups->paths[i]) < 0 && errno == EBUSY)
			groups->paths[left++] = groups->paths[i];
		else
			free(groups->paths[i]);
	}
	groups->count = left;
	return left == 0;
}

/* Forgets all. */
void groups_done(struct groups *groups)
{
	while (groups->count > 0)
		free(groups->paths[--groups->count]);
}
