/* SPDX-License-Identifier: MIT */
#include "backends/base/installed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/base/memory.h"

/* Looks at each place. */
char *installed_find(const char *const *places, const char *fallback)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[length > 0 ? length : 0] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; slash && places[i]; i++) {
		char *path = memory_format("%s/%s", self, places[i]);
		if (access(path, R_OK) == 0)
			return path;
		free(path);
	}
	return memory_string(fallback);
}
