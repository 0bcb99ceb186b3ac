/* SPDX-License-Identifier: MIT */
/*
 * Lanes: further connections to the same machine, each of which carries one command at a time.
 *
 * They are for servers with this fault: when a process of a connection ends, the server closes every
 * channel of that connection whose command was not started yet; the request to start it then
 * meets an assertion, and the whole connection ends. On a lane nothing can end while a channel is
 * open and has no command: the next channel is opened after the last one was closed from both
 * sides. The shell for signals and files stay on the transport's first connection, where they
 * start one after the other and do not end.
 *
 * Lanes are made when commands wait, several at a time, up to a limit (bounds.h); beyond it, a
 * further ones are made when none has become free for a while, so that commands that do not end do
 * not keep others from starting. They end when they idle; one stays. A lane that cannot be made
 * is tried again later; when there is none at all, commands use the first connection.
 *
 * All of them log in as the first connection did, and must show the host key that it showed.
 */
#ifndef SSH_LANES_H
#define SSH_LANES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/ssh/connection.h"

struct lane;
TAILQ_HEAD(lanes_list, lane);

struct lanes {
	struct connection *main;	/* whose queued commands they take */
	struct lanes_list list;
	unsigned count;
	bool used;			/* this server needs them */
	unsigned failures;		/* to make one, in a row */
	uint64_t retry_at;		/* in uv_now; before, no other is made */
	uint64_t given;			/* when a lane became free for a command, or none waited */
	uint64_t keepalive;		/* milliseconds */
	uint64_t now;			/* uv_now of this turn */
};

/* Whether a server with this banner ("SSH-2.0-...") has the fault. NULL: no. */
bool lanes_needed(const char *banner);

/* main's login, exec and session callbacks are used for the lanes, too. */
void lanes_init(struct lanes *lanes, struct connection *main, uint64_t keepalive);
/* The first connection is up: looks at its server. */
void lanes_begin(struct lanes *lanes);
/* Gives commands to lanes and moves all lanes on. */
void lanes_turn(struct lanes *lanes);
/* Looks at the limits. */
void lanes_clock(struct lanes *lanes);
/* No callbacks of commands any more. */
void lanes_mute(struct lanes *lanes);
/* The first connection has ended: so do the lanes, and their commands are lost. */
void lanes_lose(struct lanes *lanes);
/* Frees all without callbacks. */
void lanes_done(struct lanes *lanes);

#endif
