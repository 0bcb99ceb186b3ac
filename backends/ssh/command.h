/* SPDX-License-Identifier: MIT */
/*
 * What is sent to the machine for a command: the request for the login's shell, and, where
 * that would be too long, a script that goes first over standard input. No I/O.
 */
#ifndef SSH_COMMAND_H
#define SSH_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "backends/base/text.h"
#include "backends/transport.h"

struct command_shape {
	const char *directory;	/* where commands start; NULL: the login's home */
	const char *token;	/* of the marker line; NULL: the login's shell is not of POSIX's kind, the
				   command gets neither marker nor environment nor cwd */
	char mark;		/* option of the login shell's ulimit for file locks; 0: none */
	size_t limit;		/* the longest request that the server takes */
};

struct command_sent {
	struct text request;
	struct text script;	/* goes first over standard input; may be empty */
	bool after_marker;	/* the script is not sent before the marker line has come */
};

void command_make(const struct command_shape *shape, const struct transport_command *command,
	struct command_sent *sent);
void command_done(struct command_sent *sent);

#endif
