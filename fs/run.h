/* SPDX-License-Identifier: MIT */
/*
 * A run: one command in an instance, shown as runs/ID/. Numbered by writing to cmd, or
 * named by mkdir and started by writing to its own cmd. Loop's thread only.
 */
#ifndef FS_RUN_H
#define FS_RUN_H

#include <sys/queue.h>

#include "backends/protocol/protocol.h"
#include "fs/control.h"
#include "fs/input.h"
#include "fs/keep.h"
#include "fs/settings.h"
#include "fs/spooled.h"

struct instance;

struct run {
	struct object object;
	TAILQ_ENTRY(run) entry;		/* in the instance's list, oldest first */
	struct instance *instance;	/* NULL after run_remove */
	struct object *owner;		/* the instance, referenced: its directory is needed to read */
	uint64_t id;			/* in the protocol */
	bool named;
	bool submitted;
	bool left;			/* is not in the tree any more */
	uint64_t order;			/* of the submission among the instance's */
	struct handle *writer;		/* the open file of `cmd` that the text comes from; not owned */
	char name[TEXT_NAME_MAX + 1];	/* also of a numbered one, as digits */
	enum run_state state;
	int status;			/* what `exit` shows, after the end */
	struct settings settings;
	struct text command;
	struct input input;
	unsigned transcripts;		/* open files of the transcript */
	struct spooled output, out, err, transcript;
	struct keep keep;
	uint64_t base;			/* where stdout's own spool begins; UINT64_MAX: it has none */
	struct stream exit;
	struct timespec created;
};

TAILQ_HEAD(run_list, run);

extern const struct directory run_directory;
extern const struct control run_controls[]; /* run_files.c */

/* A run that has not started. name is copied. 0 or -ENFILE. */
int run_new(struct instance *instance, const char *name, bool named, uint64_t id, struct run **run);
/* The run ends for all who do not have it open: its node ends, but notices may still come. */
void run_leave(struct run *run);
/* The run is forgotten: its node ends, if it did not leave already; open files read on what there is,
 * see run_hold. */
void run_remove(struct run *run);
/* Gives the command, text (size bytes), to the instance's shim. Once. */
void run_submit(struct run *run, const void *text, size_t size);

/* A file of its transcript is open: what is missing of it is asked for. */
void run_want_transcript(struct run *run);
/* Whether that has not come yet, and somebody waits for it. */
bool run_wants_transcript(const struct run *run);
/* The shim is gone: what is missing will not come, and its readers are told that it was dropped. */
void run_miss_transcript(struct run *run);
/* Before the shim is told to remove the run's spools: files that are open will read on. */
void run_hold(struct run *run);
/* A file of its output is open, and is not any more. */
void run_use(struct run *run);
void run_unuse(struct run *run);
/* Stops it, or sends a signal to all of its processes, as `ctl` does; harmless after the end. */
void run_stop(struct run *run);
void run_signal(struct run *run, int signal);

/* What the shim told. false: it broke the protocol. */
bool run_told_spool(struct run *run, const struct frame_spool *notice);
bool run_told_state(struct run *run, const struct frame_run_state *notice);
bool run_told_input(struct run *run, const struct frame_run_taken *notice);
/* The machine or its shim is gone: whatever has not ended is lost. */
void run_lost(struct run *run);

bool run_ended(const struct run *run);
const char *run_state_name(enum run_state state);

#endif
