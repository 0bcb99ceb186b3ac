/* SPDX-License-Identifier: MIT */
/*
 * The output of commands. What libssh2 has of it is at most one portion (see exec.c); a consumer who has
 * a file to write does better with more at a time. So what comes of one command's stdout is
 * gathered in the buffer of all, as long as nothing else comes, and passed on when a turn is
 * over.
 */
#include <errno.h>

#include "backends/ssh/bounds.h"
#include "backends/ssh/run.h"

#define OUTPUT_SMALL 4096u
/* So much is gathered, and not much more. */
#define OUTPUT_GATHERED LIMIT_INPUT
/* libssh2 opens a channel's window when less than this is left of it besides what is asked for. */
#define WINDOW_LOW   (WINDOW_FIRST / 4 * 3)

/* Passes standard output on. */
static void pass_output(void *data, const char *bytes, size_t size)
{
	struct transport_run *run = data;

	if (!run->exec->session->muted)
		run->events->output(run->data, SPOOL_STDOUT, bytes, size);
}

/* Passes on what was gathered. */
void exec_pass_output(struct exec *exec)
{
	struct transport_run *run = exec->gathering;
	size_t size = exec->gathered;

	exec->gathering = NULL;
	exec->gathered = 0;
	if (run)
		pass_output(run, (const char *)exec->buffer, size);
}

/* Drops it. */
void run_output_drop(struct transport_run *run)
{
	if (run->exec->gathering == run) {
		run->exec->gathering = NULL;
		run->exec->gathered = 0;
	}
}

/* Takes a piece of output that may not wait. */
static void take_output(struct transport_run *run, int stream, const char *bytes, size_t size)
{
	if (stream) {
		if (!run->exec->session->muted)
			run->events->output(run->data, SPOOL_STDERR, bytes, size);
		return;
	}
	if (!run->marked || run->marker.done) {
		pass_output(run, bytes, size);
		return;
	}
	marker_feed(&run->marker, bytes, size, pass_output, run);
	if (run->marker.done)
		run_signal_marked(run);
}

/* Takes what was read behind what is gathered: adds it to that, or passes both on. */
static void gather(struct transport_run *run, int stream, size_t size)
{
	struct exec *exec = run->exec;
	const char *bytes = (const char *)exec->buffer + exec->gathered;
	bool first = !exec->gathering, waits = !stream && (!run->marked || run->marker.done);

	if (waits && (first || exec->gathering == run)) {
		exec->gathering = run;
		exec->gathered += size;
	} else {
		exec_pass_output(exec);
		take_output(run, stream, bytes, size);
	}
	if (exec->gathered >= OUTPUT_GATHERED)
		exec_pass_output(exec);
}

/* How much output may be taken now. */
static size_t output_room(const struct transport_run *run)
{
	size_t room = run->events->room ? run->events->room(run->data) : SIZE_MAX;
	size_t held = run->exec->gathering == run ? run->exec->gathered : 0;

	if (run->marked && !run->marker.done) /* it may hold back so much, and give it later */
		held += MARKER_LINE;
	room = room > held ? room - held : 0;
	return room < RUN_OUTPUT_ROOM ? room : RUN_OUTPUT_ROOM;
}

/*
 * Lets the command send as much as there is room for, and WINDOW_FIRST, when less than half of that
 * is left. libssh2 would open the window by itself, to WINDOW_FIRST more than a reader asks for, if he
 * asked for more than the window has less WINDOW_LOW: nobody does. Small output needs no more than
 * the window that there is at first.
 */
static int open_window(struct transport_run *run, size_t room)
{
	size_t window = libssh2_channel_window_read(run->channel);
	bool low = window < WINDOW_LOW + OUTPUT_SMALL;

	if (!run->opening && room && (low || (window > WINDOW_FIRST && window < room / 2)))
		run->opening = WINDOW_FIRST + room - window;
	if (!run->opening)
		return 0;
	int result = session_result(run->exec->session,
		libssh2_channel_receive_window_adjust2(run->channel, run->opening, 1, NULL));
	if (result >= 0)
		run->opening = 0;
	return result;
}

/* How much is asked for at once: 0 when there is no room, or the window is not open yet. */
static size_t read_size(struct transport_run *run)
{
	size_t room = output_room(run);

	open_window(run, room);
	size_t window = libssh2_channel_window_read(run->channel);
	size_t silent = window > WINDOW_LOW ? window - WINDOW_LOW : 0;
	if (room > RUN_OUTPUT_ROOM - run->exec->gathered)
		room = RUN_OUTPUT_ROOM - run->exec->gathered;
	return room < silent ? room : silent;
}

/* Reads what one stream has. How much came, or a negative errno. */
static int read_stream(struct transport_run *run, int stream)
{
	struct exec *exec = run->exec;
	int result = 0, total = 0;
	size_t size;

	while (!exec->session->muted && (size = read_size(run)) > 0) {
		result = session_result(exec->session, libssh2_channel_read_ex(run->channel, stream,
			(char *)exec->buffer + exec->gathered, size));
		if (result <= 0)
			break;
		total += result;
		gather(run, stream, (size_t)result);
	}
	return result == -ECONNRESET ? result : total;
}

/* Reads both streams. */
int run_output_read(struct transport_run *run)
{
	int out = read_stream(run, 0);
	int err = out < 0 ? out : read_stream(run, SSH_EXTENDED_DATA_STDERR);

	return err < 0 ? err : out + err;
}

/* No more comes. */
void run_output_end(struct transport_run *run)
{
	exec_pass_output(run->exec);
	marker_end(&run->marker, pass_output, run);
}
