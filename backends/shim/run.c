/* SPDX-License-Identifier: MIT */
/*
 * Three streams make up a run's output. `output` gets every byte. As long as nothing came on
 * stderr, stdout is the same bytes, and has no spool of its own; from the first stderr byte on
 * it has one, which begins at the offset that `output` had reached. The transcript is a fourth;
 * see past.h for when it is written.
 */
#include "backends/shim/run.h"

#include <stdlib.h>

/* Room for output, where a transcript is the narrow place, comes in pieces of this size at least. */
#define ROOM_LEAST 4096u

/* Whether nothing of this run changes any more. */
bool run_ended(const struct run *run)
{
	return run->state != RUN_QUEUED && run->state != RUN_RUNNING;
}

/* Sends the notices. stdout's first: it says how much of `output` is stdout. */
void run_tell_spools(struct run *run, bool always)
{
	if (run->split)
		sink_tell(&run->out, always);
	if (run->err.end > 0)
		sink_tell(&run->err, always);
	if (run->output.end > 0)
		sink_tell(&run->output, always);
	past_tell(run);
	if (run->transcript.end > 0)
		sink_tell(&run->transcript, always);
}

/* Sends the state. */
void run_tell_state(struct run *run)
{
	struct frame_run_state frame = { .state = run->state, .status = run->status,
		.bytes_dropped = run->output.start };

	daemon_send(run->shim, FRAME_RUN_STATE, run->id, &frame, sizeof(frame), NULL, 0);
}

/* Has the notices sent when the loop has done its turn. */
void run_note(struct run *run)
{
	if (!run->noted)
		TAILQ_INSERT_TAIL(&run->shim->commands.changed, run, changed);
	run->noted = true;
}

/* No notice about this run is waiting any more. */
void run_unnote(struct run *run)
{
	if (run->noted)
		TAILQ_REMOVE(&run->shim->commands.changed, run, changed);
	run->noted = false;
}

/* Lines for the transcript go out with one append. */
static void transcript_flush(struct run *run)
{
	struct text *scratch = &run->shim->commands.scratch;

	if (scratch->size)
		sink_append(&run->transcript, scratch->data, scratch->size);
	scratch->size = 0;
	if (scratch->capacity > COMMANDS_SCRATCH)
		text_done(scratch);
}

/* Closes everything that only a run needs that has not ended. */
static void run_close(struct run *run)
{
	if (run->state == RUN_RUNNING)
		TAILQ_REMOVE(&run->shim->commands.running, run, running);
	commands_drop_text(run);
	if (run->lines.parts[TRANSCRIPT_CONSOLE].size)
		past_leave(run);
	past_end(run);
	transcript_end(&run->lines, &run->shim->commands.scratch);
	if (run->forgotten)
		run->shim->commands.scratch.size = 0;
	transcript_flush(run);
	sink_finish(&run->output);
	sink_finish(&run->out);
	sink_finish(&run->err);
	if (run->past.state != PAST_WANTED)
		sink_finish(&run->transcript);
	limits_done(run);
	run_unnote(run);
}

/* The one place where a run's state changes. */
void run_change(struct run *run, enum run_state state, int status)
{
	bool end = state != RUN_QUEUED && state != RUN_RUNNING;

	if (run_ended(run))
		return;
	if (end)
		run_close(run);
	run->state = state;
	run->status = status;
	if (!run->forgotten) {
		run_tell_spools(run, false);
		input_tell(run);
		run_tell_state(run);
	}
	if (end) {
		input_done(run);
		life_run_ended(run->shim);
	}
}

/* The machine accepted the command. */
static void run_started(void *data)
{
	struct run *run = data;

	if (run->state != RUN_QUEUED)
		return;
	run_change(run, RUN_RUNNING, 0);
	TAILQ_INSERT_TAIL(&run->shim->commands.running, run, running);
	if (run->shim->console.inside)
		transcript_skip_line(&run->lines, TRANSCRIPT_CONSOLE);
	limits_begin(run);
}

/* From here on stdout is not the same as `output`. */
static void run_split(struct run *run)
{
	run->split = true;
	sink_rebase(&run->out, run->output.end);
	/* Who reads may read stdout: the daemon says, when it knows of the two. */
	if (run->output.keep != PROTOCOL_KEEP_NONE)
		run->out.keep = run->out.base;
}

/* How much output the transcript takes: a byte of it may be a line, with a prefix, and may complete
 * the lines that wait. Who has read all of it does not hold the command up. */
