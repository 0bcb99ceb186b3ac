/* SPDX-License-Identifier: MIT */
#include "backends/ssh/exec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/bounds.h"

#define OUTPUT_SIZE 65536u

enum step {
	STEP_QUEUED,
	STEP_STARTING,	/* the request is sent */
	STEP_FEEDING,	/* accepted; input and its end are being sent */
	STEP_RUNNING,
	STEP_STEPS
};

struct transport_run {
	TAILQ_ENTRY(transport_run) link;
	struct exec *exec;
	const struct transport_run_events *events;
	void *data;
	enum step step;
	LIBSSH2_CHANNEL *channel;	/* NULL while queued */
	struct text text;		/* as it was given; never NULL */
	struct text command;		/* as it is sent */
	bool by_input;			/* the text goes over standard input */
	size_t fed;			/* bytes of it that are sent */
	bool stop;
};

/*
 * The text's shell starts in the directory of files/ by a command of its own in front, on
 * the same line. That changes nothing in the text: the shell parses the text from a command's
 * start on either way, no quote or here-document is open, line numbers stay, and `exit` keeps
 * the text from running elsewhere when the directory is gone.
 */
static char *make_prefix(const char *directory)
{
	struct text prefix = { 0 };

	if (!directory || !*directory)
		return memory_string("");
	if (!strncmp(directory, "~/", 2))
		directory += 2;
	/* "./" keeps `cd` from taking a name for an option, or from looking it up in CDPATH. */
	text_printf(&prefix, "cd '%s", *directory == '/' ? "" : "./");
	for (const char *at = directory; *at; at++) {
		if (*at == '\'')
			text_append(&prefix, "'\\''", 4);
		else
			text_append(&prefix, at, 1);
	}
	text_printf(&prefix, "' || exit 255; ");
	return prefix.data;
}

/* Starts empty. */
void exec_init(struct exec *exec, struct session *session, struct channels *channels,
	const char *directory)
{
	*exec = (struct exec){ .session = session, .channels = channels };
	TAILQ_INIT(&exec->queued);
	TAILQ_INIT(&exec->active);
	exec->prefix = make_prefix(directory);
	exec->buffer = memory_new(OUTPUT_SIZE);
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
	text_done(&run->text);
	text_done(&run->command);
	free(run);
}

/* Tells the end and frees. */
static void run_end(struct transport_run *run, enum run_state state, int status)
{
	const struct transport_run_events *events = run->events;
	struct exec *exec = run->exec;
	void *data = run->data;

	if (run->channel && !exec->session->lost)
		channels_close(exec->channels, run->channel);
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
	free(exec->prefix);
	free(exec->buffer);
	exec->prefix = NULL;
	exec->buffer = NULL;
}

/* How many bytes of a command the server takes in a request: libssh2 sends no packet above 35,000
 * bytes, and Dropbear ends the connection at a string above 9,000. */
static size_t request_limit(struct session *session)
{
	const char *banner = libssh2_session_banner_get(session->ssh);

	return banner && strstr(banner, "OpenSSH") ? LIMIT_EXEC_OPENSSH : LIMIT_EXEC;
}

/*
 * Makes what is sent. A text that is too long for a request goes over standard input, to
 * the same shell with the same option as the server would use. The command then finds its
 * standard input at the end, as every other does. This needs a shell that knows "$(cat)".
 */
static void make_command(struct transport_run *run)
{
	run->command.size = 0;
	text_printf(&run->command, "%s", run->exec->prefix);
	run->by_input = run->command.size + run->text.size > request_limit(run->exec->session);
	if (run->by_input)
		text_printf(&run->command, "exec \"${SHELL:-/bin/sh}\" -c \"$(cat)\"");
	else
		text_append(&run->command, run->text.data, run->text.size);
}

/* Queues a command. */
struct transport_run *exec_add(struct exec *exec, const char *text, size_t size,
	const struct transport_run_events *events, void *data)
{
	struct transport_run *run = memory_new(sizeof(*run));

	run->exec = exec;
	run->events = events;
	run->data = data;
	text_append(&run->text, text, size);
	TAILQ_INSERT_TAIL(&exec->queued, run, link);
	session_wake(exec->session);
	return run;
}

/* Notes the wish. */
void exec_stop(struct transport_run *run)
{
	run->stop = true;
	session_wake(run->exec->session);
}

/* Sends TERM where libssh2 can (1.11); false when that has to wait. The command of a server that
 * does not take signals ends when it next writes, as its output is closed. */
