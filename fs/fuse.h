/* SPDX-License-Identifier: MIT */
/*
 * The kernel's side: one FUSE session, driven by the loop. The only part that knows
 * libfuse. Loop's thread only.
 */
#ifndef FS_FUSE_H
#define FS_FUSE_H

#include "backends/backend.h"

struct fuse_mount;
struct uv_loop_s;

/*
 * Mounts on mount_point. options: what -o gave, joined by commas, or NULL. ended(data) is called
 * from the loop when somebody unmounted it. 0 or a negative errno.
 */
int fuse_mount_new(struct uv_loop_s *loop, const char *source, const char *mount_point,
	const char *options, bool allow_other, void (*ended)(void *data), void *data,
	struct fuse_mount **mount, struct poolfs_err *err);

/* Takes the mount away and reads no more requests; those that were read can still be answered. */
void fuse_mount_end(struct fuse_mount *mount);
/* Before fuse_mount_end, which then unmounts nothing: the mount point is somebody else's by now. */
void fuse_mount_sever(struct fuse_mount *mount);
/* Closes the session; every request must have been answered. */
void fuse_mount_free(struct fuse_mount *mount);

#endif
