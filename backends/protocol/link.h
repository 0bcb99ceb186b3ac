/* SPDX-License-Identifier: MIT */
/*
 * Targets of symbolic links that come from a machine. The host's kernel resolves
 * them on the host, so a target must never be able to leave files/. No I/O.
 */
#ifndef PROTOCOL_LINK_H
#define PROTOCOL_LINK_H

#include <stddef.h>

#include "backends/protocol/files.h"

/*
 * Contains the target (size bytes) of the link at path, which is relative to the root of files/ as
 * in files.h. root is that root on the machine: absolute and free of "." and "..". The result in
 * out (with a NUL) is relative and has no ".." behind a name, and of these at most as many as the
 * link's directory is deep. A target that is so already stays as it is, as tools compare texts;
 * else an absolute one below root is written anew that way, "." and inner ".." are folded by their
 * text.
 *
 * 0; -EPERM when the target leaves root; -EIO when it is no path (empty, a NUL); -ENAMETOOLONG.
 */
int link_contain(const char *root, const char *path, const char *target, size_t size,
	char out[FILES_PATH_MAX + 1]);

#endif
