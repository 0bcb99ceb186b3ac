/* SPDX-License-Identifier: MIT */
/*
 * A run's transcript that nobody reads is not written. As long as nothing but standard output comes
 * it follows from `output`, byte for byte; only its size is counted. From the first byte of another
 * source on it is written, behind this past, which still is not. When somebody reads the
 * transcript, the past is made from `output` in steps between which the loop turns, and put in front
 * of what the spool holds; meanwhile nothing more is taken from the command. What `output` has
 * dropped by then is lost here too: the stream begins later.
 *
 * A line that is being written belongs to the past only when the run ended with it; else it is put
 * together as any other line is.
 *
 * A spool of less than PAST_LEAST bytes is always written.
 */
#ifndef SHIM_PAST_H
#define SHIM_PAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/shim/transcript.h"

#define PAST_LEAST	1048576u

struct run;
struct shim;
struct spool_reader;

enum past_state {
	PAST_WRITTEN,		/* there is none: all that is kept is in the spool */
	PAST_GROWS,		/* nothing but standard output has come */
	PAST_LEFT,		/* something else has, or the run has ended */
	PAST_WANTED		/* the same, and it is being made */
};

struct past {
	enum past_state state;
	struct transcript_count count;	/* its size, and what waits behind it */
	uint64_t output;		/* it is made of the bytes of `output` below this offset */
	bool ended;			/* with the run: a last line without newline belongs to it */
	struct past_mark *marks;	/* places where it can be begun, in order */
	size_t mark_count;

	/* PAST_WANTED */
	struct spool_reader *reader;	/* of output */
	struct transcript lines;
	uint64_t first, next;		/* offsets in the transcript: of its first byte, of the next */
	uint64_t at;			/* offset of the next byte of output */
};

/* The run is new. */
void past_begin(struct run *run);
/* Standard output came, and is in the spool of `output` already. Only in PAST_GROWS. */
void past_grow(struct run *run, const void *bytes, size_t size);
/* Something else is about to come: from here on the transcript is written. */
void past_leave(struct run *run);
/* The run ends, and all of its lines have come. */
void past_end(struct run *run);
/* Somebody reads the transcript: it is written from here on, and the past is made. */
void past_want(struct run *run);
/* Brings what the daemon will be told of the past up to date. */
void past_tell(struct run *run);
/* Forgets it. */
void past_done(struct run *run);

/* The work of all runs of a shim. */
void past_init(struct shim *shim);
void past_close(struct shim *shim);

#endif
