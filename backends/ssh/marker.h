/* SPDX-License-Identifier: MIT */
/*
 * The line that a command's shell prints before the command's text begins: it tells the
 * shell's process, and is taken out of standard output, wherever a login script's own output
 * put it. All else passes as it is. The line holds a random token, so that nothing else is
 * taken for it. No I/O.
 */
#ifndef SSH_MARKER_H
#define SSH_MARKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MARKER_NAME	"poolfs-run-"
#define MARKER_TOKEN	32u	/* hexadecimal digits: 128 bits */
#define MARKER_DIGITS	10u	/* of a process number */
#define MARKER_NUMBER_MAX ((UINT64_C(1) << 60) - 1)
/* name, token, space, number, CR, LF */
#define MARKER_LINE	(sizeof(MARKER_NAME) - 1 + MARKER_TOKEN + 1 + MARKER_DIGITS + 2)

struct marker {
	char token[MARKER_TOKEN + 1];
	char held[MARKER_LINE];		/* what may be the beginning of the line */
	size_t size;
	bool done;			/* the line has come; everything passes */
	uint32_t pid;			/* of the shell; 0 until then */
};

typedef void marker_pass(void *data, const char *bytes, size_t size);

/* Makes a random token. */
void marker_init(struct marker *marker);
/* A number for a token: from 1 to MARKER_NUMBER_MAX, no other token is likely to have it. */
uint64_t marker_number(const char *token);
/* Takes output in pieces of any size; pass gets what is not the line. */
void marker_feed(struct marker *marker, const char *bytes, size_t size, marker_pass *pass, void *data);
/* The output has ended: passes what was held back. */
void marker_end(struct marker *marker, marker_pass *pass, void *data);

#endif
