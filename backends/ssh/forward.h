/* SPDX-License-Identifier: MIT */
/*
 * Forwards: streams between sockets of this host and ports of the machine, a channel for
 * each (RFC 4254, section 7). What listens in the machine is a "tcpip-forward" of libssh2, which
 * also checks what the server opens: a channel for a port that was not asked for is refused.
 * What listens on the host is others' business; its connections come as sockets.
 *
 * Memory: a stream has at most one piece (FORWARD_PIECE) waiting here each way. Beyond it the socket
 * is not read, or the channel is not read, of which libssh2 then keeps a window (WINDOW_CARRIED).
 */
#ifndef SSH_FORWARD_H
#define SSH_FORWARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/ssh/channels.h"
#include "backends/ssh/session.h"
#include "backends/transport.h"

/* Whole packets: libssh2 puts at most 32,700 bytes into one. */
#define FORWARD_PIECE (4 * 32700u)

struct pipe;
struct uv_loop_s;

TAILQ_HEAD(forward_list, transport_forward);
TAILQ_HEAD(forward_pipes, pipe);

struct forwards {
	struct uv_loop_s *loop;
	struct session *session;
	struct channels *channels;
	struct forward_list list;
	struct forward_pipes pipes;
	unsigned count;			/* of pipes, also of those that close */
	struct transport_forward *asking; /* libssh2 waits for the answer to its request */
	struct pipe *relief;		/* was reset, because too much was kept, and closes */
	unsigned char *buffer;		/* FORWARD_PIECE bytes on their way */
	uint64_t since, now;		/* when the request was made; this turn; uv_now */
};

void forward_init(struct forwards *forwards, struct uv_loop_s *loop, struct session *session,
	struct channels *channels);
/* The connection has ended: so has everything; no callback comes. Before session_end. */
void forward_lose(struct forwards *forwards);
/* The same, for good. */
void forward_done(struct forwards *forwards);
/* Moves everything on; true when anything moved. */
bool forward_turn(struct forwards *forwards);
/* After the last round of a turn: has the loop tell what the sockets have. */
void forward_wait(struct forwards *forwards);
/* Looks at the limits. */
void forward_clock(struct forwards *forwards);

/* The slots of struct transport_ops. */
struct transport_forward *forward_listen(struct forwards *forwards,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data);
struct transport_forward *forward_reach(struct forwards *forwards,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data);
void forward_carry(struct transport_forward *forward, int fd);
void forward_end(struct transport_forward *forward);

/* For pipes. The machine does not do this forward. */
void forward_fail(struct transport_forward *forward, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A connection could not be made; logged once, until one could. */
void forward_missed(struct transport_forward *forward, const char *why);
void forward_made(struct transport_forward *forward);

#endif
