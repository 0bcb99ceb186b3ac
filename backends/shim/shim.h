/* SPDX-License-Identifier: MIT */
/*
 * The core of the shim: one machine, from boot to end, for one daemon after the other.
 * What backend and which transport, is passed in. Everything runs on one loop; the
 * parts (a header each) know each other through this object.
 */
#ifndef SHIM_SHIM_H
#define SHIM_SHIM_H

#include <uv.h>

#include "backends/backend.h"
#include "backends/shim/console.h"
#include "backends/shim/crashes.h"
#include "backends/shim/daemon.h"
#include "backends/shim/door.h"
#include "backends/shim/duties.h"
#include "backends/shim/forwards.h"
#include "backends/shim/journal.h"
#include "backends/shim/life.h"
#include "backends/shim/machine.h"
#include "backends/shim/quiet.h"
#include "backends/shim/requests.h"
#include "backends/shim/commands.h"
#include "backends/shim/status.h"
#include "backends/shim/verbs.h"
#include "backends/transport.h"

/* What the core works with; strings and tables must outlive it. */
struct shim_setup {
	const struct poolfs_backend *backend;
	const struct transport_ops *transport;
	/* Keys that are used here: boot_timeout, console_limit, output_limit, crash_on. */
	const struct poolfs_values *values;
	const struct patterns *patterns; /* of crashes; NULL: none are looked for */
	const char *name;		/* POOL/NAME */
	const char *directory;		/* absolute */
	int dirfd;			/* the directory; stays the caller's */
	int listener;			/* a listening socket, which becomes the core's */
	int connection;			/* likewise, the first daemon's; -1: it connects later */
	char *slots;			/* what slots_map gave, the caller's; NULL: there are none */
	bool outlives;			/* POOLFS_FEATURE_OUTLIVES: the machine goes on */
	uint64_t stop_limit;		/* LIFE_STOP_MS, and what the kind has */
	uint64_t grace;			/* LIMITS_GRACE_MS */
	/* The machine is gone, after FRAME_STOP or shim_stop. clean: false when its backend did not
	 * answer, so that something of it may still run. */
	void (*done)(void *data, bool clean);
	void *data;
};

struct shim {
	struct uv_loop_s *loop;
	struct shim_setup setup;
	int dirfd;
	struct poolfs_machine machine;
	struct journal journal;
	struct status status;
	struct console console;
	struct crashes crashes;
	struct quiet quiet;
	struct life life;
	struct duties duties;
	struct commands commands;
	struct requests requests;
	struct forwards_set forwards;
	struct verbs verbs;
	struct daemon daemon;
	uv_prepare_t flush;		/* once each turn, before the loop waits: joined notices */
};

/* Begins: listens, and boots the machine. */
struct shim *shim_new(struct uv_loop_s *loop, const struct shim_setup *setup);

/* Ends the machine, as FRAME_STOP does; done follows from the loop. */
void shim_stop(struct shim *shim);

/* After done: closes all handles. Run the loop to its end, then free. */
void shim_close(struct shim *shim);
void shim_free(struct shim *shim);

#endif
