/* SPDX-License-Identifier: MIT */
/*
 * How a machine that exists already is written in a configuration:
 *
 *	[NAME=][USER@]HOST[:PORT]
 *
 * An IPv6 address stands in brackets where a port follows. No I/O; any thread.
 */
#ifndef REMOTE_TARGET_H
#define REMOTE_TARGET_H

#include <stdint.h>

#include "backends/backend.h"

struct target {
	char name[64];		/* "": none */
	char user[64];		/* "": none */
	char host[254];		/* the longest name that DNS has, and a NUL */
	uint16_t port;		/* 0: none */
};

/* 0; or -EINVAL with what would be right. */
int target_parse(const char *word, struct target *target, struct poolfs_err *err);
/* The same without a name in front, as for a machine on the way. */
int target_parse_host(const char *word, struct target *target, struct poolfs_err *err);

#endif
