/* SPDX-License-Identifier: MIT */
/*
 * Where the console of a machine that exists already comes from:
 *
 *	exec:COMMAND		a command of the shell, on a terminal of its own
 *	dev:/dev/NAME[,SPEED]	a serial device
 *	tcp:HOST:PORT		a port of a console server
 *
 * It is read at all times, and opened again, after a growing pause, when it ends. Loop's thread only.
 */
#ifndef REMOTE_TAP_H
#define REMOTE_TAP_H

#include <stddef.h>

#include "backends/backend.h"

struct tap;

/* Begins to read, soon; what is read goes to the machine's console. text was checked (tap_text.h);
 * environment has NAME=VALUE for a command, and a NULL. Both must live as long as the tap. */
struct tap *tap_new(struct poolfs_machine *machine, const char *text,
	const char *const *environment);
/* Types: how many bytes were taken, 0 before it is open, -ENOTCONN while it is lost. */
int tap_write(struct tap *tap, const void *data, size_t size);
/* Ends it; stopped is called once, later, when its command has ended. Nothing is read any more. */
void tap_stop(struct tap *tap, void (*stopped)(void *data), void *data);
/* Frees it; after `stopped`, or when the loop did not run since tap_new. The memory goes on later turns of
 * the loop. NULL is allowed. */
void tap_free(struct tap *tap);

#endif
