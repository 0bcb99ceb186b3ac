/* SPDX-License-Identifier: MIT */
/* What is mounted below a directory that is to be removed. Any thread. */
#ifndef FS_MOUNTS_H
#define FS_MOUNTS_H

#include <stddef.h>

/*
 * Unmounts everything below the directory path (absolute, without symbolic links), the newest
 * first; also what is in use, which then goes with its last user. 0; a negative errno when
 * something stays mounted, or it cannot be known: then `where` (size bytes) has a mount point,
 * escaped, or "".
 */
int mounts_detach(const char *path, char *where, size_t size);

#endif
