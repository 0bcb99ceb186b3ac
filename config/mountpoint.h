/* SPDX-License-Identifier: MIT */
/*
 * Whether the mount would hide a file that poolfs itself needs: asking for it would
 * then wait for ourselves. Told from the paths and their symbolic links alone, and
 * without a look at anything below the mount point, where a daemon that died may
 * have left its mount.
 */
#ifndef CONFIG_MOUNTPOINT_H
#define CONFIG_MOUNTPOINT_H

#include <stdbool.h>

/* The mount point's absolute path without symbolic links; the caller frees it. NULL: a chain of
 * links has no end. */
char *mountpoint_resolve(const char *path);

/* Whether path (absolute) is mount or lies below it; mount is from mountpoint_resolve. */
bool mountpoint_hides(const char *mount, const char *path);

#endif
