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

/* mount_setattr(2), Linux 5.12; C libraries that know it define these in headers that do not go
 * together in all their versions, so they stand here. Calls this new have one number everywhere. */
struct attributes {
	uint64_t set, clear, propagation, users;
};
#define ATTRIBUTE_RDONLY 0x1u
#define ATTRIBUTE_NOSUID 0x2u
#define ATTRIBUTE_NODEV 0x4u
#define ATTRIBUTE_RECURSIVE 0x8000u
#define CALL_MOUNT_SETATTR 442

/* What is mounted below the directory comes along, as the kernel does not let us see what it hides;
 * all of it becomes read-only, and keeps the flags that a user namespace may not take off. */
int layers_bind(int lower, const char *target)
{
	const struct attributes attributes = { .set = ATTRIBUTE_RDONLY | ATTRIBUTE_NOSUID |
		ATTRIBUTE_NODEV };
	char source[64];

	snprintf(source, sizeof(source), "/proc/self/fd/%d", lower);
	if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	if (syscall(CALL_MOUNT_SETATTR, AT_FDCWD, target, ATTRIBUTE_RECURSIVE, &attributes,
		    sizeof(attributes)) == 0)
		return 0;
	if (errno == ENOSYS)
		boot_fail(-errno, "%s cannot be made read-only: Linux 5.12 or newer is needed", target);
	return -errno;
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
	result = layers_bind(layer->lower, layer->target);
	if (result < 0)
		boot_fail(result, "the host's directory for %s cannot be mounted", layer->name);
}
