/* SPDX-License-Identifier: MIT */
/*
 * What is to be done in a machine that exists already before an instance is ready, and when it leaves:
 *
 *	begin: make a directory for files/ (where `files` is unset), run `startup`
 *	end:   remove that directory, run `reset` or boot the machine again
 *
 * For kinds that have the keys startup, reset and reset_timeout. Loop's thread only.
 */
#ifndef SHIM_DUTIES_H
#define SHIM_DUTIES_H

#include <stdbool.h>
#include <uv.h>

#include "backends/backend.h"

struct errand;
struct shim;

/* 0, or a negative errno with the reason. */
typedef void duties_done(struct shim *shim, int result, const char *text);

struct duties {
	struct poolfs_address address;	/* strings: the backend's, until close */
	struct errand *errand;		/* NULL: nothing is being done */
	char *directory;		/* that was made for files/; NULL: none */
	char *boot_id;			/* of the boot that is to end; NULL: not known yet */
	bool entered;			/* something of ours may have been in the machine */
	bool timed;			/* limit was initialised */
	bool killing;			/* the command is being killed that was given up */
	bool ending;			/* when that is done, the end begins */
	int result;			/* ... or this is told to done, with the reason */
	char *reason;
	uv_timer_t limit;
	duties_done *done;
	void (*next)(struct shim *shim, const char *output);
};

/* How long leaving may take without `reset`, for what is to be removed, in milliseconds. */
#define DUTIES_LEAVE_MS 5000u

/* Does what comes before `ready`; there is no limit but duties_cancel. done is called later, or, where
 * nothing is to be done, at once. */
void duties_begin(struct shim *shim, duties_done *done);
/* The machine was logged into. */
void duties_entered(struct shim *shim);
/* Does what comes after, when we are out of the machine; within reset_timeout. As duties_begin. */
void duties_end(struct shim *shim, duties_done *done);
/* Gives up what is being done: `done` is not called. A command that runs in the machine is killed, for
 * which duties_end waits. */
void duties_cancel(struct shim *shim);
void duties_close(struct shim *shim);

#endif
