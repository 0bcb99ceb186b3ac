/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <uv.h>

#include "backends/agent/task.h"

#define PIECE 65536u
/* What a pipe or a terminal can hold at most when nobody writes any more, in pieces. */
#define DRAIN_PIECES 32

/* Takes one piece of output: false when there is none now. The end closes the stream; a terminal
 * tells it as EIO, when nothing has it open any more. */
static bool take_piece(struct transport_run *run, struct watch **stream, enum spool_kind kind)
{
	size_t room = run->events->room ? run->events->room(run->data) : SIZE_MAX;
	char piece[PIECE];

	run->full = room == 0;
	if (run->full)
		return false;
	ssize_t size = read(watch_fd(*stream), piece, room < PIECE ? room : PIECE);

	if (size > 0) {
		run->events->output(run->data, kind, piece, (size_t)size);
		return true;
	}
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	watch_free(*stream);
	*stream = NULL;
	run->tasks->wake(run->tasks->data);
	return false;
}

/* What is waited for on the streams that carry output, and on a terminal input too. */
static void watch_output(struct transport_run *run)
{
	bool more = run->columns && run->fed < run->input.size;
	int readable = run->full ? 0 : UV_READABLE;

	if (run->out)
		watch_for(run->out, readable | (more ? UV_WRITABLE : 0));
	if (run->err)
		watch_for(run->err, readable);
}

/* Looks again. */
void tasks_more(struct transport_run *run)
{
	if (!run->full)
		return;
	run->full = false;
	watch_output(run);
	run->tasks->wake(run->tasks->data);
}

/* Standard output, or the terminal. */
static void out_ready(void *data)
{
	struct transport_run *run = data;

	if (!run->full)
		take_piece(run, &run->out, SPOOL_STDOUT);
	if (run->columns)
		task_feed(run);
	watch_output(run);
}

/* Standard error. */
static void err_ready(void *data)
{
	struct transport_run *run = data;

	take_piece(run, &run->err, SPOOL_STDERR);
	watch_output(run);
}

/* There is room for input, or nobody reads it any more. */
static void in_ready(void *data)
{
	task_feed(data);
}

/* Makes one pipe: theirs for the command, ours watched. */
static int make_pipe(struct transport_run *run, bool input, void (*ready)(void *data),
	struct watch **ours, int *theirs)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*theirs = ends[!input];
	*ours = watch_new(run->tasks->loop, ends[input], ready, run);
	return *ours ? 0 : -EIO;
}

/* Makes all three. */
int task_make_pipes(struct transport_run *run, int fds[3])
{
	int result = 0;

	if (run->wants_input)
		result = make_pipe(run, true, in_ready, &run->in, &fds[0]);
	else if ((fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		result = -errno;
	if (!result)
		result = make_pipe(run, false, out_ready, &run->out, &fds[1]);
	if (!result)
		result = make_pipe(run, false, err_ready, &run->err, &fds[2]);
	if (!result)
		watch_output(run);
	return result;
}

/* Takes the terminal. */
void task_take_terminal(struct transport_run *run, int fd)
{
	if (run->out || !run->columns || !talk_terminal(fd))
		return;
	run->out = watch_new(run->tasks->loop, fd, out_ready, run);
	task_size(run);
	if (run->out)
		watch_output(run);
}

/* Sets the size. */
void task_size(struct transport_run *run)
{
	struct winsize size = { .ws_col = (unsigned short)run->columns,
		.ws_row = (unsigned short)run->rows };

	if (run->out && run->columns)
		ioctl(watch_fd(run->out), TIOCSWINSZ, &size);
}

/* Where input goes; NULL when nobody takes it. */
static struct watch *input_stream(const struct transport_run *run)
{
	return run->columns ? run->out : run->in;
}

/* Writes what can be written now. Input that nobody reads is not an error. */
static void write_input(struct transport_run *run)
{
	struct watch *stream = input_stream(run);

	while (run->fed < run->input.size) {
		ssize_t size = -1;

		if (stream) {
			size = write(watch_fd(stream), run->input.data + run->fed,
				run->input.size - run->fed);
			if (size < 0 && (errno == EAGAIN || errno == EINTR))
				return;
		}
		run->fed = size < 0 ? run->input.size : run->fed + (size_t)size;
		if (size < 0 && !run->columns) {
			watch_free(run->in);
			run->in = stream = NULL;
		}
	}
}

/* Input, then its end. With a terminal that is ^D, which whoever writes may send. */
void task_feed(struct transport_run *run)
{
	if (run->step < STEP_SENT || (run->columns && run->step < STEP_RUNNING))
		return;
	write_input(run);
	if (run->fed == run->input.size) {
		text_done(&run->input);
		run->fed = 0;
	}
	if (run->eof && run->input.size == 0 && run->in) {
		watch_free(run->in);
		run->in = NULL;
	}
	if (run->in)
		watch_for(run->in, run->input.size ? UV_WRITABLE : 0);
	if (run->columns)
		watch_output(run);
	if (run->drain && run->input.size - run->fed <= RUN_INPUT_KEPT / 2) {
		run->drain = false;
		run->events->drained(run->data);
	}
}

/* Takes the rest. */
bool task_drain(struct transport_run *run)
{
	for (int i = 0; run->out && i < DRAIN_PIECES; i++)
		if (!take_piece(run, &run->out, SPOOL_STDOUT))
			break;
	for (int i = 0; run->err && i < DRAIN_PIECES; i++)
		if (!take_piece(run, &run->err, SPOOL_STDERR))
			break;
	return !run->full;
}

/* Closes. */
void task_close(struct transport_run *run)
{
	watch_free(run->in);
	watch_free(run->out);
	watch_free(run->err);
	run->in = run->out = run->err = NULL;
}

/* Keeps what there is room for. */
size_t tasks_input(struct transport_run *run, const void *bytes, size_t size)
{
	size_t waiting = run->input.size - run->fed;
	size_t room = waiting < RUN_INPUT_KEPT ? RUN_INPUT_KEPT - waiting : 0;

	if (!run->wants_input || run->eof)
		return 0;
	run->drain |= size > room;
	size = size < room ? size : room;
	if (run->fed) {
		text_consume(&run->input, run->fed);
		run->fed = 0;
	}
	text_append(&run->input, bytes, size);
	run->tasks->wake(run->tasks->data);
	return size;
}

/* Notes the end. */
void tasks_eof(struct transport_run *run)
{
	run->eof = true;
	run->tasks->wake(run->tasks->data);
}
