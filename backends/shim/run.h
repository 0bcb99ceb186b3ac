/* SPDX-License-Identifier: MIT */
/*
 * One run, as commands.c (the set of them, and the frames), run.c (its course), limits.c (its
 * end by a time limit or a stop) and input.c (its standard input) share it.
 *
 * A run's object lives while the daemon may ask for it, and while the transport may call back.
 */
#ifndef SHIM_RUN_H
#define SHIM_RUN_H

#include <uv.h>

#include "backends/base/text.h"
#include "backends/shim/past.h"
#include "backends/shim/shim.h"
#include "backends/shim/transcript.h"

/* How far the end that was asked for has come; see limits.c. */
enum run_ending { ENDING_NOT, ENDING_TERM, ENDING_KILL, ENDING_ABANDONED };

struct run {
	struct shim *shim;
	uint64_t id;
	enum run_state state;
	int status;
	bool prepared;			/* only FRAME_RUN_SETUP came */
	bool refused;			/* there was no room for that */
	char *text;			/* size bytes, until the end */
	size_t size;
	struct frame_run_setup setup;
	char *environment, *cwd;	/* of the setup, until the end */
	struct transport_run *handle;	/* the transport's, until it says ended */
	bool forgotten;			/* by the daemon */
	bool split;			/* stdout has a spool of its own */
	bool noted;			/* is in commands.changed */
	struct sink output, out, err, transcript;
	struct transcript lines;
	struct past past;

	uv_timer_t *timer;		/* NULL: none; the limit, then the steps of the end */
	enum run_ending ending;
	enum run_state end_state;	/* TIMEOUT or STOPPED, while it is being ended */
	unsigned kills;

	struct text in;			/* standard input that the transport did not take yet */
	size_t in_taken;		/* bytes at its front that it took */
	size_t in_foreign;		/* of the rest, from the daemon before: not counted */
	uint32_t in_counted;		/* outstanding, as this daemon counts */
	uint32_t in_untold;		/* taken, to be told */
	bool in_eof, in_closed;		/* its end came; the daemon was told to send no more */

	TAILQ_ENTRY(run) all, changed, running, wanted;
	LIST_ENTRY(run) bucket;
};

/* run.c */
bool run_ended(const struct run *run);
/* The one place where a run's state changes. */
void run_change(struct run *run, enum run_state state, int status);
/* Gives a queued run to the transport. */
void run_start(struct run *run);
/* Has the notices sent when the loop has done its turn; no longer. */
void run_note(struct run *run);
void run_unnote(struct run *run);
void run_tell_spools(struct run *run, bool always);
void run_tell_state(struct run *run);
/* FRAME_RUN_KEEP; false: there is no such spool. The end of all of them. */
bool run_keep(struct run *run, uint32_t kind, uint64_t offset);
void run_keep_none(struct run *run);
/* What the console printed while it runs. */
void run_console(struct run *run, const void *bytes, size_t size);

/* limits.c */
/* It has started: its time runs. */
void limits_begin(struct run *run);
/* It is to end as RUN_TIMEOUT or RUN_STOPPED, with all of its processes. */
void limits_end(struct run *run, enum run_state state);
/* The same at once, by KILL. */
void limits_kill(struct run *run);
/* How a run ends that the transport says has ended with state and status. */
enum run_state limits_state(const struct run *run, enum run_state state, int *status);
void limits_done(struct run *run);

/* input.c */
int input_take(struct run *run, const void *bytes, size_t size);
void input_eof(struct run *run);
/* Gives the transport what it takes. */
void input_push(struct run *run);
/* Tells the daemon what was taken; at the run's end, that no more is wanted. */
void input_tell(struct run *run);
/* The daemon is gone: the next one counts anew. */
void input_recount(struct run *run);
void input_done(struct run *run);

#endif
