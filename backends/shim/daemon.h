/* SPDX-License-Identifier: MIT */
/*
 * The connection of the daemon: one at a time, a new one replaces the old. The shim does
 * not need one: what is sent without a connection is dropped, and all that is known is
 * told when the next daemon has said hello.
 */
#ifndef SHIM_DAEMON_H
#define SHIM_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "backends/protocol/protocol.h"

struct frame_link;
struct shim;

struct daemon {
	uv_poll_t listener;
	uv_timer_t again;	/* accepts again, after descriptors ran out */
	int fd;			/* the listening socket; -1 when it is of no use */
	struct frame_link *link;	/* NULL: no daemon */
	bool greeted;		/* it said hello */
	bool paused;		/* nothing is read from it */
};

/* Takes over both sockets; connection -1: nobody is connected yet. */
void daemon_init(struct shim *shim, int listener, int connection);
/* Sends a frame of two parts, if a daemon is there. 0, or -EMSGSIZE when it is too long. */
int daemon_send(struct shim *shim, enum frame_type type, uint64_t id, const void *head,
	size_t head_size, const void *rest, size_t rest_size);
/* Has the daemon wait with further frames, or no longer. */
void daemon_pause(struct shim *shim, bool pause);
/* Whether joined notices may be sent now: somebody is there, and reads. */
bool daemon_listens(const struct shim *shim);
void daemon_close(struct shim *shim);

#endif
