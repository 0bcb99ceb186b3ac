/* SPDX-License-Identifier: MIT */
#include "fs/kernel.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "backends/base/log.h"

/* FUSE_NOTIFY_INC_EPOCH, which older headers do not have, and the protocol that brought it. */
#define NOTIFY_INC_EPOCH 8
#define EPOCH_MINOR      44

static int device = -1;
static unsigned protocol;

/* Remembers the mount. */
void kernel_connected(int fd, unsigned minor)
{
	device = fd;
	protocol = minor;
}

/* Sends a message; the kernel knows nothing about it (ENOENT) is as good as done. */
static void notify(const void *message, size_t size)
{
	if (device >= 0 && write(device, message, size) < 0 && errno != ENOENT)
		log_debug("", "a message to the kernel: %s", strerror(errno));
}

/* A negative offset: the attributes, no bytes. */
void kernel_doubt_attr(uint64_t node)
{
	struct {
		struct fuse_out_header header;
		struct fuse_notify_inval_inode_out inode;
	} message = { { .len = sizeof(message), .error = FUSE_NOTIFY_INVAL_INODE },
		{ .ino = node, .off = -1 } };

	notify(&message, sizeof(message));
}

/* By the version. */
bool kernel_can_doubt_names(void)
{
	return protocol >= EPOCH_MINOR;
}

/* A new epoch: names of older ones count as expired. */
void kernel_doubt_names(void)
{
	struct fuse_out_header message = { .len = sizeof(message), .error = NOTIFY_INC_EPOCH };

	if (kernel_can_doubt_names())
		notify(&message, sizeof(message));
}
