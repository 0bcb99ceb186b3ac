/* SPDX-License-Identifier: MIT */
/*
 * The verbs of `ctl` that the backend has: one after the other, each with a time limit. What comes of
 * one stands in the log, and in the line `verb` of the status, and is told to the daemon. Loop's thread only.
 */
#ifndef SHIM_VERBS_H
#define SHIM_VERBS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct poolfs_op;
struct shim;
struct verb;

/* How long one may take before it is cancelled, and then until nobody waits for it, in milliseconds. */
#define VERBS_LIMIT_MS 300000u
#define VERBS_GRACE_MS 5000u

struct verbs {
	TAILQ_HEAD(verb_queue, verb) queue;	/* the first one is under way, where op is not NULL */
	unsigned count;
	struct poolfs_op *op;
	uv_timer_t limit;
};

void verbs_init(struct shim *shim);
/* FRAME_VERB */
int verbs_add(struct shim *shim, uint64_t id, const void *payload, size_t size);
/* The machine ends: cancels the one under way, whose end nobody waits for, and drops the others. */
void verbs_end(struct shim *shim);
void verbs_close(struct shim *shim);

#endif
