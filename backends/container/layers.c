/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/container/boot.h"
#include "backends/container/parts.h"

/* open_tree(2), move_mount(2) and mount_setattr(2), the last of Linux 5.12; C libraries that know them define
 * these in headers that do not go together in all their versions, so they stand here. Calls this new have
 * one number everywhere. */
struct attributes {
	uint64_t set, clear, propagation, users;
};
#define ATTRIBUTE_RDONLY 0x1u
#define ATTRIBUTE_NOSUID 0x2u
#define ATTRIBUTE_NODEV 0x4u
#define ATTRIBUTE_RECURSIVE 0x8000u
#define TREE_CLONE 0x1u
#define TREE_CLOEXEC ((unsigned)O_CLOEXEC)
#define MOVE_FROM_EMPTY_PATH 0x4u
#define MOVE_TO_EMPTY_PATH 0x40u
#define CALL_OPEN_TREE 428
#define CALL_MOVE_MOUNT 429
#define CALL_MOUNT_SETATTR 442

/* What is mounted below the directory comes along, as the kernel does not let us see what it hides;
 * all of it is read-only before it is to be seen, and keeps the flags that a user namespace may not take
 * off. */
int layers_bind(int lower, int target)
{
	const struct attributes attributes = { .set = ATTRIBUTE_RDONLY | ATTRIBUTE_NOSUID |
		ATTRIBUTE_NODEV };
	int result = 0, tree = (int)syscall(CALL_OPEN_TREE, lower, "",
		TREE_CLONE | TREE_CLOEXEC | AT_EMPTY_PATH | ATTRIBUTE_RECURSIVE);

	if (tree < 0 || syscall(CALL_MOUNT_SETATTR, tree, "", AT_EMPTY_PATH | ATTRIBUTE_RECURSIVE,
				&attributes, sizeof(attributes)) < 0 ||
		syscall(CALL_MOVE_MOUNT, tree, "", target, "", MOVE_FROM_EMPTY_PATH | MOVE_TO_EMPTY_PATH) < 0)
		result = -errno;
	if (tree >= 0)
		close(tree);
	if (result == -ENOSYS)
		boot_fail(result, "a directory of the host cannot be shown read-only: Linux 5.12 or newer is "
			"needed");
	return result;
}

/* Makes a layer's directories: what is written, with a skeleton, and the kernel's own. */
static int make_layer(const struct layer *layer, char *upper, char *work, size_t size)
{
	char path[256];

	snprintf(upper, size, "layers/%s/upper", layer->name);
	snprintf(work, size, "layers/%s/work", layer->name);
	int result = root_make_path(upper, 0755);
	if (!result)
		result = root_make_path(work, 0755);
	for (size_t i = 0; !result && layer->skeleton && layer->skeleton[i]; i++) {
		snprintf(path, sizeof(path), "%s/%s", upper, layer->skeleton[i]);
		result = root_make_path(path, 0755);
	}
	return result;
}

/* Mounts. The lower directory is named by its descriptor: its path may hold what overlayfs takes
 * for its own, and need not lead there any more. "userxattr" is what overlayfs needs in a user
 * namespace (the kernel's Documentation/filesystems/overlayfs.rst). */
void layers_mount(const struct layer *layer)
{
	char upper[128], work[128];
	int result = make_layer(layer, upper, work, sizeof(upper));

	if (result < 0)
		boot_fail(result, "the layer of /%s", layer->name);
	char *options = memory_format("lowerdir=/proc/self/fd/%d,upperdir=%s,workdir=%s,userxattr",
		layer->lower, upper, work);
	result = mount("overlay", layer->target, "overlay", MS_NOSUID | MS_NODEV, options);
	free(options);
	if (result == 0)
		return;
	boot_send(BOOT_LOG, -1, "%s is read-only: no overlay: %s", layer->name, strerror(errno));
	int target = open(layer->target, O_PATH | O_DIRECTORY | O_CLOEXEC);
	result = target < 0 ? -errno : layers_bind(layer->lower, target);
	if (target >= 0)
		close(target);
	if (result < 0)
		boot_fail(result, "the host's directory for %s cannot be mounted", layer->name);
}
