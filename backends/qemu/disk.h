/* SPDX-License-Identifier: MIT */
/*
 * The instance's own disk: an overlay above the pool's image, made by qemu-img.
 */
#ifndef QEMU_DISK_H
#define QEMU_DISK_H

#include "backends/process/child.h"

/* How long qemu-img may take; it writes some hundred kilobytes. */
#define DISK_MS 60000

/*
 * Starts to make ARGS_OVERLAY in the current directory for the pool's disk. qemu-img does not open
 * the image: what it would find there is not trusted. The callbacks, data and launcher come from
 * options; the rest of it is filled here.
 */
int disk_start(struct uv_loop_s *loop, const struct poolfs_values *values,
	struct child_options *options, struct child **child, struct poolfs_err *err);

#endif
