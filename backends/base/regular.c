/* SPDX-License-Identifier: MIT */
#include "backends/base/regular.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "backends/backend.h"

/* Of /dev/null, in the kernel's Documentation/admin-guide/devices.txt. */
#define NULL_MAJOR 1
#define NULL_MINOR 3

/* Whether it never keeps anybody waiting. */
static bool is_prompt(const struct stat *status)
{
	return S_ISREG(status->st_mode) ||
		(S_ISCHR(status->st_mode) && status->st_rdev == makedev(NULL_MAJOR, NULL_MINOR));
}

/* Opens. O_NONBLOCK means nothing to a regular file. */
int regular_open(const char *path, int flags, struct poolfs_err *err)
{
	struct stat status;
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	int result = fd < 0 || fstat(fd, &status) < 0 ? -errno : 0;

	if (result == 0 && is_prompt(&status))
		return fd;
	if (fd >= 0)
		close(fd);
	if (result < 0)
		return poolfs_err_set(err, result, "%s: %s", path, strerror(-result));
	return poolfs_err_set(err, -EINVAL, "%s: not a regular file", path);
}
