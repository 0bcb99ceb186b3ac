/* SPDX-License-Identifier: MIT */
#include "backends/ssh/exec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/bounds.h"
#include "backends/ssh/run.h"

/* The order of a command's stdout and stderr is kept while little input waits: it is then given to
 * libssh2 in portions smaller than a packet (36 bytes at least), and both streams are looked at
 * after each. For many commands or much output that would cost too much. */
#define PORTION_SMALL	32u
#define PORTION_LARGE	32768u
#define ORDERED_WAITING	4096u
#define ORDERED_RUNS	16u

/* Starts empty. */
void exec_init(struct exec *exec)
{
	TAILQ_INIT(&exec->queued);
	TAILQ_INIT(&exec->active);
	if (!exec->buffer)
		exec->buffer = memory_new(RUN_OUTPUT_ROOM);
}

/* The command is needed no more: it is accepted, or gone. */
static void drop_command(struct transport_run *run)
{
	text_done(&run->text);
	text_done(&run->environment);
	text_done(&run->sent.request);
	free(run->cwd);
	run->cwd = NULL;
}

/* Takes a run off its list and frees it; its channel, if any, is somebody else's by now. */
static void run_free(struct transport_run *run)
{
	struct exec *exec = run->exec;

	if (run->step == STEP_QUEUED) {
		TAILQ_REMOVE(&exec->queued, run, link);
	} else {
		TAILQ_REMOVE(&exec->active, run, link);
		exec->active_count--;
	}
	control_forget(exec->control, run);
	run_output_drop(run);
	drop_command(run);
	command_done(&run->sent);
	text_done(&run->in);
	free(run);
}

/* Gives the channel back. */
static void drop_channel(struct transport_run *run)
{
	if (run->channel && !run->exec->session->lost)
		channels_close(run->exec->channels, run->channel);
	run->channel = NULL;
}

/* Tells the end and frees. */
void run_end(struct transport_run *run, enum run_state state, int status)
{
	const struct transport_run_events *events = run->events;
	struct exec *exec = run->exec;
	void *data = run->data;

	exec_pass_output(exec);
	drop_channel(run);
	run_free(run);
	if (!exec->session->muted)
		events->ended(data, state, status);
}

/* Frees all. */
void exec_done(struct exec *exec)
{
	struct transport_run *run;

	while ((run = TAILQ_FIRST(&exec->queued)) || (run = TAILQ_FIRST(&exec->active)))
		run_free(run);
	free(exec->buffer);
	exec->buffer = NULL;
}

/* How many bytes of a command the server takes in a request: libssh2 sends no packet above 35,000
 * bytes, and Dropbear ends the connection at a string above 9,000. */
static size_t request_limit(struct session *session)
{
	const char *banner = libssh2_session_banner_get(session->ssh);

	return banner && strstr(banner, "OpenSSH") ? LIMIT_EXEC_OPENSSH : LIMIT_EXEC;
}

/* Makes what is sent. -EINVAL: this login's shell cannot have such a command. */
static int make_command(struct transport_run *run)
{
	struct exec *exec = run->exec;
	struct transport_command command = { .text = run->text.data, .size = run->text.size,
		.environment = run->environment.data, .environment_size = run->environment.size,
		.cwd = run->cwd, .columns = run->columns, .rows = run->rows, .input = run->input };
	struct command_shape shape = { .directory = exec->directory,
		.limit = request_limit(exec->session) };

	run->marked = exec->control->posix;
	if (!run->marked && (run->environment.size || run->cwd)) {
		session_log(exec->session, "a run is refused: for an environment or a directory of its "
			"own, the login's shell must be one of POSIX's kind");
		return -EINVAL;
	}
	if (run->marked) {
		marker_init(&run->marker);
		shape.token = run->marker.token;
		shape.mark = exec->control->mark;
	}
	command_done(&run->sent);
	command_make(&shape, &command, &run->sent);
	run->step = run->columns ? STEP_TERMINAL : STEP_STARTING;
	return 0;
}

/* Queues a command. */
struct transport_run *exec_add(struct exec *exec, const struct transport_command *command,
	const struct transport_run_events *events, void *data)
{
	struct transport_run *run = memory_new(sizeof(*run));

	run->exec = exec;
	run->events = events;
	run->data = data;
	text_append(&run->text, command->text, command->size);
	if (command->environment_size)
		text_append(&run->environment, command->environment, command->environment_size);
	if (command->cwd && *command->cwd)
		run->cwd = memory_string(command->cwd);
	if (command->columns && command->rows) {
		run->columns = command->columns;
		run->rows = command->rows;
	}
	run->input = command->input;
	run->eof = !command->input;
	TAILQ_INSERT_TAIL(&exec->queued, run, link);
	session_wake(exec->session);
	return run;
}

