/* SPDX-License-Identifier: MIT */
/*
 * What a machine left whose shim was killed: where the backend has said that something of it outlives that
 * process (poolfs_machine_owes), another one ends it, `poolfs-shim --clean DIRECTORY`, in the same
 * directory and with the same configuration. Loop's thread only.
 */
#ifndef FS_REMAINS_H
#define FS_REMAINS_H

#include <stddef.h>
#include <stdint.h>

struct mount;
struct remains;

/* Begins to end it, within so many milliseconds. done(data, reason) follows, once and from the loop: the reason is
 * NULL where all went well, else for people. path: of the directory. Both strings are copied. */
struct remains *remains_clean(struct mount *mount, const char *path, int directory, const char *name,
	uint64_t limit_ms, void (*done)(void *data, const char *reason), void *data);

/* Does so for directories that an earlier daemon left (workdir_clean), which are removed then. As long as that takes
 * each counts as a shim of the mount. */
void remains_left(struct mount *mount, const uint32_t *ids, size_t count);

#endif
