/* SPDX-License-Identifier: MIT */
/*
 * Tells that a filesystem is mounted nowhere in our mount namespace any more, and not in use. The kernel ends
 * a FUSE session only with the last copy of its mount, and one lives on, seen by nobody, wherever somebody got a
 * namespace of his own meanwhile: a container that is being made, a service, unshare(1). Loop's thread only.
 */
#ifndef FS_VIGIL_H
#define FS_VIGIL_H

#include <stdbool.h>

struct vigil;
struct uv_loop_s;

struct vigil_events {
	/* Whether somebody uses what is not mounted any more: asked again in each turn of the loop. */
	bool (*in_use)(void *data);
	/* Once, from the loop. */
	void (*gone)(void *data);
};

/* Watches what is mounted at a path (absolute, without symbolic links). NULL: that cannot be done. */
struct vigil *vigil_new(struct uv_loop_s *loop, const char *mount_point, const struct vigil_events *events,
	void *data);
/* NULL is allowed. The memory goes on a later turn of the loop. */
void vigil_free(struct vigil *vigil);

#endif
