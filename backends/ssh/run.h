/* SPDX-License-Identifier: MIT */
/* One command on its channel: what exec.c (its course), run_input.c and run_signal.c share. */
#ifndef SSH_RUN_H
#define SSH_RUN_H

#include "backends/ssh/bounds.h"
#include "backends/ssh/command.h"
#include "backends/ssh/exec.h"
#include "backends/ssh/marker.h"

#define RUN_INPUT_KEPT 65536u	/* bytes of standard input that wait here */
#define RUN_OUTPUT_ROOM (WINDOW_RUN - WINDOW_FIRST)	/* bytes of output in the buffer of all, at most */

enum run_step {
	STEP_QUEUED,
	STEP_TERMINAL,	/* the terminal is asked for */
	STEP_STARTING,	/* the request is sent */
	STEP_RUNNING,	/* accepted */
	STEP_LEFT,	/* the channel is closed; processes of the command are not over */
};

struct transport_run {
	TAILQ_ENTRY(transport_run) link;
	struct exec *exec;
	const struct transport_run_events *events;
	void *data;
	enum run_step step;
	LIBSSH2_CHANNEL *channel;	/* NULL while queued, and at the end */

	struct text text, environment;	/* as they were given, until the request is made */
	char *cwd;
	unsigned columns, rows;
	bool input;
	struct command_sent sent;
	struct marker marker;
	bool marked;			/* a marker line is to come, or has come */

	struct text in;			/* standard input that waits; `fed` bytes of it are sent */
	size_t fed, script_fed;
	bool drain;			/* `drained` is owed */
	bool eof, eof_sent;
	size_t opening;			/* by so much the window is being opened; 0: it is not */
	bool resize;			/* the terminal's size is to be sent */

	uint32_t signals;		/* bits of those that wait for the marker line */
	bool await_all;
	unsigned asked;			/* questions to the control shell without answer */
	enum run_state state;		/* how it ended, in STEP_LEFT */
	int status;
	bool stop;			/* abandoned */
};

/* Sends what standard input has, then its end. 0 when all is done that can be now, or a negative
 * errno. True in *moved when anything was sent. */
int run_feed(struct transport_run *run, bool *moved);

/* Reads what there is on both streams. How much came, or a negative errno. */
int run_output_read(struct transport_run *run);
/* The command's output is complete: passes on what was held back of it. */
void run_output_end(struct transport_run *run);
/* Forgets what was read of it and not passed on. */
void run_output_drop(struct transport_run *run);

/* Sends the signals that waited for the marker line. */
void run_signal_marked(struct transport_run *run);
/* Asks how many processes are left; the answer ends the run when there are none. */
void run_ask_left(struct transport_run *run);
/* The channel of an abandoned command is closed: kills what is left of it. */
void run_kill_left(struct transport_run *run);
/* Tells the end and frees. */
void run_end(struct transport_run *run, enum run_state state, int status);

#endif