static uint64_t transcript_room(const struct run *run)
{
	uint64_t room = sink_room(&run->transcript), waiting = transcript_waiting(&run->lines);

	if (room == UINT64_MAX)
		return room;
	if (room >= waiting + ROOM_LEAST * TRANSCRIPT_GROWTH)
		return (room - waiting) / TRANSCRIPT_GROWTH;
	return room == run->transcript.limit ? ROOM_LEAST : 0;
}

/* The least room of all spools. */
static size_t run_room(void *data)
{
	const struct run *run = data;
	uint64_t rooms[] = { sink_room(&run->output), sink_room(&run->out), sink_room(&run->err),
		transcript_room(run) };
	uint64_t least = UINT64_MAX;

	if (run_ended(run) || run->forgotten)
		return SIZE_MAX;
	if (run->past.state == PAST_WANTED)
		return 0;
	for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++)
		if (rooms[i] < least)
			least = rooms[i];
	return least < SIZE_MAX ? (size_t)least : SIZE_MAX;
}

/* What readers of a spool need. */
static void keep(struct run *run, struct sink *sink, uint64_t offset)
{
	sink->keep = offset;
	if (run->handle)
		run->shim->setup.transport->run_more(run->handle);
}

/* FRAME_RUN_KEEP. */
bool run_keep(struct run *run, uint32_t kind, uint64_t offset)
{
	struct sink *const sinks[SPOOL_KINDS] = { [SPOOL_OUTPUT] = &run->output,
		[SPOOL_STDOUT] = &run->out, [SPOOL_STDERR] = &run->err,
		[SPOOL_TRANSCRIPT] = &run->transcript };

	if (kind >= SPOOL_KINDS || !sinks[kind])
		return false;
	if (kind == SPOOL_TRANSCRIPT && offset != PROTOCOL_KEEP_NONE)
		past_want(run);
	keep(run, sinks[kind], offset);
	return true;
}

/* Nobody reads any more. */
void run_keep_none(struct run *run)
{
	keep(run, &run->output, PROTOCOL_KEEP_NONE);
	keep(run, &run->out, PROTOCOL_KEEP_NONE);
	keep(run, &run->err, PROTOCOL_KEEP_NONE);
	keep(run, &run->transcript, PROTOCOL_KEEP_NONE);
}

/* The command wrote something. */
static void run_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	struct run *run = data;

	quiet_heard(run->shim);
	if (run_ended(run) || run->forgotten || size == 0)
		return;
	if (kind == SPOOL_STDERR)
		past_leave(run);
	if (kind == SPOOL_STDERR && !run->split)
		run_split(run);
	if (kind == SPOOL_STDERR)
		sink_append(&run->err, bytes, size);
	else if (run->split)
		sink_append(&run->out, bytes, size);
	sink_append(&run->output, bytes, size);
	run_note(run);
	if (run->past.state == PAST_GROWS) {
		past_grow(run, bytes, size);
		return;
	}
	transcript_feed(&run->lines, kind == SPOOL_STDERR ? TRANSCRIPT_STDERR : TRANSCRIPT_STDOUT,
		bytes, size, &run->shim->commands.scratch);
	transcript_flush(run);
}

/* The console printed something. */
void run_console(struct run *run, const void *bytes, size_t size)
{
	if (run->forgotten)
		return;
	transcript_feed(&run->lines, TRANSCRIPT_CONSOLE, bytes, size, &run->shim->commands.scratch);
	if (run->shim->commands.scratch.size)
		past_leave(run);
	transcript_flush(run);
	run_note(run);
}

/* There is room for input. */
static void run_drained(void *data)
{
	input_push(data);
}

/* The transport is through with the run. */
static void run_over(void *data, enum run_state state, int status)
{
	struct run *run = data;

	run->handle = NULL;
	state = limits_state(run, state, &status);
	/* What a crashed machine said last of a command is worth nothing. */
	if (crashes_pending(run->shim)) {
		state = RUN_LOST;
		status = 255;
	}
	run_change(run, state, status);
	if (run->forgotten)
		commands_free(run);
}

static const struct transport_run_events run_events = {
	.started = run_started,
	.room = run_room,
	.output = run_output,
	.drained = run_drained,
	.ended = run_over,
};

/* Gives a queued run to the transport. */
void run_start(struct run *run)
{
	struct transport_command command = { .text = run->text, .size = run->size,
		.environment = run->environment, .environment_size = run->setup.environment_size,
		.cwd = run->cwd, .columns = run->setup.columns, .rows = run->setup.rows,
		.input = run->setup.flags & RUN_INPUT };

	run->handle = life_run(run->shim, &command, &run_events, run);
	if (!run->handle) {
		run_change(run, RUN_LOST, 255);
		return;
	}
	input_push(run);
}
