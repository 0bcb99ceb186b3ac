/* SPDX-License-Identifier: MIT */
/*
 * The forwards of an instance, as its daemon wants them: set up whenever the machine is
 * connected, and again after every return of the connection, at the same ports where they are
 * free. What listens on the host is bound here as soon as it is wanted, and stays bound: nobody
 * else gets the port. Between sockets and machine the transport carries.
 */
#ifndef SHIM_FORWARDS_H
#define SHIM_FORWARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#define FORWARDS_AGAIN_MS 1000u	/* accept is tried again, after descriptors ran out */

struct forward;
struct shim;

TAILQ_HEAD(forward_queue, forward);

struct forwards_set {
	struct forward_queue all;
	unsigned count;
	uv_timer_t again;
};

void forwards_init(struct shim *shim);
/* The frames FRAME_FORWARD and FRAME_FORWARD_END. */
int forwards_add(struct shim *shim, uint64_t id, const void *payload, size_t size);
int forwards_remove(struct shim *shim, uint64_t id, const void *payload, size_t size);
/* The machine is connected: sets all up. */
void forwards_up(struct shim *shim);
/* The connection is gone, and what the transport had of them; reason is for people. */
void forwards_down(struct shim *shim, const char *reason);
/* Tells the daemon what changed, or (to a new one) everything. */
void forwards_tell(struct shim *shim, bool all);
void forwards_close(struct shim *shim);

#endif