/* Notes the wish. */
void exec_abandon(struct transport_run *run)
{
	run->stop = true;
	session_wake(run->exec->session);
}

/* Looks again. */
void exec_more(struct transport_run *run)
{
	session_wake(run->exec->session);
}

/* Notes the size. */
void exec_resize(struct transport_run *run, unsigned columns, unsigned rows)
{
	if (!run->columns || !columns || !rows)
		return;
	run->columns = columns;
	run->rows = rows;
	run->resize = run->step > STEP_TERMINAL;
	session_wake(run->exec->session);
}

/* A command that the server did not accept never ran; it gets another channel. */
static int start_again(struct transport_run *run)
{
	struct exec *exec = run->exec;

	channels_close(exec->channels, run->channel);
	TAILQ_REMOVE(&exec->active, run, link);
	exec->active_count--;
	run->channel = NULL;
	run->step = STEP_QUEUED;
	TAILQ_INSERT_HEAD(&exec->queued, run, link);
	return -EAGAIN;
}

/* Asks the server for a terminal. */
static int step_terminal(struct transport_run *run)
{
	struct session *session = run->exec->session;
	int result = session_result(session, libssh2_channel_request_pty_ex(run->channel, "xterm", 5,
		NULL, 0, (int)run->columns, (int)run->rows, 0, 0));

	if (result == -EAGAIN && libssh2_channel_eof(run->channel))
		return start_again(run);
	if (result == -EIO) {
		session_log(session, "the server refused a terminal for a command");
		run_end(run, RUN_LOST, 255);
	}
	if (result >= 0)
		run->step = STEP_STARTING;
	return result < 0 ? result : 0;
}

/* Asks the server to run it. */
static int step_starting(struct transport_run *run)
{
	struct session *session = run->exec->session;
	int result = session_result(session, libssh2_channel_process_startup(run->channel, "exec", 4,
		run->sent.request.data, (unsigned)run->sent.request.size));

	/* A channel that was open ahead may have been closed for idling. */
	if (result == -EAGAIN && libssh2_channel_eof(run->channel))
		return start_again(run);
	if (result == -EIO) {
		session_log(session, "the server refused to run a command");
		run_end(run, RUN_LOST, 255);
		return -EIO;
	}
	if (result < 0)
		return result;
	run->step = STEP_RUNNING;
	drop_command(run);
	if (!session->muted)
		run->events->started(run->data);
	return 0;
}

/* How the command ended. */
static void take_end(struct transport_run *run)
{
	LIBSSH2_SESSION *ssh = run->exec->session->ssh;
	char *name = NULL;
	int status = libssh2_channel_get_exit_status(run->channel);

	libssh2_channel_get_exit_signal(run->channel, &name, NULL, NULL, NULL, NULL, NULL);
	if (name) {
		int number = errors_signal(name);

		libssh2_free(ssh, name);
		run->state = RUN_SIGNALED;
		run->status = number ? 128 + number : 255;
		return;
	}
	run->state = RUN_EXITED;
	/* Windows has statuses beyond 255; cut to a byte, some would be 0. */
	run->status = status < 0 || status > 255 ? 255 : status;
}

/* The channel has closed: the end, or the wait for what the command left behind. */
static void finish(struct transport_run *run)
{
	take_end(run);
	run_output_end(run);
	if (!run->await_all || !run->marked || !control_works(run->exec->control)) {
		run_end(run, run->state, run->status);
		return;
	}
	drop_channel(run);
	run->step = STEP_LEFT;
	run->asked = 0;
	control_forget(run->exec->control, run);
	run_ask_left(run);
}

/* Passes output on, until the server closed the channel: the status came before that. The end of
 * the output alone is not the end: a command may close it and work on. */
static int step_running(struct transport_run *run)
{
	int result = run_output_read(run);

	if (result || !libssh2_channel_eof(run->channel))
		return result;
	result = session_result(run->exec->session, libssh2_channel_wait_closed(run->channel));
	if (result < 0)
		return result;
	finish(run);
	return 1;
}

/* Tells the terminal's size. */
static void send_size(struct transport_run *run)
{
	int result = session_result(run->exec->session, libssh2_channel_request_pty_size_ex(
		run->channel, (int)run->columns, (int)run->rows, 0, 0));

	run->resize = result == -EAGAIN;
}

/* Ends an abandoned run. */
static bool step_stop(struct transport_run *run)
{
	if (run->step >= STEP_STARTING) {
		run_kill_left(run);
		run->exec->channels->cut |= run->channel != NULL;
	}
	run_end(run, RUN_STOPPED, 255);
	return true;
}

