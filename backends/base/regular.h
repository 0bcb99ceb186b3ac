/* SPDX-License-Identifier: MIT */
/* Files that a configuration names, and that must be files: opening a FIFO would wait for its other end.
 * Does not block; any thread. */
#ifndef BASE_REGULAR_H
#define BASE_REGULAR_H

struct poolfs_err;

/* Opens a regular file, or /dev/null in the place of an empty one. flags: of open(2); what O_CREAT makes has
 * mode 0600. A descriptor, close-on-exec; or a negative errno with err (may be NULL), which begins with the
 * path: -EINVAL for anything else. */
int regular_open(const char *path, int flags, struct poolfs_err *err);

#endif
