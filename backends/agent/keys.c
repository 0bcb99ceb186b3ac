/* SPDX-License-Identifier: MIT */
#include "backends/agent/keys.h"

#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/values.h"

/* Takes the last name off a path. */
static void drop_name(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = '\0';
}

/* Folds a path. */
static char *fold(const char *path)
{
	char *out = memory_new(strlen(path) + 2);

	while (*path) {
		size_t size = strcspn(path, "/");

		if (size == 2 && !strncmp(path, "..", 2)) {
			drop_name(out);
		} else if (size > 0 && !(size == 1 && *path == '.')) {
			strcat(out, "/");
			strncat(out, path, size);
		}
		path += size;
		path += *path == '/';
	}
	if (!*out)
		strcpy(out, "/");
	return out;
}

/* Makes the home's name. Not every kind has the key. */
char *agent_keys_home(const struct poolfs_values *values)
{
	const char *user = values_key(values, "user") ? poolfs_string(values, "user") : NULL;

	return !user || !strcmp(user, "root") ? memory_string(AGENT_HOME)
					      : memory_format("/home/%s", user);
}

/* Makes the directory's name. */
char *agent_keys_directory(const struct poolfs_values *values)
{
	const char *files = poolfs_string(values, "files");

	if (files && *files == '/')
		return fold(files);
	char *home = agent_keys_home(values);
	if (!files || !*files)
		return home;
	char *joined = memory_format("%s/%s", home, strncmp(files, "~/", 2) ? files : files + 2);
	char *folded = fold(joined);
	free(joined);
	free(home);
	return folded;
}
