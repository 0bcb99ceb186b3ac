/* SPDX-License-Identifier: MIT */
#include "backends/base/regular.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/backend.h"

/* Opens. O_NONBLOCK means nothing to a regular file. */
int regular_open(const char *path, int flags, struct poolfs_err *err)
{
	struct stat status;
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	int result = fd < 0 || fstat(fd, &status) < 0 ? -errno : 0;

	if (result == 0 && S_ISREG(status.st_mode))
		return fd;
	if (fd >= 0)
		close(fd);
	if (result < 0)
		return poolfs_err_set(err, result, "%s: %s", path, strerror(-result));
	return poolfs_err_set(err, -EINVAL, "%s: not a regular file", path);
}
