/* SPDX-License-Identifier: MIT */
/*
 * A relay joins two stream sockets: what comes from one goes to the other, the end of a direction
 * too, until both directions have ended. An error of one, also that it could not connect, resets
 * both. What a socket does not take stays unread in the other: a relay holds RELAY_PIECE bytes of
 * each direction at most.
 */
#ifndef AGENT_RELAY_H
#define AGENT_RELAY_H

#define RELAY_PIECE 65536u

struct uv_loop_s;
struct relay;

/*
 * Takes both sockets, connected or about to be. buffer has RELAY_PIECE bytes, is shared by all relays of
 * the loop and outlives them. ended is called from the loop when the sockets are closed, with the
 * negative errno for which they were reset, or 0; the relay is gone then. NULL, with both reset, when they cannot be watched.
 */
struct relay *relay_new(struct uv_loop_s *loop, int first, int second, char *buffer,
	void (*ended)(void *data, int error), void *data);
/* Resets both, without a callback. */
void relay_free(struct relay *relay);

#endif
