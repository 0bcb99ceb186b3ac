/* SPDX-License-Identifier: MIT */
/*
 * Makes foreign bytes safe for a terminal, in place and byte for byte, so that offsets stay
 * true: of the controls only newline and tab pass, a carriage return becomes a space, and every
 * other C0, DEL, and C1 (a byte of 80..9F outside of UTF-8, or U+0080..U+009F in it) becomes '?'.
 * The rest, also what is not UTF-8, passes. The bytes come in any pieces. No I/O.
 */
#ifndef SHIM_FILTER_H
#define SHIM_FILTER_H

#include <stddef.h>

/* Zeroed memory is the beginning of a stream. */
struct filter {
	unsigned char least, most;	/* what the next byte of the sequence may be */
	unsigned char left;		/* bytes of the sequence that are still to come */
};

void filter_apply(struct filter *filter, char *data, size_t size);

#endif
