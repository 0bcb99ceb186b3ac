/* SPDX-License-Identifier: MIT */
#include "fs/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/instance.h"

static const char *const state_names[RUN_STATES] = {
	[RUN_QUEUED] = "queued",
	[RUN_RUNNING] = "running",
	[RUN_EXITED] = "exited",
	[RUN_SIGNALED] = "signaled",
	[RUN_TIMEOUT] = "timeout",
	[RUN_STOPPED] = "stopped",
	[RUN_LOST] = "lost",
};

/* What `exit` shows for a run whose command gave no status. */
#define STATUS_NONE 255

/* The run of an object of that type. */
static struct run *run_of(struct object *object)
{
	return container_of(object, struct run, object);
}

/* The word for a state. */
const char *run_state_name(enum run_state state)
{
	return state_names[state];
}

/* Nothing more will happen. */
bool run_ended(const struct run *run)
{
	return run->state > RUN_RUNNING;
}

/* Standard output: below `base` it is the same bytes as `output`, its own spool from there on. */
static ssize_t stdout_source(struct stream *stream, uint64_t *offset, void *buffer, size_t size)
{
	struct run *run = stream->owner;

	if (*offset >= run->base)
		return spooled_read(&run->out, offset, buffer, size);
	if (size > run->base - *offset)
		size = (size_t)(run->base - *offset);
	ssize_t got = spooled_read(&run->output, offset, buffer, size);
	/* Bytes at or beyond base are not ours: the range moved up behind what was dropped. */
	if (got >= 0 && *offset >= run->base) {
		*offset = run->base;
		return spooled_read(&run->out, offset, buffer, size);
	}
	if (got > 0 && (uint64_t)got > run->base - *offset)
		got = (ssize_t)(run->base - *offset);
	return got;
}

/* Owner and times are the run's. */
static void run_stat(struct object *object, struct stat *stat)
{
	struct run *run = run_of(object);

	control_directory(run->owner)->stat(run->owner, stat);
	stat->st_mode = S_IFDIR | 0700;
	stat->st_atim = stat->st_mtim = stat->st_ctim = run->created;
}

/* A run has no features. */
static uint32_t run_features(struct object *object)
{
	return 0;
}

/* All its spools. */
static void each_spool(struct run *run, void (*act)(struct spooled *spooled))
{
	act(&run->output);
	act(&run->out);
	act(&run->err);
	act(&run->transcript);
}

/* One more open file: stdout may need the spool of output too, so all are used together. */
void run_use(struct run *run)
{
	each_spool(run, spooled_use);
}

/* One less. */
void run_unuse(struct run *run)
{
	each_spool(run, spooled_unuse);
}

const struct directory run_directory = {
	.controls = run_controls,
	.stat = run_stat,
	.features = run_features,
};

/* The last reference went. */
static void run_free(struct object *object)
{
	struct run *run = run_of(object);

	each_spool(run, spooled_done);
	stream_done(&run->exit);
	input_done(&run->input);
	settings_done(&run->settings);
	text_done(&run->command);
	object_unref(run->owner);
	free(run);
}

/* Names the files that the shim will make. */
static void init_spools(struct run *run, const int *directory)
{
	const struct {
		struct spooled *spooled;
		const char *name;
	} spools[] = { { &run->output, "output" }, { &run->out, "stdout" }, { &run->err, "stderr" },
		{ &run->transcript, "transcript" } };

	for (size_t i = 0; i < sizeof(spools) / sizeof(*spools); i++) {
		char file[40];

		snprintf(file, sizeof(file), "run.%llu.%s", (unsigned long long)run->id, spools[i].name);
		spooled_init(spools[i].spooled, directory, file);
	}
	run->out.stream.source = stdout_source;
	run->out.stream.owner = run;
}

/* Makes a run that has not started. */
int run_new(struct instance *instance, const char *name, bool named, uint64_t id, struct run **out)
{
	struct run *run = memory_new(sizeof(*run));
	int result = object_init(&run->object, OBJECT_RUN, run_free);

	if (result < 0) {
		free(run);
		return result;
	}
	run->instance = instance;
	run->owner = object_ref(&instance->object);
	run->id = id;
	run->named = named;
	snprintf(run->name, sizeof(run->name), "%s", name);
	run->base = UINT64_MAX;
	clock_gettime(CLOCK_REALTIME, &run->created);
	settings_copy(&run->settings, &instance->settings);
	init_spools(run, &instance->directory);
	keep_init(&run->keep, (uint64_t)poolfs_number(pool_config(instance->pool)->values,
		"output_limit") / 8);
	stream_init_memory(&run->exit, 64);
	input_init(&run->input, id);
	/* A numbered run finds its input at the end: nobody could write to it before it starts. */
	if (!named)
		input_end(&run->input);
	*out = run;
	return 0;
}

/* Whether the shim must be told more than the text. */
static bool has_setup(const struct run *run)
{
	const struct settings *settings = &run->settings;

	return run->named || settings->timeout_ms || settings->environment.size ||
		settings->cwd.size || settings->columns;
}

