/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/resolve.h"
#include "backends/container/parts.h"

/* Opens. */
int within_open(const char *path)
{
	return resolve_open(AT_FDCWD, path, O_PATH | O_CLOEXEC, RESOLVE_IN_ROOT);
}

/* Opens what holds the last name. */
int within_parent(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX] = ".";

	*name = !slash ? path : slash[1] ? slash + 1 : ".";
	if (slash && (size_t)(slash - path) >= sizeof(parent))
		return -ENAMETOOLONG;
	if (slash > path)
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	return resolve_open(AT_FDCWD, parent, O_PATH | O_DIRECTORY | O_CLOEXEC, RESOLVE_IN_ROOT);
}

/* Makes one directory; one that is there stays as it is. */
static int make_one(const char *path, mode_t mode)
{
	const char *name;
	int parent = within_parent(path, &name);

	if (parent < 0)
		return parent;
	int result = 0;
	if (mkdirat(parent, name, 0755) == 0)
		result = fchmodat(parent, name, mode, 0) < 0 ? -errno : 0;
	else if (errno != EEXIST)
		result = -errno;
	close(parent);
	return result;
}

/* Makes all. */
int within_make(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	int result = 0;

	for (size_t i = 1; path[i] && result == 0; i++) {
		if (path[i] != '/' || path[i - 1] == '/' || i >= sizeof(part))
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		result = make_one(part, 0755);
	}
	if (result == 0)
		result = make_one(path, mode);
	return result < 0 ? result : resolve_open(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, RESOLVE_IN_ROOT);
}

/* By proc(5). */
void within_name(int fd, char name[WITHIN_NAME])
{
	snprintf(name, WITHIN_NAME, "/proc/self/fd/%d", fd);
}
