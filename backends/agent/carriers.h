/* SPDX-License-Identifier: MIT */
/*
 * Forwards by way of the agent: it makes sockets in the machine's network and gives them away (talk.h);
 * who connects is carried here, from socket to socket.
 */
#ifndef AGENT_CARRIERS_H
#define AGENT_CARRIERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/agent/talk.h"
#include "backends/transport.h"

/* Connections of one machine at a time; more are reset. Each takes two descriptors here. */
#define CARRIERS_MAX 1024u

struct carriers_wish;
struct carriers_pipe;
TAILQ_HEAD(carriers_list, transport_forward);
TAILQ_HEAD(carriers_wishes, carriers_wish);
TAILQ_HEAD(carriers_pipes, carriers_pipe);

struct carriers {
	struct uv_loop_s *loop;
	int control;			/* the socket, -1: none */
	bool blocked;			/* it took a message no more: carriers_turn again when it does */
	void (*wake)(void *data);	/* asks for a turn */
	void (*log)(void *data, const char *message);
	void *data;
	struct carriers_list list;
	struct carriers_wishes wishes;	/* messages to the agent, also those that wait for its answer */
	struct carriers_pipes pipes;	/* what is carried */
	unsigned carried;		/* pipes, and sockets of the host that wait for another */
	bool full;			/* that there are as many as may be was logged */
	bool paused;			/* accepting stopped, as descriptors are short */
	char *buffer;			/* of all relays */
	uint64_t last_id;
};

void carriers_init(struct carriers *carriers);
/* As the slots of struct transport_ops. */
struct transport_forward *carriers_listen(struct carriers *carriers,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data);
struct transport_forward *carriers_reach(struct carriers *carriers,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data);
void carriers_carry(struct transport_forward *forward, int fd);
void carriers_end(struct transport_forward *forward);
/* SOCKET came; fd (-1: none) becomes the forward's. */
void carriers_message(struct carriers *carriers, const struct talk_message *message, int fd);
/* Sends what waits, and makes the callbacks that are owed. */
void carriers_turn(struct carriers *carriers);
/* Now and then: tries again what stopped. */
void carriers_clock(struct carriers *carriers);
/* Ends all, with all that they carry, and without callbacks: the agent is gone, or the transport. */
void carriers_lose(struct carriers *carriers);
/* Frees the rest. */
void carriers_done(struct carriers *carriers);

#endif
