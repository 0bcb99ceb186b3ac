/* SPDX-License-Identifier: MIT */
/*
 * Commands of our own in the machine, one after the other, over a connection of their own: before the
 * instance is ready, and when it has left. Where the connection breaks, it is made again, and the
 * command begins anew. Loop's thread only.
 */
#ifndef SHIM_ERRAND_H
#define SHIM_ERRAND_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/backend.h"

struct errand;
struct shim;

/* How much of the end of a command's output is kept, in bytes. */
#define ERRAND_OUTPUT_MAX 4096u

struct errand_events {
	/* The command ended with status 0: text is its output. Or it did not, or the machine cannot be
	 * reached for good: a negative errno and the reason. errand_run and errand_free may be called. */
	void (*done)(void *data, int result, const char *text);
	/* An attempt to connect failed; the next follows. */
	void (*trouble)(void *data, const char *reason);
	/* The machine let us in. */
	void (*entered)(void *data);
};

/* Nothing happens before errand_run. address is copied, its strings are not. 0 or a negative errno. */
int errand_new(struct shim *shim, const struct poolfs_address *address,
	const struct errand_events *events, void *data, struct errand **errand,
	struct poolfs_err *err);
/* Runs a command of the login's shell, in that directory (NULL: where files/ is). text is copied. after:
 * milliseconds until it begins, without a connection, so that it begins with a new one; 0: at once. once:
 * the connection's end is the command's too, and as good as status 0. One at a time. With `after`, no
 * refusal to log in is final: the machine may be booting. */
void errand_run(struct errand *errand, const char *text, const char *cwd, uint64_t after, bool once);
/* Kills the command that runs, with all of its processes as far as they are found; done follows, with
 * -ECANCELED. false: none runs. */
bool errand_kill(struct errand *errand);
/* Ends it, without callbacks. NULL is allowed. */
void errand_free(struct errand *errand);

#endif
