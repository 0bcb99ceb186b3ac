/* SPDX-License-Identifier: MIT */
/*
 * The commands of an instance: queued until it is ready, run by the transport, their
 * output kept in spools. A run stays known until the daemon forgets it, so that the next
 * daemon hears of it too.
 */
#ifndef SHIM_COMMANDS_H
#define SHIM_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "backends/base/text.h"
#include "backends/protocol/protocol.h"

/* Beyond these a run is refused: it ends as RUN_LOST, and is not remembered. */
#define COMMANDS_MAX	131072u
#define COMMANDS_TEXT_MAX	(64u * 1048576u)	/* of all commands that have not ended */
#define COMMANDS_SCRATCH	(512u * 1024u)	/* of memory for transcripts is kept */
#define COMMANDS_BUCKETS	1024u

/* A run that is to end gets TERM, after this time KILL, and after the same time again it is given
 * up, in milliseconds. */
#define LIMITS_GRACE_MS	5000u
#define LIMITS_KILLS	5u	/* times that KILL is sent */

struct run;
struct shim;

TAILQ_HEAD(run_queue, run);
LIST_HEAD(run_bucket, run);

struct commands {
	struct run_queue all;		/* in the order of their arrival */
	struct run_queue changed;	/* with notices to send */
	struct run_queue running;
	struct run_queue wanted;	/* whose transcripts are being made, see past.h */
	uv_idle_t work;			/* runs while there are such */
	struct run_bucket buckets[COMMANDS_BUCKETS];
	size_t count, text_bytes;
	struct text scratch;		/* lines on their way into a transcript */
};

void commands_init(struct shim *shim);

/* The frames FRAME_RUN_SETUP, FRAME_RUN, FRAME_RUN_STOP, ... */
int commands_prepare(struct shim *shim, uint64_t id, const void *payload, size_t size);
int commands_add(struct shim *shim, uint64_t id, const void *text, size_t size);
int commands_stop(struct shim *shim, uint64_t id, const void *payload, size_t size);
int commands_forget(struct shim *shim, uint64_t id, const void *payload, size_t size);
int commands_input(struct shim *shim, uint64_t id, const void *payload, size_t size);
int commands_eof(struct shim *shim, uint64_t id, const void *payload, size_t size);
int commands_keep(struct shim *shim, uint64_t id, const void *payload, size_t size);
int commands_transcript(struct shim *shim, uint64_t id, const void *payload, size_t size);
int commands_signal(struct shim *shim, uint64_t id, const void *payload, size_t size);
int commands_resize(struct shim *shim, uint64_t id, const void *payload, size_t size);

/* The console printed something. */
void commands_console(struct shim *shim, const void *bytes, size_t size);
/* The daemon is gone: what it only prepared goes too. */
void commands_drop(struct shim *shim);
/* The machine is ready: starts what is queued, in order. */
void commands_start(struct shim *shim);
/* The machine is gone: all that has not ended is lost. */
void commands_lose(struct shim *shim);
/* The machine goes on without us: kills the processes of all that runs. */
void commands_kill(struct shim *shim);
/* The transport was freed: none of its callbacks comes any more. */
void commands_cut(struct shim *shim);

/* Tells the daemon what changed, or (to a new one) everything. */
void commands_tell(struct shim *shim);
void commands_tell_all(struct shim *shim);
void commands_done(struct shim *shim);

/* For a run's own course: frees its text; frees it, when neither daemon nor transport need it. */
void commands_drop_text(struct run *run);
void commands_free(struct run *run);

#endif
