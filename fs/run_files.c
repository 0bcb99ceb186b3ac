/* SPDX-License-Identifier: MIT */
/* The control files of a run: one function for each, and the table. */
#include "fs/run.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/command.h"
#include "fs/instance.h"
#include "fs/settings_files.h"

/* The run of an object of that type. */
static struct run *run_of(struct object *object)
{
	return container_of(object, struct run, object);
}

/* cmd */
static void cmd_show(struct object *object, struct text *text)
{
	text_append(text, run_of(object)->command.data, run_of(object)->command.size);
}

/* Who only reads stdin, as tools that copy everything do, finds nothing and is no writer. */
static bool writes(const struct handle *handle)
{
	return (handle->flags & O_ACCMODE) != O_RDONLY;
}

/* stdin, opened: there is one end of it, so who comes later is refused at the first write */
static int stdin_open(struct handle *handle)
{
	if (writes(handle))
		input_opened(&run_of(handle->object)->input);
	return 0;
}

/* stdin, written */
static void stdin_put(struct handle *handle, struct request *request, const void *data, size_t size)
{
	input_write(&run_of(handle->object)->input, request, data, size,
		handle->flags & O_NONBLOCK);
}

/* stdin, polled */
static void stdin_poll(struct handle *handle, struct request *request, struct poller *poller)
{
	input_poll(&run_of(handle->object)->input, handle, request, poller);
}

/* stdin, closed */
static void stdin_release(struct handle *handle)
{
	if (writes(handle))
		input_closed(&run_of(handle->object)->input);
}

static const struct control_ops stdin_ops = {
	.open = stdin_open,
	.put = stdin_put,
	.poll = stdin_poll,
	.release = stdin_release,
};

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

/* transcript */
static struct stream *transcript_stream(struct object *object)
{
	return &run_of(object)->transcript.stream;
}

/* A file of the output is opened: stdout may need the spool of output too. */
static int output_open(struct handle *handle)
{
	struct run *run = run_of(handle->object);
	struct stream *stream = handle->control->stream(handle->object);

	run_use(run);
	if (stream == &run->transcript.stream) {
		run->transcripts++;
		run_want_transcript(run);
	}
	keep_add(run, stream, &handle->cursor);
	return 0;
}

/* Read: the command may go on. */
static void output_read(struct handle *handle, struct request *request, uint64_t offset, size_t size)
{
	stream_read(handle->control->stream(handle->object), &handle->cursor, request, offset, size,
		true, handle->flags & O_NONBLOCK);
	keep_moved(run_of(handle->object));
}

/* And closed. */
static void output_release(struct handle *handle)
{
	struct run *run = run_of(handle->object);

	keep_drop(run, &handle->cursor);
	if (handle->control->stream(handle->object) == &run->transcript.stream)
		run->transcripts--;
	run_unuse(run);
}

static const struct control_ops output_ops = { .open = output_open, .read = output_read,
	.release = output_release };

/* exit */
static struct stream *exit_stream(struct object *object)
{
	return &run_of(object)->exit;
}

/* state */
static void state_show(struct object *object, struct text *text)
{
	text_printf(text, "%s\n", run_state_name(run_of(object)->state));
}

/* status: "key value" lines */
static void status_show(struct object *object, struct text *text)
{
	struct run *run = run_of(object);

	text_printf(text, "state %s\n", run_state_name(run->state));
	if (run_ended(run))
		text_printf(text, "exit %d\n", run->status);
	text_printf(text, "output_bytes %llu\n", (unsigned long long)run->output.stream.end);
	text_printf(text, "output_bytes_dropped %llu\n",
		(unsigned long long)run->output.stream.start);
}

/* ctl, read: the verbs */
static void ctl_show(struct object *object, struct text *text)
{
	text_printf(text, "stop\nsignal NAME\n");
}

/* ctl, written: what has ended takes everything, and does nothing */
static int ctl_store(struct object *object, const char *data, size_t size)
{
	static const char verb[] = "signal ";
	size_t length = strlen(verb);

	if (control_is_word(data, size, "stop")) {
		run_stop(run_of(object));
		return 0;
	}
	if (size <= length || memcmp(data, verb, length) != 0)
		return -EINVAL;
	int signal = settings_signal(data + length, size - length);
	if (!signal)
		return -EINVAL;
	run_signal(run_of(object), signal);
	return 0;
}

const struct control run_controls[] = {
	{ .name = "cmd", .mode = S_IFREG | 0600, .show = cmd_show, .ops = &command_run_ops },
	{ .name = "stdin", .mode = S_IFREG | 0600, .ops = &stdin_ops },
	{ .name = "output", .mode = S_IFREG | 0400, .stream = output_stream, .flags = CONTROL_WAITS,
	  .ops = &output_ops },
	{ .name = "stdout", .mode = S_IFREG | 0400, .stream = stdout_stream, .flags = CONTROL_WAITS,
	  .ops = &output_ops },
	{ .name = "stderr", .mode = S_IFREG | 0400, .stream = stderr_stream, .flags = CONTROL_WAITS,
	  .ops = &output_ops },
	{ .name = "transcript", .mode = S_IFREG | 0400, .stream = transcript_stream, .flags = CONTROL_WAITS,
	  .ops = &output_ops },
	{ .name = "exit", .mode = S_IFREG | 0400, .stream = exit_stream, .flags = CONTROL_WAITS },
	{ .name = "state", .mode = S_IFREG | 0400, .show = state_show },
	{ .name = "status", .mode = S_IFREG | 0400, .show = status_show },
	{ .name = "timeout", .mode = S_IFREG | 0600, .show = settings_files_timeout_show,
	  .store = settings_files_timeout_store },
	{ .name = "environment", .mode = S_IFREG | 0600, .show = settings_files_environment_show,
	  .ops = &settings_files_environment_ops },
	{ .name = "cwd", .mode = S_IFREG | 0600, .show = settings_files_cwd_show,
	  .store = settings_files_cwd_store },
	{ .name = "tty", .mode = S_IFREG | 0600, .show = settings_files_tty_show,
	  .store = settings_files_tty_store },
	{ .name = "ctl", .mode = S_IFREG | 0600, .show = ctl_show, .store = ctl_store },
	{ 0 }
};