static bool send_term(struct transport_run *run)
{
#if LIBSSH2_VERSION_NUM >= 0x010b00
	if (run->step == STEP_RUNNING || run->step == STEP_FEEDING)
		return session_result(run->exec->session,
			       libssh2_channel_signal_ex(run->channel, "TERM", 4)) != -EAGAIN;
#endif
	return true;
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

/* Asks the server to run it. */
static int step_starting(struct transport_run *run)
{
	struct session *session = run->exec->session;
	int result =
		session_result(session, libssh2_channel_process_startup(run->channel, "exec", 4,
						run->command.data, (unsigned)run->command.size));

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
	run->step = STEP_FEEDING;
	if (!session->muted)
		run->events->started(run->data);
	return 0;
}

/* Sends standard input and its end. A command that does not want its input is not an error. */
static int step_feeding(struct transport_run *run)
{
	struct session *session = run->exec->session;
	int result;

	while (run->by_input && run->fed < run->text.size) {
		if (wire_queued(session->wire) > LIMIT_OUTPUT)
			return -EAGAIN;
		result = session_result(session, libssh2_channel_write(run->channel,
			run->text.data + run->fed, run->text.size - run->fed));
		if (result == -EIO)
			break;
		if (result <= 0)
			return result ? result : -EAGAIN;
		run->fed += (size_t)result;
	}
	result = session_result(session, libssh2_channel_send_eof(run->channel));
	if (result == -EAGAIN || result == -ECONNRESET)
		return result;
	run->step = STEP_RUNNING;
	return 0;
}

/* Reads what one stream has. How much came, or a negative errno. */
static int read_stream(struct transport_run *run, int stream)
{
	struct exec *exec = run->exec;
	int result, total = 0;

	while ((result = session_result(exec->session, libssh2_channel_read_ex(run->channel, stream,
			(char *)exec->buffer, OUTPUT_SIZE))) > 0) {
		total += result;
		if (!exec->session->muted)
			run->events->output(run->data, stream ? SPOOL_STDERR : SPOOL_STDOUT,
				exec->buffer, (size_t)result);
	}
	return result == -ECONNRESET ? result : total;
}

/* Reads both streams. */
static int read_output(struct transport_run *run)
{
	int out = read_stream(run, 0);
	int err = out < 0 ? out : read_stream(run, SSH_EXTENDED_DATA_STDERR);

	return err < 0 ? err : out + err;
}

/* Tells how the command ended. */
static void tell_end(struct transport_run *run)
{
	LIBSSH2_SESSION *ssh = run->exec->session->ssh;
	char *name = NULL;
	int status = libssh2_channel_get_exit_status(run->channel);

	libssh2_channel_get_exit_signal(run->channel, &name, NULL, NULL, NULL, NULL, NULL);
	if (name) {
		int number = errors_signal(name);

		libssh2_free(ssh, name);
		run_end(run, RUN_SIGNALED, number ? 128 + number : 255);
		return;
	}
	/* Windows has statuses beyond 255; cut to a byte, some would be 0. */
	run_end(run, RUN_EXITED, status < 0 || status > 255 ? 255 : status);
}

/* Passes output on, until the server closed the channel: the status came before that. The end of
 * the output alone is not the end: a command may close it and work on. */
static int step_running(struct transport_run *run)
{
	int result = read_output(run);

	if (result || !libssh2_channel_eof(run->channel))
		return result;
	result = session_result(run->exec->session, libssh2_channel_wait_closed(run->channel));
	if (result < 0)
		return result;
	tell_end(run);
	return 1;
}

/* Moves one run on as far as it goes; true when it moved. */
static bool run_turn(struct transport_run *run)
{
	bool moved = false;

	if (run->stop) {
		if (run->channel && !send_term(run))
			return false;
		run_end(run, RUN_STOPPED, 255);
		return true;
	}
	if (run->step == STEP_STARTING) {
		if (step_starting(run))
			return false;
		moved = true;
	}
	if (run->step == STEP_FEEDING) {
		int result = step_feeding(run);

		/* Output may come before all input is taken. */
		if (result < 0)
			return result == -EAGAIN && read_output(run) > 0;
		moved = true;
	}
	return step_running(run) > 0 || moved;
}

/* Gives channels to queued runs, in order. */
static bool start_queued(struct exec *exec)
{
	struct transport_run *run;
	LIBSSH2_CHANNEL *channel;
	bool moved = false;

	while ((run = TAILQ_FIRST(&exec->queued)) && !exec->session->lost) {
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
		make_command(run);
		moved = true;
	}
	exec->channels->needed = TAILQ_FIRST(&exec->queued) != NULL;
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
