/* SPDX-License-Identifier: MIT */
/*
 * Remembers a console's last lines. The bytes come in any pieces. Carriage returns are left out, a NUL
 * becomes a space, and what is longer than LINES_SIZE is cut. No I/O, fixed memory.
 */
#ifndef SHIM_LINES_H
#define SHIM_LINES_H

#include <stddef.h>

#define LINES_SIZE 4096
#define LINES_KEPT 20
#define LINES_KEPT_SIZE 512

struct text;

struct lines {
	char line[LINES_SIZE];			/* the incomplete one */
	size_t size;
	char kept[LINES_KEPT][LINES_KEPT_SIZE];	/* a ring; the oldest at count % LINES_KEPT */
	unsigned long count;
};

/* Zeroed memory is an empty object. */
void lines_feed(struct lines *lines, const void *bytes, size_t size);

/* Appends the last lines, the incomplete one as well, each ended by a newline. Not escaped. */
void lines_tail(const struct lines *lines, struct text *out);

#endif
