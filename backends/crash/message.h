/* SPDX-License-Identifier: MIT */
/*
 * The messages of a console line. A kernel prints in the middle of a line when a program's
 * output, such as a prompt, is not ended: a message begins at the beginning of the line,
 * behind each time stamp in it, and behind a carriage return. What Linux and log daemons put in
 * front of a message is left out, in whatever order and number:
 *
 *   [    1.234567]          time (CONFIG_PRINTK_TIME)
 *   [  T123] [  C1]         task or processor (CONFIG_PRINTK_CALLER)
 *   <4>                     level (console=... with raw levels, netconsole)
 *   (1)[123:name] c1        processor and task, as phones print them
 *   Jan  1 12:00:00 host kernel:   2024-01-01T12:00:00+00:00 host kernel:
 *
 * No I/O, no memory; any thread.
 */
#ifndef CRASH_MESSAGE_H
#define CRASH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#define MESSAGE_MAX 8

struct message {
	const char *text;	/* into the line */
	size_t size;
	bool stamped;		/* one of the above was in front */
};

/* Takes a line, without its newline, apart. More than MESSAGE_MAX stay in one piece. Returns how
 * many there are, at least 1. */
size_t message_split(const char *line, size_t size, struct message messages[MESSAGE_MAX]);

#endif
