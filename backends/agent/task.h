/* SPDX-License-Identifier: MIT */
/* One command: what tasks.c (its course) and task.c (its bytes) share. */
#ifndef AGENT_TASK_H
#define AGENT_TASK_H

#include "backends/agent/tasks.h"
#include "backends/agent/watch.h"
#include "backends/base/text.h"

#define RUN_INPUT_KEPT 65536u	/* bytes of standard input that wait here */

enum run_step {
	STEP_QUEUED,
	STEP_SENT,	/* to the agent */
	STEP_RUNNING,	/* STARTED came */
};

struct transport_run {
	TAILQ_ENTRY(transport_run) link;
	struct tasks *tasks;
	const struct transport_run_events *events;
	void *data;
	uint64_t id;
	enum run_step step;
	struct text parts;		/* text, environment, directory, until they are sent */
	uint32_t text_size, environment_size, cwd_size;
	unsigned columns, rows;
	struct watch *in, *out, *err;	/* NULL: closed. With a terminal `out` is its master */
	struct text input;		/* that waits; `fed` bytes of it are written */
	size_t fed;
	bool wants_input, eof;
	bool drain;			/* `drained` is owed */
	bool full;			/* there is no room for output: nothing is read */
	uint32_t signals;		/* bits of those to be sent */
	bool await_all, stop;
	bool exited, gone;
	bool told;			/* `exited` was */
	int status;			/* as waitpid(2) gives it, once exited */
};

/* Makes the ends of standard input, output and error; those for the command go to fds, which
 * become the caller's. 0 or a negative errno. */
int task_make_pipes(struct transport_run *run, int fds[3]);
/* The terminal came. */
void task_take_terminal(struct transport_run *run, int fd);
/* Writes what standard input has, then ends it. */
void task_feed(struct transport_run *run);
/* Takes what the output still has, until nothing more is there now. False when there was no room. */
bool task_drain(struct transport_run *run);
/* Sets the terminal's size. */
void task_size(struct transport_run *run);
void task_close(struct transport_run *run);

#endif
