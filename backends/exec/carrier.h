/* SPDX-License-Identifier: MIT */
/*
 * One run of the programs push and pull: a file of this host is its standard input, or takes its
 * standard output. Loop's thread only; callbacks come from the loop, never from inside a call.
 */
#ifndef EXEC_CARRIER_H
#define EXEC_CARRIER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct carrier;
struct transport;
struct uv_loop_s;

LIST_HEAD(carrier_list, carrier);

struct carrier_options {
	const char *name;		/* push or pull: POOLFS_PROGRAM, and for messages; a constant */
	const char *const *words;	/* ended by NULL */
	const char *path;		/* the last argument; copied */
	int fd;				/* stays the caller's, and open until the end */
	uint64_t size;			/* push: it gets so many bytes; pull: no more are taken, it is ended then */
	uint64_t limit_ms;		/* it is ended when nothing was given or taken for so long */
	/* pull: so many bytes in all are in fd. */
	void (*moved)(void *data, uint64_t bytes);
	/* Once: 0 or a negative errno with what happened, for people. The carrier is not to be used from
	 * then on. */
	void (*ended)(void *data, int error, const char *text);
	void *data;
};

/* Starts one by the transport "agent" of this host's programs; it is put into list. */
struct carrier *carrier_start(struct carrier_list *list, struct uv_loop_s *loop, struct transport *agent,
	const struct carrier_options *options);
/* Ends it, with all that it started, without a callback. NULL is allowed. */
void carrier_stop(struct carrier *carrier);
void carrier_stop_all(struct carrier_list *list);
/* Frees all, when no event of the transport's can come any more. */
void carrier_free_all(struct carrier_list *list);

#endif
