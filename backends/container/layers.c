/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "backends/base/memory.h"
#include "backends/container/boot.h"
#include "backends/container/parts.h"

/* Flags of a mount of the host's that a user namespace may not take off (mount_namespaces(7)). */
static unsigned long locked_flags(const char *target)
{
	static const struct {
		unsigned long have, flag;
	} flags[] = {
		{ ST_NOSUID, MS_NOSUID },
		{ ST_NODEV, MS_NODEV },
		{ ST_NOEXEC, MS_NOEXEC },
		{ ST_NOATIME, MS_NOATIME },
		{ ST_NODIRATIME, MS_NODIRATIME },
		{ ST_RELATIME, MS_RELATIME },
	};
	struct statvfs status;
	unsigned long result = 0;

	if (statvfs(target, &status) < 0)
		return 0;
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (status.f_flag & flags[i].have)
			result |= flags[i].flag;
	return result;
}

/* A bind mount gets its flags by being mounted again. What is mounted below it comes along, as the
 * kernel does not let us see what it hides. */
int layers_bind(int lower, const char *target)
{
	char source[64];

	snprintf(source, sizeof(source), "/proc/self/fd/%d", lower);
	if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	unsigned long flags = locked_flags(target) | MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID |
		MS_NODEV;
	return mount(NULL, target, NULL, flags, NULL) < 0 ? -errno : 0;
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
