/* SPDX-License-Identifier: MIT */
/*
 * Which readers of a run's streams keep up, and what the shim must therefore not drop yet
 * (FRAME_RUN_KEEP in protocol.h). The streams' spools are rings: a command that writes faster than
 * its reader reads has to wait for it as for the reader of a pipe, but not for ever. A reader
 * who has not moved for KEEP_SECONDS, although there was something to read, holds nothing up until
 * he reads again.
 *
 * Readers are the open files of one run, known by the cursors that they move. Loop's thread only.
 */
#ifndef FS_KEEP_H
#define FS_KEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define KEEP_SECONDS 3

struct run;
struct stream;
struct stream_cursor;

struct keep {
	LIST_HEAD(, keep_reader) readers;
	struct uv_timer_s *timer;	/* runs while the run does and has readers; else NULL */
	uint64_t told[4];		/* the offsets that the shim was told, in keep.c's order */
	uint64_t told_at;		/* uv_now, in milliseconds */
	bool spoke;			/* the shim was told anything at all */
	uint64_t step;			/* bytes of progress that are worth a frame */
};

/* step: see above. */
void keep_init(struct keep *keep, uint64_t step);
/* One more open file, which reads the stream by that cursor; one less. */
void keep_add(struct run *run, struct stream *stream, const struct stream_cursor *cursor);
void keep_drop(struct run *run, const struct stream_cursor *cursor);
/* Readers have read, or there is something new to read. Cheap when nothing changes. */
void keep_moved(struct run *run);
/* stdout has a spool of its own now. */
void keep_split(struct run *run);
/* The shim knows nothing of the readers: the run has just started. */
void keep_start(struct run *run);
/* The run has ended, or is forgotten: nothing is held up any more. */
void keep_end(struct run *run);

#endif
