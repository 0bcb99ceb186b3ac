/* SPDX-License-Identifier: MIT */
/*
 * One shell in the machine: its start, what it is given to read, and its answers, found in what it prints
 * and matched with the requests by their numbers.
 *
 * Numbers count from SHELL_HELLO, in the order of the requests. An answer with another number, one that is
 * longer than its limit and one that is late end the shell: nothing that it prints afterwards counts,
 * and it does nothing more either, as it ends where it cannot print the end of an answer.
 */
#ifndef SHELLFILES_SHELL_H
#define SHELLFILES_SHELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/base/text.h"
#include "backends/shellfiles/program.h"
#include "backends/transport.h"

/* Milliseconds, for the owner's clock: until the transport starts it; until its first answers; for each answer, counted from
 * the last sign of life; the same while the machine's disk may be slow; and whatever else comes. */
#define SHELL_QUEUE  120000u
#define SHELL_START  15000u
#define SHELL_ANSWER 10000u
#define SHELL_SLOW   120000u
#define SHELL_EVER   240000u

/* Bytes of an answer besides what was asked for: messages. */
#define SHELL_MESSAGES 65536u

#define SHELL_HELLO 1u		/* the number of the first answer; see program.h */

enum shell_step {
	SHELL_QUEUED,	/* the transport has not started it */
	SHELL_STARTING,
	SHELL_READY,
	SHELL_ENDED,	/* by us; its run goes on until the transport tells the end */
};

struct shell;

struct shell_events {
	/* How long the next answer may be. */
	size_t (*limit)(void *data);
	/* What came of the next answer so far: how much of it was taken. */
	size_t (*part)(void *data, const char *bytes, size_t size);
	/* The next answer, from SHELL_HELLO on; code as in program.h. Below 0: it cannot be one. */
	int (*answer)(void *data, const char *code, const char *bytes, size_t size);
	/* A sign of life: it was started, took some of what waits for it, or printed something. */
	void (*alive)(void *data);
	/* The shell is of no use any more. Once, last of all; the object is gone or goes by itself. */
	void (*ended)(void *data, int error, const char *reason);
};

struct shell {
	LIST_ENTRY(shell) link;
	const struct transport_ops *ops;
	struct transport_run *run;
	const struct shell_events *events;
	void *data;
	enum shell_step step;
	char token[PROGRAM_TOKEN + 1];
	struct text in;		/* that came */
	size_t searched;	/* bytes of it in which no answer ends */
	struct text out;	/* that is to be read by the shell */
	size_t given;		/* bytes of it that the transport has */
	uint64_t next;		/* the number of the next answer */
};

LIST_HEAD(shell_list, shell);

/* Starts one; it is put into list, which it leaves when its run has ended. NULL: there are no random
 * bytes, or the transport starts no run. */
struct shell *shell_new(struct shell_list *list, const struct transport_ops *ops,
	struct transport *transport, const struct shell_events *events, void *data);
/* Sends what was appended to `out`. */
void shell_send(struct shell *shell);
/* Ends it, without a call of `ended`: its processes are killed, its run is left to the transport. */
void shell_stop(struct shell *shell);
/* Frees the objects of all, whose runs call nobody any more. */
void shell_free_all(struct shell_list *list);

#endif
