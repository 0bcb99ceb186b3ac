/* SPDX-License-Identifier: MIT */
/*
 * Crashes on the machine's console: each report is kept in a spool of its own, told to the
 * daemon, and, where the key crash_on says so, makes the instance crashed. A report that has
 * no clear end is complete when the console has been quiet for a moment. With the key
 * on_crash_sysrq, one that makes the instance crashed stays open: when the console is quiet, the
 * keys are sent, and all that follows belongs to it until the console is quiet again.
 */
#ifndef SHIM_CRASHES_H
#define SHIM_CRASHES_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "backends/crash/scan.h"
#include "backends/protocol/protocol.h"

/* The console has been quiet for so long, in milliseconds: behind a line with which a report may
 * end, and elsewhere. */
#define CRASHES_ENDING_MS 200
#define CRASHES_QUIET_MS 1000
/* A report is open no longer than this, whatever comes, in milliseconds. */
#define CRASHES_OPEN_MS 10000

struct shim;

struct crashes {
	struct scan *scan;		/* NULL: the console is not looked at, or not any more */
	int least;			/* enum crash_class: what makes the instance crashed */
	struct crash {
		char *title;
		uint64_t size;		/* of the spool's bytes; 0: it could not be written */
		enum crash_class class;
	} kept[PROTOCOL_CRASHES_MAX];
	unsigned count;
	bool fatal;			/* the open report makes the instance crashed */
	const char *keys;		/* on_crash_sysrq; NULL: none */
	bool asked;			/* they were sent for the open report */
	uint64_t opened;		/* uv_now when the open report began, or the keys were sent */
	uv_timer_t quiet;
};

void crashes_init(struct shim *shim);
/* What the machine wrote. */
void crashes_feed(struct shim *shim, const void *data, size_t size);
/* Nothing comes any more: an open report is complete. */
void crashes_end(struct shim *shim);
/* Whether a report is open that will make the instance crashed. */
bool crashes_pending(const struct shim *shim);
/* Tells the daemon of all reports. */
void crashes_tell_all(struct shim *shim);
void crashes_close(struct shim *shim);

#endif