/* Sends the settings and the text to the shim. */
void run_submit(struct run *run, const void *text, size_t size)
{
	struct shim *shim = instance_shim(run->instance);
	struct text setup = { 0 };

	text_append(&run->command, text, size);
	run->submitted = true;
	guestfs_close_ahead(run->instance->guestfs);
	if (guestfs_ahead(run->instance->guestfs))
		shim_hold(shim, guestfs_ahead(run->instance->guestfs));
	if (has_setup(run)) {
		settings_frame(&run->settings, run->named, &setup);
		shim_send(shim, FRAME_RUN_SETUP, run->id, setup.data, setup.size);
		text_done(&setup);
	}
	shim_send(shim, FRAME_RUN, run->id, text, size);
	input_start(&run->input, shim);
	keep_start(run);
}

/* Ends the streams: all readers see what there is and then the end of file. */
static void finish(struct run *run, enum run_state state, int status)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d\n", status);

	run->state = state;
	run->status = status;
	keep_end(run);
	input_end(&run->input);
	stream_end(&run->output.stream);
	stream_end(&run->out.stream);
	stream_end(&run->err.stream);
	stream_end(&run->transcript.stream);
	stream_append(&run->exit, text, (size_t)length);
	stream_end(&run->exit);
	control_changed(&run->object);
}

/* Whether somebody waits for a part of the transcript. */
bool run_wants_transcript(const struct run *run)
{
	return run->transcripts && run->transcript.stream.missing;
}

/* Asks for it. To ask again is harmless. */
void run_want_transcript(struct run *run)
{
	if (run->instance && run->submitted && run_wants_transcript(run))
		shim_send(instance_shim(run->instance), FRAME_RUN_TRANSCRIPT, run->id, NULL, 0);
}

/* It will not come. */
void run_miss_transcript(struct run *run)
{
	struct stream *stream = &run->transcript.stream;

	if (!stream->missing)
		return;
	stream->missing = 0;
	stream_moved(stream, stream->start, stream->end);
}

/* Moves the stream that a notice is about. Without a spool of its own, stdout is output. */
static bool move_stream(struct run *run, const struct frame_spool *notice)
{
	switch (notice->kind) {
	case SPOOL_OUTPUT:
		if (!stream_moved(&run->output.stream, notice->start, notice->end))
			return false;
		if (run->base != UINT64_MAX)
			return true;
		return stream_moved(&run->out.stream, notice->start, notice->end);
	case SPOOL_STDOUT:
		if (run->base == UINT64_MAX)
			run->base = notice->base;
		if (notice->base != run->base || notice->base > notice->end)
			return false;
		/* What `output` dropped below base is dropped here too; see stdout_source. */
		return stream_moved(&run->out.stream,
			notice->start > run->base ? notice->start : run->out.stream.start, notice->end);
	case SPOOL_STDERR:
		return stream_moved(&run->err.stream, notice->start, notice->end);
	case SPOOL_TRANSCRIPT:
		if (notice->base > notice->end)
			return false;
		if (run->transcript.stream.missing && !notice->base)
			spooled_renew(&run->transcript);
		run->transcript.stream.missing = notice->base;
		run_want_transcript(run);
		return stream_moved(&run->transcript.stream, notice->start, notice->end);
	default:
		return false;
	}
}

/* A spool of the run moved on. */
bool run_told_spool(struct run *run, const struct frame_spool *notice)
{
	bool joined = run->base == UINT64_MAX, sane = move_stream(run, notice);

	if (joined && run->base != UINT64_MAX)
		keep_split(run);
	keep_moved(run);
	return sane;
}

/* Opens what open files may still want to read. */
void run_hold(struct run *run)
{
	each_spool(run, spooled_hold);
}

/* Stops. A run whose command was not written yet ends at once, and takes none any more. */
void run_stop(struct run *run)
{
	if (run_ended(run))
		return;
	if (run->submitted)
		shim_send(instance_shim(run->instance), FRAME_RUN_STOP, run->id, NULL, 0);
	else
		finish(run, RUN_STOPPED, STATUS_NONE);
}

/* Sends a signal. To a run whose command was not written yet it means nothing. */
void run_signal(struct run *run, int signal)
{
	struct frame_run_signal frame = { .signal = signal };

	if (run->submitted && !run_ended(run))
		shim_send(instance_shim(run->instance), FRAME_RUN_SIGNAL, run->id, &frame,
			sizeof(frame));
}

/* The shim passed input on. */
bool run_told_input(struct run *run, const struct frame_run_taken *notice)
{
	return input_taken(&run->input, notice->bytes, notice->closed);
}

/* The shim says how far the run is. */
bool run_told_state(struct run *run, const struct frame_run_state *notice)
{
	if (notice->state >= RUN_STATES || run_ended(run) || notice->state < run->state)
		return false;
	if (notice->state <= RUN_RUNNING) {
		run->state = notice->state;
		control_changed(&run->object);
		return true;
	}
	if (notice->status < 0 || notice->status > 255)
		return false;
	/* Before anybody learns of the end, so that who does sees what the command did. */
	instance_files_changed(run->instance);
	finish(run, notice->state, notice->status);
	instance_run_ended(run->instance, run);
	return true;
}

/* The machine went away. */
void run_lost(struct run *run)
{
	if (!run_ended(run))
		finish(run, RUN_LOST, STATUS_NONE);
}

/* Takes the run out of the tree. */
void run_leave(struct run *run)
{
	run_lost(run);
	if (!run->left)
		object_remove(&run->object);
	run->left = true;
}

/* Nothing comes any more. */
void run_remove(struct run *run)
{
	run_leave(run);
	run->instance = NULL;
	run_miss_transcript(run);
	object_unref(&run->object);
}
