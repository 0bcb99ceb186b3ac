/* SPDX-License-Identifier: MIT */
#include "fs/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/command.h"
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

/* cmd */
static void cmd_show(struct object *object, struct text *text)
{
	text_append(text, run_of(object)->command.data, run_of(object)->command.size);
}

/* state */
static void state_show(struct object *object, struct text *text)
{
	text_printf(text, "%s\n", state_names[run_of(object)->state]);
}

/* ctl, read: the verbs */
static void ctl_show(struct object *object, struct text *text)
{
	text_printf(text, "stop\n");
}

/* ctl, written: stopping what has ended is harmless */
static int ctl_store(struct object *object, const char *data, size_t size)
{
	struct run *run = run_of(object);

	if (!control_is_word(data, size, "stop"))
		return -EINVAL;
	run_stop(run);
	return 0;
}

/* output */
static struct stream *output_stream(struct object *object)
{
	return &run_of(object)->output.stream;
}

/* stdout */
static struct stream *stdout_stream(struct object *object)
{
	return &run_of(object)->out.stream;
}

/* stderr */
static struct stream *stderr_stream(struct object *object)
{
	return &run_of(object)->err.stream;
}

/* exit */
static struct stream *exit_stream(struct object *object)
{
	return &run_of(object)->exit;
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
	if (got > 0 && *offset >= run->base) {
		*offset = run->base;
		return spooled_read(&run->out, offset, buffer, size);
	}
	if (got > 0 && (uint64_t)got > run->base - *offset)
		got = (ssize_t)(run->base - *offset);
	return got;
}

/* A file of the output is opened: stdout may need the spool of output too. */
static int output_open(struct handle *handle)
{
	struct run *run = run_of(handle->object);

	spooled_use(&run->output);
	spooled_use(&run->out);
	spooled_use(&run->err);
	return 0;
}

/* And closed. */
static void output_release(struct handle *handle)
{
	struct run *run = run_of(handle->object);

	spooled_unuse(&run->output);
	spooled_unuse(&run->out);
	spooled_unuse(&run->err);
}

static const struct control_ops output_ops = { .open = output_open, .release = output_release };

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

static const struct control run_controls[] = {
	{ .name = "cmd", .mode = S_IFREG | 0600, .show = cmd_show, .ops = &command_run_ops },
	{ .name = "output", .mode = S_IFREG | 0400, .stream = output_stream, .flags = CONTROL_WAITS,
	  .ops = &output_ops },
	{ .name = "stdout", .mode = S_IFREG | 0400, .stream = stdout_stream, .flags = CONTROL_WAITS,
	  .ops = &output_ops },
	{ .name = "stderr", .mode = S_IFREG | 0400, .stream = stderr_stream, .flags = CONTROL_WAITS,
	  .ops = &output_ops },
	{ .name = "exit", .mode = S_IFREG | 0400, .stream = exit_stream, .flags = CONTROL_WAITS },
	{ .name = "state", .mode = S_IFREG | 0400, .show = state_show },
	{ .name = "ctl", .mode = S_IFREG | 0600, .show = ctl_show, .store = ctl_store },
	{ 0 }
};

const struct directory run_directory = {
	.controls = run_controls,
	.stat = run_stat,
	.features = run_features,
};

/* The last reference went. */
static void run_free(struct object *object)
{
	struct run *run = run_of(object);

	spooled_done(&run->output);
	spooled_done(&run->out);
	spooled_done(&run->err);
	stream_done(&run->exit);
	text_done(&run->command);
	object_unref(run->owner);
	free(run);
}

/* Makes a run that has not started. */
int run_new(struct instance *instance, const char *name, bool named, uint64_t id, struct run **out)
{
	struct run *run = memory_new(sizeof(*run));
	char file[40];
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
	snprintf(file, sizeof(file), "run.%llu.output", (unsigned long long)id);
	spooled_init(&run->output, instance->directory, file);
	snprintf(file, sizeof(file), "run.%llu.stdout", (unsigned long long)id);
	spooled_init(&run->out, instance->directory, file);
	run->out.stream.source = stdout_source;
	run->out.stream.owner = run;
	snprintf(file, sizeof(file), "run.%llu.stderr", (unsigned long long)id);
	spooled_init(&run->err, instance->directory, file);
	stream_init_memory(&run->exit, 64);
	*out = run;
	return 0;
}

/* Sends the text to the shim. */
void run_submit(struct run *run, const void *text, size_t size)
{
	text_append(&run->command, text, size);
	run->submitted = true;
	shim_send(instance_shim(run->instance), FRAME_RUN, run->id, text, size);
}

/* Ends the streams: all readers see what there is and then the end of file. */
static void finish(struct run *run, enum run_state state, int status)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d\n", status);

	run->state = state;
	stream_end(&run->output.stream);
	stream_end(&run->out.stream);
	stream_end(&run->err.stream);
	stream_append(&run->exit, text, (size_t)length);
	stream_end(&run->exit);
}

/* A spool of the run moved on. Without a spool of its own, stdout is output. */
bool run_told_spool(struct run *run, const struct frame_spool *notice)
{
	if (run_ended(run))
		return false;
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
	default:
		return false;
	}
}

/* Opens what open files may still want to read. */
void run_hold(struct run *run)
{
	spooled_hold(&run->output);
	spooled_hold(&run->out);
	spooled_hold(&run->err);
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

/* The shim says how far the run is. */
bool run_told_state(struct run *run, const struct frame_run_state *notice)
{
	if (notice->state >= RUN_STATES || run_ended(run) || notice->state < run->state)
		return false;
	if (notice->state <= RUN_RUNNING) {
		run->state = notice->state;
		return true;
	}
	if (notice->status < 0 || notice->status > 255)
		return false;
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
void run_remove(struct run *run)
{
	run_lost(run);
	run->instance = NULL;
	object_remove(&run->object);
	object_unref(&run->object);
}
