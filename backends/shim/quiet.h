/* SPDX-License-Identifier: MIT */
/*
 * A machine that says nothing: neither its console nor a run has printed anything for the time of
 * the key quiet_timeout, while it is ready. The daemon is told once, and again when it is heard.
 */
#ifndef SHIM_QUIET_H
#define SHIM_QUIET_H

#include <stdbool.h>
#include <uv.h>

struct shim;

struct quiet {
	uint64_t limit;		/* milliseconds; 0: none */
	uint64_t heard;		/* uv_now of the last byte, or of the last look at a machine not ready */
	bool is;		/* the daemon was told so */
	uv_timer_t timer;
};

void quiet_init(struct shim *shim);
/* The machine printed something. */
void quiet_heard(struct shim *shim);
/* Tells the daemon whether it is quiet. */
void quiet_tell(struct shim *shim);
void quiet_close(struct shim *shim);

#endif
