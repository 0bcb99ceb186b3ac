/* SPDX-License-Identifier: MIT */
/*
 * The commands of an instance: queued until it is ready, run by the transport, their
 * output kept in spools. A run stays known until the daemon forgets it, so that the next
 * daemon hears of it too.
 */
#ifndef SHIM_RUNS_H
#define SHIM_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/protocol/protocol.h"

/* Beyond these a run is refused: it ends as RUN_LOST, and is not remembered. */
#define RUNS_MAX	131072u
#define RUNS_TEXT_MAX	(64u * 1048576u)	/* of all commands that have not ended */
#define RUNS_BUCKETS	1024u

struct run;
struct shim;

TAILQ_HEAD(run_queue, run);
LIST_HEAD(run_bucket, run);

struct runs {
	struct run_queue all;		/* in the order of their arrival */
	struct run_queue changed;	/* with notices to send */
	struct run_bucket buckets[RUNS_BUCKETS];
	size_t count, text_bytes;
};

void runs_init(struct shim *shim);

/* The frames FRAME_RUN, FRAME_RUN_STOP and FRAME_RUN_FORGET. */
int runs_add(struct shim *shim, uint64_t id, const void *text, size_t size);
int runs_stop(struct shim *shim, uint64_t id, const void *payload, size_t size);
int runs_forget(struct shim *shim, uint64_t id, const void *payload, size_t size);

/* The machine is ready: starts what is queued, in order. */
void runs_start(struct shim *shim);
/* The machine is gone: all that has not ended is lost. */
void runs_lose(struct shim *shim);
/* The transport was freed: none of its callbacks comes any more. */
void runs_cut(struct shim *shim);

/* Tells the daemon what changed, or (to a new one) everything. */
void runs_tell(struct shim *shim);
void runs_tell_all(struct shim *shim);
void runs_done(struct shim *shim);

#endif
