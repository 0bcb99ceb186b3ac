/* SPDX-License-Identifier: MIT */
#include "backends/shim/past.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/protocol/spool.h"
#include "backends/shim/run.h"

/* A place in `output` where a piece of a line begins, and where it stands in the transcript. There is
 * one for every 128th of what the spool holds, so that all that are still of use fit. */
struct past_mark {
	uint64_t output, transcript;
};

#define MARKS_STEP 128u
#define MARKS_MAX  136u

/* So much of `output` is read in one turn of the loop. */
#define STEP (256u * 1024u)

/* The run is new. */
void past_begin(struct run *run)
{
	if (run->transcript.limit >= PAST_LEAST)
		run->past.state = PAST_GROWS;
}

/* The first place that `output` still holds; NULL: there is none. */
static const struct past_mark *mark_from(const struct past *past, uint64_t output)
{
	for (size_t i = 0; i < past->mark_count; i++)
		if (past->marks[i].output >= output)
			return &past->marks[i];
	return NULL;
}

/* Drops the marks of what `output` no longer holds. */
static void drop_marks(struct past *past, uint64_t output)
{
	size_t kept = 0;

	for (size_t i = 0; i < past->mark_count; i++)
		if (past->marks[i].output >= output)
			past->marks[kept++] = past->marks[i];
	past->mark_count = kept;
}

/* Remembers the place behind which the incomplete line stands. */
static void set_mark(struct run *run, uint64_t output)
{
	struct past *past = &run->past;

	if (past->mark_count && output - past->marks[past->mark_count - 1].output <
		run->output.limit / MARKS_STEP)
		return;
	if (past->mark_count == MARKS_MAX)
		drop_marks(past, run->output.start);
	if (past->mark_count == MARKS_MAX)
		return;
	/* Most runs are short, and need one. */
	if (past->mark_count < 2)
		past->marks = memory_grow(past->marks,
			(past->mark_count ? MARKS_MAX : 1) * sizeof(*past->marks));
	past->marks[past->mark_count++] =
		(struct past_mark){ .output = output, .transcript = past->count.size };
}

/* Standard output came. */
void past_grow(struct run *run, const void *bytes, size_t size)
{
	struct past *past = &run->past;

	if (!past->mark_count)
		set_mark(run, run->output.end - size);
	transcript_count(&past->count, bytes, size);
	set_mark(run, run->output.end - past->count.waiting);
	sink_pass(&run->transcript, past->count.size);
}

/* Hands the incomplete line over; false: it cannot be read any more. */
static bool pass_line(struct run *run)
{
	uint64_t from = run->output.end - run->past.count.waiting, at = from;
	size_t size = run->past.count.waiting;
	struct spool_reader *reader = NULL;
	struct text none = { 0 };

	if (!size)
		return true;
	char *line = memory_grow(NULL, size);
	bool read = sink_reader(&run->output, &reader) == 0 &&
		spool_read(reader, &at, line, size) == (ssize_t)size && at == from;
	if (read)
		transcript_feed(&run->lines, TRANSCRIPT_STDOUT, line, size, &none);
	spool_reader_free(reader);
	free(line);
	return read;
}

/* The past is in the spool, or lost where it is not. */
static void settle(struct run *run, bool made)
{
	struct past *past = &run->past;

	if (past->state == PAST_WANTED)
		TAILQ_REMOVE(&run->shim->commands.wanted, run, wanted);
	past->state = PAST_WRITTEN;
	if (made)
		sink_lower(&run->transcript, past->first);
	sink_settle(&run->transcript);
	past_done(run);
	if (run_ended(run))
		sink_finish(&run->transcript);
}

/* Something else is about to come. */
void past_leave(struct run *run)
{
	struct past *past = &run->past;

	if (past->state != PAST_GROWS)
		return;
	past->state = PAST_LEFT;
	past->output = run->output.end;
	bool passed = pass_line(run);
	if (!passed)
		sink_rebase(&run->transcript, past->count.size + past->count.waiting);
	if (!passed || !past->count.size)
		settle(run, false);
}

/* The run ends. */
void past_end(struct run *run)
{
	struct past *past = &run->past;

	if (past->state != PAST_GROWS)
		return;
	past->state = PAST_LEFT;
	past->output = run->output.end;
	past->ended = true;
	transcript_count_end(&past->count);
	sink_pass(&run->transcript, past->count.size);
	if (!past->count.size)
		settle(run, false);
}

