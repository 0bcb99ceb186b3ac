/* SPDX-License-Identifier: MIT */
/* Commands by way of the agent: pipes or a terminal for each, its course by messages (talk.h). */
#ifndef AGENT_TASKS_H
#define AGENT_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/agent/talk.h"
#include "backends/transport.h"

/* Commands that run at the same time; more are queued. Each takes three descriptors here. */
#define TASKS_ACTIVE_MAX 1024u

TAILQ_HEAD(tasks_list, transport_run);

struct tasks {
	struct uv_loop_s *loop;
	int control;			/* the socket, -1: none */
	bool blocked;			/* it took a message no more: tasks_turn again when it does */
	void (*wake)(void *data);	/* asks for a turn */
	void (*log)(void *data, const char *message);
	void *data;
	struct tasks_list queued, active;
	unsigned active_count;
	uint64_t last_id;
};

void tasks_init(struct tasks *tasks);
/* As the slots of struct transport_ops; everything is only noted until the next turn. */
struct transport_run *tasks_add(struct tasks *tasks, const struct transport_command *command,
	const struct transport_run_events *events, void *data);
size_t tasks_input(struct transport_run *run, const void *bytes, size_t size);
void tasks_eof(struct transport_run *run);
void tasks_more(struct transport_run *run);
void tasks_signal(struct transport_run *run, int signal);
void tasks_await_all(struct transport_run *run);
void tasks_resize(struct transport_run *run, unsigned columns, unsigned rows);
void tasks_abandon(struct transport_run *run);
/* STARTED, EXITED or GONE came; fd (-1: none) becomes the run's. */
void tasks_message(struct tasks *tasks, const struct talk_message *message, int fd);
/* Moves everything on. */
void tasks_turn(struct tasks *tasks);
/* Ends every run as lost. */
void tasks_lose(struct tasks *tasks);
/* Frees all without callbacks. */
void tasks_done(struct tasks *tasks);

#endif
