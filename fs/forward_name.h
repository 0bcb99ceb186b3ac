/* SPDX-License-Identifier: MIT */
/*
 * The names in forward/ and expose/: what the user wants, in one word.
 *
 *   name    TARGET or TARGET:LISTEN
 *   end     PORT, tcp:ADDRESS:PORT or unix:PATH
 *   ADDRESS 127.0.0.1, localhost (the same), [::1]
 *   PATH    absolute, with %2F for '/', %3A for ':', %25 for '%', and %XX for whatever is no
 *         printable ASCII; every byte may be written so
 *
 * PORT alone is at 127.0.0.1. A LISTEN that is missing, or has port 0, is a port that the kernel of the
 * listening side chooses. No I/O; any thread.
 */
#ifndef FS_FORWARD_NAME_H
#define FS_FORWARD_NAME_H

#include "backends/backend.h"
#include "backends/protocol/protocol.h"

struct forward_name_end {
	enum forward_family family;
	uint16_t port;
	char path[PROTOCOL_FORWARD_PATH_MAX + 1];	/* of FORWARD_UNIX */
};

struct forward_name {
	struct forward_name_end target, listen;
};

/* 0; -EINVAL: it is no such name; -EOPNOTSUPP: a guest cannot listen at a unix socket; -ENAMETOOLONG.
 * err says why. */
int forward_name_parse(enum forward_direction direction, const char *name,
	struct forward_name *result, struct poolfs_err *err);

#endif
