/* SPDX-License-Identifier: MIT */
/*
 * File requests by way of the agent: sent as they are, answered by a process in the machine, whose
 * answers are checked here as those of any guest.
 */
#ifndef AGENT_CLIENT_H
#define AGENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "backends/transport.h"

/* An answer that takes longer than this after the one before ends the connection of files, in
 * milliseconds. */
#define CLIENT_LIMIT_MS 60000u

struct frame_link;
struct client_job;
TAILQ_HEAD(client_jobs, client_job);

struct client {
	struct uv_loop_s *loop;
	const char *root;		/* of files/, in the machine; absolute */
	void (*wake)(void *data);	/* asks for a turn */
	void (*log)(void *data, const char *message);
	void *data;
	struct frame_link *link;	/* NULL: none */
	struct client_jobs sent;	/* in the order of their answers */
	struct client_jobs ended;	/* to be told on the next turn */
	uint64_t last_handle;		/* goes on over connections: no old one fits again */
	uint64_t limit;			/* CLIENT_LIMIT_MS, set by client_init */
	uint64_t heard;			/* when the last answer came, in loop time */
	uint64_t stale;			/* handles up to here were of another connection */
	uint64_t last_id;
};

void client_init(struct client *client);
/* The agent sent a socket, which becomes the client's; what waits on the one before fails. */
void client_connect(struct client *client, int fd);
/* As the slots of struct transport_ops. */
void client_file(struct client *client, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data);
void client_cancel(struct client *client, uint64_t key);
/* Tells what was put off. */
void client_turn(struct client *client);
/* Now and then: gives up what takes too long. True: the agent should replace who does not answer. */
bool client_clock(struct client *client);
/* Drops the connection; what was sent fails on the next turn. */
void client_disconnect(struct client *client);
/* The machine is gone: every request ends with error. */
void client_lose(struct client *client, int error);
/* Frees all without callbacks. */
void client_done(struct client *client);

#endif