/* Moves one run on as far as it goes; true when it moved. */
static bool run_turn(struct transport_run *run)
{
	bool moved = false;

	if (run->stop)
		return step_stop(run);
	if (run->step == STEP_LEFT)
		return false;
	if (run->step == STEP_TERMINAL) {
		if (step_terminal(run))
			return false;
		moved = true;
	}
	if (run->step == STEP_STARTING) {
		if (step_starting(run))
			return false;
		moved = true;
	}
	if (run->resize)
		send_size(run);
	if (run_feed(run, &moved) < 0)
		return moved;
	return step_running(run) > 0 || moved;
}

/* Gives channels to queued runs, in order. */
static bool start_queued(struct exec *exec)
{
	struct transport_run *run;
	LIBSSH2_CHANNEL *channel;
	bool moved = false;

	while (!exec->aside && (run = TAILQ_FIRST(&exec->queued)) && !exec->session->lost) {
		exec->channels->needed = true;
		if (!exec->channels->spare)
			channels_turn(exec->channels);
		channel = channels_take(exec->channels);
		if (!channel)
			break;
		TAILQ_REMOVE(&exec->queued, run, link);
		TAILQ_INSERT_TAIL(&exec->active, run, link);
		exec->active_count++;
		run->channel = channel;
		run->step = STEP_STARTING;
		if (make_command(run))
			run_end(run, RUN_LOST, 255);
		moved = true;
	}
	exec->channels->needed = !exec->aside && TAILQ_FIRST(&exec->queued);
	return moved;
}

/* Ends the runs that were stopped before they had a channel. */
static void end_stopped(struct exec *exec)
{
	struct transport_run *run, *next;

	for (run = TAILQ_FIRST(&exec->queued); run; run = next) {
		next = TAILQ_NEXT(run, link);
		if (run->stop)
			run_end(run, RUN_STOPPED, 255);
	}
}

/* Moves all runs on. A callback may add runs (at a list's end) and stop others (only noted), so the
 * next one stays valid. */
bool exec_turn(struct exec *exec)
{
	struct transport_run *run, *next;
	bool moved;

	end_stopped(exec);
	moved = start_queued(exec);
	for (run = TAILQ_FIRST(&exec->active); run && !exec->session->lost; run = next) {
		next = TAILQ_NEXT(run, link);
		moved |= run_turn(run);
	}
	return moved;
}

/* Counts. */
unsigned exec_queued(const struct exec *exec, unsigned limit)
{
	const struct transport_run *run;
	unsigned count = 0;

	TAILQ_FOREACH(run, &exec->queued, link)
		if (count++ == limit)
			return limit;
	return count;
}

/* Moves the first one. */
void exec_give(struct exec *exec, struct exec *to)
{
	struct transport_run *run = TAILQ_FIRST(&exec->queued);

	TAILQ_REMOVE(&exec->queued, run, link);
	TAILQ_INSERT_TAIL(&to->queued, run, link);
	run->exec = to;
}

/* Moves what this connection is not needed for. */
void exec_return(struct exec *exec, struct exec *to)
{
	struct transport_run *run, *next;

	while ((run = TAILQ_LAST(&exec->queued, exec_list))) {
		TAILQ_REMOVE(&exec->queued, run, link);
		TAILQ_INSERT_HEAD(&to->queued, run, link);
		run->exec = to;
	}
	for (run = TAILQ_FIRST(&exec->active); run; run = next) {
		next = TAILQ_NEXT(run, link);
		if (run->step != STEP_LEFT)
			continue;
		TAILQ_REMOVE(&exec->active, run, link);
		exec->active_count--;
		TAILQ_INSERT_TAIL(&to->active, run, link);
		to->active_count++;
		run->exec = to;
	}
}

/* Ends all that there are; not those that a callback adds meanwhile. */
void exec_lose(struct exec *exec)
{
	struct transport_run *run;
	unsigned count = exec->active_count;

	TAILQ_FOREACH(run, &exec->queued, link)
		count++;
	for (; count; count--) {
		run = TAILQ_FIRST(&exec->active);
		if (!run)
			run = TAILQ_FIRST(&exec->queued);
		run_end(run, run->stop ? RUN_STOPPED : RUN_LOST, 255);
	}
}

/* Asks again. */
void exec_clock(struct exec *exec)
{
	struct transport_run *run;

	TAILQ_FOREACH(run, &exec->active, link)
		if (run->step == STEP_LEFT)
			run_ask_left(run);
}

/* How much input the next round may take. */
size_t exec_portion(const struct exec *exec, size_t waiting)
{
	if (!exec->active_count)
		return SIZE_MAX;
	if (exec->active_count <= ORDERED_RUNS && waiting <= ORDERED_WAITING)
		return PORTION_SMALL;
	return PORTION_LARGE;
}
