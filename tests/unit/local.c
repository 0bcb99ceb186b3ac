/* SPDX-License-Identifier: MIT */
#include "tests/unit/local.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"

#define PORTION 10000u	/* bytes of input at a time: no request fits its limits */

struct transport_run {
	struct transport *transport;
	const struct transport_run_events *events;
	void *data;
	uv_process_t process;
	uv_pipe_t in, out;
	uv_idle_t idle;
	uv_write_t write;
	char input[PORTION];
	bool writing, drain, stopped;
	unsigned open;		/* of the four above, and the process' end */
	enum run_state state;
	int status;
};

/* One handle is closed; the last one is the end. */
static void part_closed(struct transport_run *run)
{
	if (--run->open)
		return;
	run->transport->alive--;
	run->events->ended(run->data, run->stopped ? RUN_STOPPED : run->state, run->status);
	free(run);
}

static void handle_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, handle_closed);
}

/* The end of the process. */
static void exited(uv_process_t *process, int64_t status, int signal)
{
	struct transport_run *run = process->data;

	run->state = signal ? RUN_SIGNALED : RUN_EXITED;
	run->status = signal ? 128 + signal : (int)status;
	close_handle((uv_handle_t *)&run->in);
	close_handle((uv_handle_t *)process);
	close_handle((uv_handle_t *)&run->idle);
	if (run->stopped)
		close_handle((uv_handle_t *)&run->out);
}

static void give_buffer(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
	static char bytes[65536];

	*buffer = uv_buf_init(bytes, sizeof(bytes));
}

static void came(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct transport_run *run = stream->data;

	if (size < 0)
		close_handle((uv_handle_t *)stream);
	else if (size > 0 && !run->stopped)
		run->events->output(run->data, SPOOL_STDOUT, buffer->base, (size_t)size);
}

static void started(uv_idle_t *idle)
{
	struct transport_run *run = idle->data;

	uv_idle_stop(idle);
	if (!run->stopped)
		run->events->started(run->data);
}

static struct transport_run *local_run(struct transport *transport,
	const struct transport_command *command, const struct transport_run_events *events, void *data)
{
	struct transport_run *run = memory_new(sizeof(*run));
	char *text = memory_format("%.*s", (int)command->size, command->text);
	char *path = memory_format("PATH=%s", transport->path), *environment[] = { path, NULL };
	char *words[8] = { 0 };
	uv_stdio_container_t streams[] = {
		{ .flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&run->in },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&run->out },
		{ .flags = UV_INHERIT_FD, .data.fd = 2 },
	};
	uv_process_options_t options = { .args = words, .cwd = transport->directory, .env = environment,
		.stdio = streams, .stdio_count = 3, .exit_cb = exited, .flags = UV_PROCESS_DETACHED };
	int count = 0;

	for (; transport->shell[count]; count++)
		words[count] = (char *)transport->shell[count];
	words[count++] = "-c";
	words[count] = text;
	options.file = words[0];
	run->transport = transport;
	run->events = events;
	run->data = data;
	run->open = 4;
	uv_pipe_init(transport->loop, &run->in, 0);
	uv_pipe_init(transport->loop, &run->out, 0);
	uv_idle_init(transport->loop, &run->idle);
	run->in.data = run->out.data = run->idle.data = run->process.data = run;
	if (uv_spawn(transport->loop, &run->process, &options) < 0)
		abort();
	uv_read_start((uv_stream_t *)&run->out, give_buffer, came);
	uv_idle_start(&run->idle, started);
	transport->started++;
	transport->alive++;
	free(text);
	free(path);
	return run;
}

static void written(uv_write_t *write, int status)
{
	struct transport_run *run = write->data;

	run->writing = false;
	if (run->drain && !run->stopped && !uv_is_closing((uv_handle_t *)&run->in)) {
		run->drain = false;
		run->events->drained(run->data);
	}
}

static size_t local_input(struct transport_run *run, const void *bytes, size_t size)
{
	uv_buf_t buffer;

	if (run->writing || uv_is_closing((uv_handle_t *)&run->in)) {
		run->drain = true;
		return 0;
	}
	run->drain = size > PORTION;
	size = size < PORTION ? size : PORTION;
	memcpy(run->input, bytes, size);
	buffer = uv_buf_init(run->input, (unsigned)size);
	run->write.data = run;
	run->writing = true;
	uv_write(&run->write, (uv_stream_t *)&run->in, &buffer, 1, written);
	return size;
}

static void local_signal(struct transport_run *run, int signal)
{
	kill(-run->process.pid, signal);
}

static void local_abandon(struct transport_run *run)
{
	run->stopped = true;
	kill(-run->process.pid, SIGKILL);
	close_handle((uv_handle_t *)&run->in);
	if (!uv_is_active((uv_handle_t *)&run->process))
		close_handle((uv_handle_t *)&run->out);
}

const struct transport_ops local_transport = {
	.name = "local",
	.run = local_run,
	.run_input = local_input,
	.run_signal = local_signal,
	.run_abandon = local_abandon,
};
