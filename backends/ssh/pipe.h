/* SPDX-License-Identifier: MIT */
/*
 * One forwarded connection: a socket of this host and a channel, each of which gets what the other
 * sends. The end of one direction is passed on as such, and the other goes on. A connection that
 * did not end in both directions is reset: towards the socket as TCP does it, towards
 * the machine by closing the channel, as SSH knows no other way.
 */
#ifndef SSH_PIPE_H
#define SSH_PIPE_H

#include <uv.h>

#include "backends/ssh/forward.h"

enum pipe_step {
	PIPE_CONNECTING,	/* the channel is there; the socket connects */
	PIPE_OPENING,		/* the socket is there; the channel is asked for */
	PIPE_CARRYING,
	PIPE_CLOSING,		/* only the channel is there; it closes */
	PIPE_GONE,		/* to be freed */
};

/* One direction. */
enum pipe_flow {
	PIPE_FLOWS,
	PIPE_ENDING,		/* nothing more comes; what waits is passed on, and then the end */
	PIPE_ENDED,
	PIPE_DROPS,		/* towards the socket: nobody takes it any more */
};

/* A socket on the loop; freed by the close of its handle, after the pipe has forgotten it. */
struct pipe_socket {
	uv_poll_t poll;
	struct pipe *pipe;
	int fd;
	int ready, awaited;		/* bits UV_READABLE, UV_WRITABLE */
};

struct pipe {
	TAILQ_ENTRY(pipe) link;
	struct forwards *forwards;
	struct transport_forward *forward;	/* NULL: it was ended */
	enum pipe_step step;
	LIBSSH2_CHANNEL *channel;
	struct channels_request request;
	struct pipe_socket *socket;		/* NULL: closed */
	enum pipe_flow out, in;			/* to the machine, from it */
	struct text out_kept, in_kept;		/* a piece that is not taken yet */
};

/* A connection that the machine made. fd connects, or is connected; it and the channel become the
 * pipe's. fd below 0: only closes the channel. */
void pipe_accept(struct transport_forward *forward, struct forwards *forwards,
	LIBSSH2_CHANNEL *channel, int fd);
/* A connection that was made here; message is that of the channel's request and becomes ours. */
void pipe_open(struct transport_forward *forward, struct forwards *forwards, int fd,
	const char *type, struct text *message);
/* Moves on; true when anything moved. */
bool pipe_turn(struct pipe *pipe);
/* Has the loop wake us for what is missing. */
void pipe_wait(struct pipe *pipe);
/* Looks whether the socket is broken, where nothing is awaited of it. */
void pipe_look(struct pipe *pipe);
/* Ends both sides at once. */
void pipe_reset(struct pipe *pipe);
/* Takes it off the list and frees it; the channel is gone, or goes with the session. */
void pipe_free(struct pipe *pipe);


#endif