/* Begins to make it with the first line that `output` still holds, from an offset on. */
static bool begin(struct run *run, uint64_t output)
{
	struct past *past = &run->past;
	const struct past_mark *mark = mark_from(past, output);
	struct text none = { 0 };

	transcript_end(&past->lines, &none);
	text_done(&none);
	if (!mark || mark->output >= past->output)
		return false;
	past->first = past->next = mark->transcript;
	past->at = mark->output;
	return true;
}

/* One step. 1: there is more to do, 0: it is all there, or a negative errno. */
static int step(struct run *run, char *buffer, struct text *out)
{
	struct past *past = &run->past;
	uint64_t at = past->at, left = past->output - past->at;

	ssize_t count = spool_read(past->reader, &at, buffer, left < STEP ? (size_t)left : STEP);
	if (count < 0)
		return (int)count;
	if (at != past->at)
		return begin(run, at) ? 1 : -ENODATA;
	if (count == 0)
		return -ENODATA;
	transcript_feed(&past->lines, TRANSCRIPT_STDOUT, buffer, (size_t)count, out);
	past->at += (uint64_t)count;
	bool last = past->at == past->output;
	if (last && past->ended)
		transcript_end(&past->lines, out);
	int result = sink_prepend(&run->transcript, past->next, out->data, out->size);
	if (result < 0)
		return result;
	past->next += out->size;
	if (!last)
		return 1;
	return past->next == past->count.size ? 0 : -EIO;
}

/* The loop turns: one step for one run. */
static void work(uv_idle_t *idle)
{
	struct shim *shim = idle->data;
	struct text *scratch = &shim->commands.scratch;
	struct run *run = TAILQ_FIRST(&shim->commands.wanted);

	if (!run) {
		uv_idle_stop(idle);
		return;
	}
	char *buffer = memory_grow(NULL, STEP);
	int result = step(run, buffer, scratch);
	free(buffer);
	scratch->size = 0;
	if (scratch->capacity > COMMANDS_SCRATCH)
		text_done(scratch);
	if (result > 0)
		return;
	if (result < 0)
		journal_printf(shim, "run.%llu.transcript: the part before offset %llu is lost: %s",
			(unsigned long long)run->id, (unsigned long long)run->past.count.size,
			strerror(-result));
	settle(run, result == 0);
	run_note(run);
	if (run->handle)
		shim->setup.transport->run_more(run->handle);
}

/* Somebody reads. */
void past_want(struct run *run)
{
	struct past *past = &run->past;

	past_leave(run);
	if (past->state != PAST_LEFT)
		return;
	past_tell(run);
	past->state = PAST_WANTED;
	TAILQ_INSERT_TAIL(&run->shim->commands.wanted, run, wanted);
	if (sink_reader(&run->output, &past->reader) < 0 || !begin(run, run->output.start)) {
		settle(run, false);
		run_note(run);
		return;
	}
	uv_idle_start(&run->shim->commands.work, work);
}

/* Says where the past begins that can be made. */
void past_tell(struct run *run)
{
	struct past *past = &run->past;
	const struct past_mark *mark = mark_from(past, run->output.start);
	uint64_t start = mark ? mark->transcript : past->count.size;

	if (past->state == PAST_WRITTEN)
		return;
	sink_miss(&run->transcript, past->state == PAST_WANTED ? past->first : start,
		past->count.size);
}

/* Forgets. */
void past_done(struct run *run)
{
	struct past *past = &run->past;
	struct text none = { 0 };

	if (past->state == PAST_WANTED)
		TAILQ_REMOVE(&run->shim->commands.wanted, run, wanted);
	spool_reader_free(past->reader);
	transcript_end(&past->lines, &none);
	text_done(&none);
	free(past->marks);
	*past = (struct past){ 0 };
}

/* No run is wanted. */
void past_init(struct shim *shim)
{
	TAILQ_INIT(&shim->commands.wanted);
	uv_idle_init(shim->loop, &shim->commands.work);
	shim->commands.work.data = shim;
}

/* Closes. */
void past_close(struct shim *shim)
{
	uv_close((uv_handle_t *)&shim->commands.work, NULL);
}
