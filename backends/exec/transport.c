/* SPDX-License-Identifier: MIT */
/*
 * The transport "programs": the key run is a program that runs a command in the machine. Its text
 * is the program's last argument; streams, end and signals are those of the program, which is a
 * run of an agent on this host (agent/). Up is: the agent has answered, and a first command,
 * `true`, has ended well. Files are carried by commands too (shellfiles/).
 *
 * A command's text is preceded, on its first line, by `cd` and `export` with ";" behind: not by
 * variables of the program, which would let who may run commands in the machine change what the
 * program does on the host. What is then too long for an argument goes over standard input: dd takes
 * exactly its part of that, byte by byte, and leaves the rest to the command. "." keeps "$(...)" from
 * removing newlines at the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backends/agent/tasks.h"
#include "backends/base/memory.h"
#include "backends/base/shell.h"
#include "backends/exec/carry.h"
#include "backends/exec/limits.h"
#include "backends/exec/programs.h"
#include "backends/protocol/protocol.h"
#include "backends/shellfiles/shellfiles.h"
#include "backends/transport.h"

enum state { STATE_DOWN, STATE_CONNECTING, STATE_PROBING, STATE_UP };

struct transport {
	const struct transport_events *events;
	void *data;
	const struct poolfs_values *values;
	struct transport *agent;
	bool agent_up;
	enum state state;
	struct shellfiles *files;
	struct carry *carry;		/* before them; NULL: neither push nor pull is set */
	struct transport_run *probe;	/* the first command */
	struct text printed;		/* the end of what it printed on standard error */
	uv_timer_t timer;		/* of STATE_PROBING: its limit */
	char reason[LIMITS_TAIL + 160];	/* why it was not up, the last time; "" */
};

/* ---- Commands ----------------------------------------------------------------- */

/* What the shell in the machine gets. */
static void make_script(const struct transport *transport, const struct transport_command *command,
	struct text *script)
{
	shell_cd(script, poolfs_string(transport->values, "files"));
	shell_cd(script, command->cwd);
	shell_export(script, command->environment, command->environment_size);
	text_append(script, command->text, command->size);
}

/* What the shell gets instead: it reads the script. */
static char *make_loader(const struct text *script)
{
	return memory_format("poolfs=$(dd ibs=1 obs=65536 count=%zu 2>/dev/null && echo .) || exit 255; "
		"eval \"unset poolfs; ${poolfs%%.}\"", script->size);
}

/* .run */
static struct transport_run *programs_run(struct transport *transport,
	const struct transport_command *command, const struct transport_run_events *events, void *data)
{
	struct transport_command run = *command;
	struct text script = { 0 }, text = { 0 }, environment = { 0 };
	struct transport_run *handle = NULL;

	make_script(transport, command, &script);
	for (const char *const *word = poolfs_words(transport->values, "run"); *word; word++)
		text_append(&text, *word, strlen(*word) + 1);
	bool longer = script.size > PROTOCOL_COMMAND_MAX;
	char *argument = longer ? make_loader(&script) : memory_string(script.data);
	text_append(&text, argument, strlen(argument) + 1);
	free(argument);
	run.first = script.data;
	run.first_size = longer ? script.size : 0;
	text_printf(&environment, "POOLFS_PROGRAM=run\n%s", command->columns ? "TERM=xterm\n" : "");
	run.text = text.data;
	run.size = text.size;
	run.environment = environment.data;
	run.environment_size = environment.size;
	run.cwd = NULL;
	if (longer && command->columns)
		transport->events->log(transport->data, "a command is longer, with its environment and "
			"directory, than one argument of a program may be, and has a terminal: it is not run");
	else
		handle = agent_transport.run(transport->agent, &run, events, data);
	text_done(&script);
	text_done(&text);
	text_done(&environment);
	return handle;
}

/* ---- The first command -------------------------------------------------------- */

/* The machine cannot be used, or not yet. */
static void not_up(struct transport *transport, const char *reason)
{
	transport->state = STATE_DOWN;
	uv_timer_stop(&transport->timer);
	/* It is tried again and again: said once. */
	if (strncmp(reason, transport->reason, sizeof(transport->reason) - 1) != 0)
		transport->events->log(transport->data, reason);
	snprintf(transport->reason, sizeof(transport->reason), "%s", reason);
	transport->events->down(transport->data, false, transport->reason);
}

/* What the first command printed. */
static void probe_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	struct transport *transport = data;

	if (kind != SPOOL_STDERR)
		return;
	text_append(&transport->printed, bytes, size);
	if (transport->printed.size > LIMITS_TAIL)
		text_consume(&transport->printed, transport->printed.size - LIMITS_TAIL);
}

/* It ended. */
static void probe_ended(void *data, enum run_state state, int status)
{
	struct transport *transport = data;
	char reason[sizeof(transport->reason)];

	transport->probe = NULL;
	if (transport->state != STATE_PROBING || state == RUN_LOST)
		return;
	if (state == RUN_EXITED && status == 0) {
		uv_timer_stop(&transport->timer);
		transport->state = STATE_UP;
		shellfiles_begin(transport->files);
		transport->events->up(transport->data);
		return;
	}
	const char *line = program_last_line(&transport->printed);
	if (state == RUN_STOPPED)
		snprintf(reason, sizeof(reason), "the first command, true, did not end within %u s",
			LIMITS_PROBE_MS / 1000);
	else
		snprintf(reason, sizeof(reason), "the first command, true, ended with status %d%s%s",
			status, *line ? ": " : "", line);
	not_up(transport, reason);
}

