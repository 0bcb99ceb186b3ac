/* SPDX-License-Identifier: MIT */
#include "fs/keep.h"

#include <stdlib.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "fs/instance.h"
#include "fs/mount.h"
#include "fs/run.h"

/* Small progress is told so often, in milliseconds. */
#define TELL_MS	 500
#define STILL_MS (KEEP_SECONDS * 1000u)

struct keep_reader {
	LIST_ENTRY(keep_reader) entry;
	struct stream *stream;
	const struct stream_cursor *cursor;
	uint64_t offset;	/* in the stream, where the cursor stood when it was looked at */
	uint64_t since;		/* uv_now of when it moved last, or had nothing to read */
};

enum { KEEP_OUTPUT, KEEP_STDOUT, KEEP_STDERR, KEEP_TRANSCRIPT, KEEPS };

static const enum spool_kind kinds[KEEPS] = { SPOOL_OUTPUT, SPOOL_STDOUT, SPOOL_STDERR,
	SPOOL_TRANSCRIPT };

/* Nobody reads. */
void keep_init(struct keep *keep, uint64_t step)
{
	LIST_INIT(&keep->readers);
	keep->timer = NULL;
	keep->spoke = false;
	keep->step = step;
	for (int i = 0; i < KEEPS; i++)
		keep->told[i] = PROTOCOL_KEEP_NONE;
}

/* The loop's time. */
static uint64_t now_of(struct run *run)
{
	return uv_now(pool_mount(run->instance->pool)->loop);
}

/* Whether the shim can be told anything. */
static bool going(const struct run *run)
{
	return run->instance && run->submitted && !run_ended(run);
}

/* Notes where a reader stands; whether he keeps up. */
static bool keeps_up(struct keep_reader *reader, uint64_t now)
{
	uint64_t offset = reader->cursor->next + reader->cursor->shift;

	if (offset != reader->offset || offset >= reader->stream->end) {
		reader->offset = offset;
		reader->since = now;
	}
	return now - reader->since < STILL_MS;
}

/* Takes the smaller one. */
static void lower(uint64_t *least, uint64_t offset)
{
	if (offset < *least)
		*least = offset;
}

/* What one reader needs. stdout is in the spool of output up to its base. */
static void need(const struct run *run, const struct keep_reader *reader, uint64_t needs[KEEPS])
{
	uint64_t offset = reader->offset;

	if (reader->stream == &run->transcript.stream) {
		lower(&needs[KEEP_TRANSCRIPT], offset);
	} else if (reader->stream == &run->err.stream) {
		lower(&needs[KEEP_STDERR], offset);
	} else if (reader->stream == &run->output.stream) {
		lower(&needs[KEEP_OUTPUT], offset);
	} else {
		if (offset < run->base)
			lower(&needs[KEEP_OUTPUT], offset);
		lower(&needs[KEEP_STDOUT], offset < run->base ? run->base : offset);
	}
}

/* Whether the shim should know of a change: at once when more is needed, or nothing any more. */
static bool worth(const struct keep *keep, uint64_t told, uint64_t needed, uint64_t now)
{
	if (needed == told)
		return false;
	return needed < told || needed == PROTOCOL_KEEP_NONE || needed - told >= keep->step ||
		now - keep->told_at >= TELL_MS;
}

/* Tells what one spool's readers need. */
static void tell(struct run *run, int which, uint64_t offset)
{
	struct frame_run_keep frame = { .kind = kinds[which], .offset = offset };

	shim_send(instance_shim(run->instance), FRAME_RUN_KEEP, run->id, &frame, sizeof(frame));
	run->keep.told[which] = offset;
	run->keep.spoke = true;
}

/* Looks at all readers. */
static void find_needs(struct run *run, uint64_t needs[KEEPS], uint64_t now)
{
	struct keep_reader *reader;

	for (int i = 0; i < KEEPS; i++)
		needs[i] = PROTOCOL_KEEP_NONE;
	LIST_FOREACH(reader, &run->keep.readers, entry)
		if (keeps_up(reader, now))
			need(run, reader, needs);
}

/* Tells what changed. */
void keep_moved(struct run *run)
{
	struct keep *keep = &run->keep;
	uint64_t needs[KEEPS];
	bool told = false;

	if (!going(run) || !keep->timer)
		return;
	uint64_t now = now_of(run);
	find_needs(run, needs, now);
	for (int i = 0; i < KEEPS; i++) {
		if (!worth(keep, keep->told[i], needs[i], now))
			continue;
		tell(run, i, needs[i]);
		told = true;
	}
	if (told)
		keep->told_at = now;
}

/* stdout has a spool of its own: where readers of `output` are known, the shim thinks that they may be
 * readers of stdout too, until it hears better. */
void keep_split(struct run *run)
{
	uint64_t needs[KEEPS];

	if (!going(run) || !run->keep.spoke)
		return;
	find_needs(run, needs, now_of(run));
	tell(run, KEEP_STDOUT, needs[KEEP_STDOUT]);
}

/* Time passed. */
static void tick(uv_timer_t *timer)
{
	keep_moved(timer->data);
}

/* libuv is done with the timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle);
}

/* There are readers. */
static void start_timer(struct run *run)
{
	struct keep *keep = &run->keep;

	if (keep->timer || !going(run) || LIST_EMPTY(&keep->readers))
		return;
	keep->timer = memory_new(sizeof(*keep->timer));
	uv_timer_init(pool_mount(run->instance->pool)->loop, keep->timer);
	keep->timer->data = run;
	uv_timer_start(keep->timer, tick, TELL_MS, TELL_MS);
}

/* There are none. */
static void stop_timer(struct run *run)
{
	if (run->keep.timer)
		uv_close((uv_handle_t *)run->keep.timer, timer_closed);
	run->keep.timer = NULL;
}

/* One more. He has not read yet, and has until KEEP_SECONDS after the first byte. */
void keep_add(struct run *run, struct stream *stream, const struct stream_cursor *cursor)
{
	struct keep_reader *reader = memory_new(sizeof(*reader));

	*reader = (struct keep_reader){ .stream = stream, .cursor = cursor,
		.offset = UINT64_MAX };
	LIST_INSERT_HEAD(&run->keep.readers, reader, entry);
	start_timer(run);
	keep_moved(run);
}

/* One less. */
void keep_drop(struct run *run, const struct stream_cursor *cursor)
{
	struct keep_reader *reader;

	LIST_FOREACH(reader, &run->keep.readers, entry)
		if (reader->cursor == cursor)
			break;
	if (!reader)
		return;
	LIST_REMOVE(reader, entry);
	free(reader);
	keep_moved(run);
	if (LIST_EMPTY(&run->keep.readers))
		stop_timer(run);
}

/* It starts, perhaps with readers who were there before. */
void keep_start(struct run *run)
{
	start_timer(run);
	keep_moved(run);
}

/* It is over. */
void keep_end(struct run *run)
{
	stop_timer(run);
}
