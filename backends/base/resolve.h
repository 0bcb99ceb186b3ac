/* SPDX-License-Identifier: MIT */
/* Paths in a tree whose links are somebody else's: the kernel sees to it that none leads out. Any thread. */
#ifndef BASE_RESOLVE_H
#define BASE_RESOLVE_H

#include <linux/openat2.h>

/*
 * Opens path below a directory with openat2(2) (Linux 5.6). flags: of open(2), such as O_PATH | O_CLOEXEC,
 * without O_CREAT. how: RESOLVE_BENEATH, where what leads out is -EXDEV, or RESOLVE_IN_ROOT, where the
 * directory is "/" and its own "..". Links of proc(5) that lead anywhere are refused with -ELOOP.
 * A descriptor, or a negative errno.
 */
int resolve_open(int directory, const char *path, int flags, unsigned how);

#endif
