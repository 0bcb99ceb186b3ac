/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/container/boot.h"
#include "backends/container/parts.h"

#ifdef MOUNT_ATTR_IDMAP

/* Gives a detached mount the ids of a user namespace (mount_setattr(2), "ID-mapped mounts"). */
static int map(int mount, pid_t pid)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY |
		MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	int users = open(path, O_RDONLY | O_CLOEXEC);
	if (users < 0)
		return -errno;
	attr.userns_fd = (uint64_t)users;
	int result = 0;
	if (syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		result = -errno;
	close(users);
	return result;
}

/* Makes a mount of the directory. */
int idmap_make(const char *path, pid_t pid)
{
	struct stat status;

	if (stat(path, &status) < 0 || !S_ISDIR(status.st_mode))
		return -1;
	int mount = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int result = mount < 0 ? -errno : map(mount, pid);
	if (result == 0)
		return mount;
	if (mount >= 0)
		close(mount);
	boot_send(BOOT_LOG, -1, "root: the files of %s keep the host's owners, whom the container does "
		"not have: %s", path, strerror(-result));
	return -1;
}

/* Attaches it. */
int idmap_attach(int mount, const char *target)
{
	return syscall(SYS_move_mount, mount, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

#else

int idmap_make(const char *path, pid_t pid)
{
	return -1;
}

int idmap_attach(int mount, const char *target)
{
	return -ENOSYS;
}

#endif