/* It runs; it has no input. */
static void probe_nothing(void *data)
{
}

static const struct transport_run_events probe_events = {
	.started = probe_nothing,
	.output = probe_output,
	.drained = probe_nothing,
	.ended = probe_ended,
};

/* It takes too long. */
static void probe_late(uv_timer_t *timer)
{
	struct transport *transport = timer->data;

	if (transport->probe)
		agent_transport.run_abandon(transport->probe);
}

/* Runs the first command. */
static void probe(struct transport *transport)
{
	struct transport_command command = { .text = "true", .size = strlen("true") };

	transport->state = STATE_PROBING;
	text_done(&transport->printed);
	uv_timer_start(&transport->timer, probe_late, LIMITS_PROBE_MS, 0);
	transport->probe = programs_run(transport, &command, &probe_events, transport);
	if (!transport->probe)
		not_up(transport, "the first command, true, could not be begun");
}

/* Ends the requests. */
static void lose_files(struct transport *transport)
{
	if (transport->carry)
		carry_lose(transport->carry, -EHOSTDOWN);
	else
		shellfiles_lose(transport->files, -EHOSTDOWN);
}

/* ---- The agent ---------------------------------------------------------------- */

/* The agent answered. */
static void agent_is_up(void *data)
{
	struct transport *transport = data;

	transport->agent_up = true;
	if (transport->state == STATE_CONNECTING)
		probe(transport);
}

/* It is gone, and does not come back. */
static void agent_is_down(void *data, bool fatal, const char *reason)
{
	struct transport *transport = data;

	transport->agent_up = false;
	lose_files(transport);
	if (transport->state == STATE_DOWN)
		return;
	transport->state = STATE_DOWN;
	uv_timer_stop(&transport->timer);
	transport->events->down(transport->data, true, "the process that keeps the runs has gone");
}

/* A message. */
static void agent_says(void *data, const char *message)
{
	struct transport *transport = data;

	transport->events->log(transport->data, message);
}

/* What carries files. */
static const char *carried_by(const struct transport *transport, const char *value)
{
	bool push = poolfs_has(transport->values, "push"), pull = poolfs_has(transport->values, "pull");

	if (!push && !pull)
		return value;
	return push && pull ? "shell, push and pull" : push ? "shell and push" : "shell and pull";
}

/* A line of the status. */
static void agent_shows(void *data, const char *key, const char *value)
{
	struct transport *transport = data;

	if (strcmp(key, "files_by") == 0)
		value = carried_by(transport, value);
	transport->events->status(transport->data, key, value);
}

static const struct shellfiles_events files_events = { .log = agent_says, .status = agent_shows };

static const struct transport_events agent_events = {
	.up = agent_is_up,
	.down = agent_is_down,
	.log = agent_says,
	.status = agent_shows,
};

/* ---- The table ---------------------------------------------------------------- */

/* .connect */
static void programs_connect(struct transport *transport, const struct poolfs_address *address)
{
	transport->state = STATE_CONNECTING;
	if (transport->agent_up)
		probe(transport);
	else
		agent_transport.connect(transport->agent, address);
}

/* .disconnect */
static void programs_disconnect(struct transport *transport)
{
	transport->state = STATE_DOWN;
	transport->agent_up = false;
	uv_timer_stop(&transport->timer);
	lose_files(transport);
	agent_transport.disconnect(transport->agent);
}

/* .new */
static int programs_make(struct uv_loop_s *loop, const struct poolfs_values *values,
	const struct transport_events *events, void *data, struct transport **out,
	struct poolfs_err *err)
{
	struct transport *transport = memory_new(sizeof(*transport));
	int result = agent_transport.new(loop, values, &agent_events, transport, &transport->agent, err);

	if (result < 0) {
		free(transport);
		return result;
	}
	transport->events = events;
	transport->data = data;
	transport->values = values;
	transport->files = shellfiles_new(loop, &programs_transport, transport, &files_events, transport);
	if (poolfs_has(values, "push") || poolfs_has(values, "pull"))
		transport->carry = carry_new(loop, values, transport->agent, transport->files, agent_says,
			transport);
	uv_timer_init(loop, &transport->timer);
	transport->timer.data = transport;
	*out = transport;
	return 0;
}

/* libuv is done with the timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* .free */
static void programs_free_all(struct transport *transport)
{
	if (!transport)
		return;
	carry_free(transport->carry);
	shellfiles_free(transport->files);
	agent_transport.free(transport->agent);
	text_done(&transport->printed);
	uv_close((uv_handle_t *)&transport->timer, timer_closed);
}

/* .file */
static void programs_file(struct transport *transport, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	if (transport->carry)
		carry_add(transport->carry, key, call, done, data);
	else
		shellfiles_add(transport->files, key, call, done, data);
}

/* .file_cancel */
static void programs_file_cancel(struct transport *transport, uint64_t key)
{
	if (transport->carry)
		carry_cancel(transport->carry, key);
	else
		shellfiles_cancel(transport->files, key);
}

const struct transport_ops programs_transport = {
	.name = "programs",
	.new = programs_make,
	.free = programs_free_all,
	.connect = programs_connect,
	.disconnect = programs_disconnect,
	.run = programs_run,
	.run_input = tasks_input,
	.run_eof = tasks_eof,
	.run_more = tasks_more,
	.run_signal = tasks_signal,
	.run_await_all = tasks_await_all,
	.run_resize = tasks_resize,
	.run_abandon = tasks_abandon,
	.file = programs_file,
	.file_cancel = programs_file_cancel,
};
