/* SPDX-License-Identifier: MIT */
/* What is mounted in this process' mount namespace. Any thread. */
#ifndef FS_MOUNTS_H
#define FS_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

/* Size of the text of a device, "MAJOR:MINOR", with its NUL. */
#define MOUNTS_DEVICE 32

/*
 * Unmounts everything below the directory path (absolute, without symbolic links), the newest
 * first; also what is in use, which then goes with its last user. 0; a negative errno when
 * something stays mounted, or it cannot be known: then `where` (size bytes) has a mount point,
 * escaped, or "".
 */
int mounts_detach(const char *path, char *where, size_t size);

/* The device of what was mounted last at a path (absolute, without symbolic links). false: nothing is. */
bool mounts_device(const char *path, char device[MOUNTS_DEVICE]);
/* Whether a device is mounted anywhere; true where that cannot be known. */
bool mounts_has(const char *device);

#endif
