/* SPDX-License-Identifier: MIT */
/*
 * How a machine that is made of programs begins:
 *
 *	poolfs-programs -> create -> wait and console, which go on -> address, or, for run, a second
 *	poolfs-programs, which the transport gets
 */
#include "backends/exec/exec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/shell.h"
#include "backends/exec/answers.h"
#include "backends/exec/host.h"
#include "backends/exec/limits.h"
#include "backends/exec/parts.h"
#include "backends/exec/programs.h"
#include "backends/process/child.h"
#include "backends/remote/tap.h"

/* ---- The start ---------------------------------------------------------------- */

/* The start is over. */
static void finish_start(struct exec *exec, int result, const char *reason)
{
	struct poolfs_op *op = exec->start;

	exec->start = NULL;
	if (op)
		poolfs_op_done(op, result, "%s", reason);
}

/* A status line of create. */
static void on_line(void *data, const char *key, const char *value)
{
	struct exec *exec = data;

	poolfs_machine_status(exec->machine, key, "%s", value);
}

/* Another one. */
static void on_other_line(void *data, const char *line)
{
	struct exec *exec = data;

	poolfs_machine_log(exec->machine, "create: %s", line);
}

/* create printed something. */
static void on_create_output(void *data, const void *bytes, size_t size)
{
	struct exec *exec = data;

	if (!answers_lines_feed(&exec->lines, bytes, size, on_line, on_other_line, exec))
		poolfs_machine_log(exec->machine, "create printed more than %u bytes: the rest is left out",
			LIMITS_STATUS);
}

/* address printed something. */
static void on_address_output(void *data, const void *bytes, size_t size)
{
	struct exec *exec = data;
	size_t room = LIMITS_ADDRESS + 1 - exec->answer.size;

	text_append(&exec->answer, bytes, size < room ? size : room);
}

static void ask_address(struct exec *exec);

/* Time to ask again. */
static void on_again(uv_timer_t *timer)
{
	struct exec *exec = timer->data;

	if (exec->start)
		ask_address(exec);
}

/* address failed: it may be that the machine has none yet. */
static void ask_again(struct exec *exec, const char *text)
{
	if (strncmp(text, exec->trouble, sizeof(exec->trouble) - 1) != 0)
		poolfs_machine_log(exec->machine, "%s; it is asked again", text);
	snprintf(exec->trouble, sizeof(exec->trouble), "%s", text);
	uv_timer_start(exec->again, on_again, LIMITS_ADDRESS_MS, 0);
}

/* address ended. That there is no such program does not change with time. */
static void on_address_ended(void *data, int status, const char *text)
{
	struct exec *exec = data;
	struct poolfs_err err = { "" };

	exec->current = NULL;
	if (!exec->start) {
		ending_step(exec);
	} else if (status == 126 || status == 127) {
		finish_start(exec, -EIO, text);
	} else if (status != 0) {
		ask_again(exec, text);
	} else if (answers_address(exec->answer.data ? exec->answer.data : "", exec->answer.size,
			   &exec->target, &err) < 0) {
		finish_start(exec, -EPROTO, err.text);
	} else {
		if (!exec->target.port)
			exec->target.port = (uint16_t)poolfs_number(exec->values, "ssh_port");
		poolfs_machine_status(exec->machine, "address",
			strchr(exec->target.host, ':') ? "[%s]:%u" : "%s:%u", exec->target.host,
			exec->target.port);
		finish_start(exec, 0, "");
	}
}

/* Asks where the machine is. */
static void ask_address(struct exec *exec)
{
	struct program_options options = { .name = "address",
		.words = poolfs_words(exec->values, "address"), .output = on_address_output,
		.ended = on_address_ended, .data = exec };

	text_done(&exec->answer);
	exec->current = programs_start(exec->programs, &options);
}

/* The process that keeps the runs has ended. */
static void on_runs_ended(void *data)
{
	struct exec *exec = data;

	host_free(exec->runs);
	exec->runs = NULL;
	ending_step(exec);
}

/* Makes the way for run. */
static void start_runs(struct exec *exec)
{
	struct poolfs_err err = { "" };
	int result = host_new(exec->machine, exec->directory, (const char *const *)exec->environment,
		on_runs_ended, exec, &exec->runs, &err);

	finish_start(exec, result, err.text);
}

/* wait ended, and so has the machine. */
static void on_wait_ended(void *data, int status, const char *text)
{
	struct exec *exec = data;

	exec->waiting = NULL;
	if (!exec->stop && exec->up)
		poolfs_machine_ended(exec->machine, POOLFS_ENDED_STOPPED, "%s",
			*text ? text : "the machine ended (wait has)");
	ending_console(exec);
	ending_step(exec);
}

/* Starts what accompanies the machine. */
static void accompany(struct exec *exec)
{
	const char *const *console = poolfs_words(exec->values, "console");
	struct program_options options = { .name = "wait", .words = poolfs_words(exec->values, "wait"),
		.ended = on_wait_ended, .data = exec };
	struct text text = { 0 };

	if (options.words[0])
		exec->waiting = programs_start(exec->programs, &options);
	if (!console[0])
		return;
	text_printf(&text, "exec:");
	char *keeper = child_beside("poolfs-programs");
	shell_cd(&text, exec->directory);
	text_printf(&text, "export POOLFS_PROGRAM=console; exec ");
	shell_word(&text, keeper, strlen(keeper));
	free(keeper);
	for (; *console; console++) {
		text_printf(&text, " ");
		shell_word(&text, *console, strlen(*console));
	}
	exec->console_text = text.data;
	exec->console = tap_new(exec->machine, exec->console_text,
		(const char *const *)exec->environment);
}

/* The machine is made: how is it reached? */
static void reach(struct exec *exec)
{
	accompany(exec);
	if (poolfs_has(exec->values, "run"))
		start_runs(exec);
	else
		ask_address(exec);
}

/* create ended. */
static void on_create_ended(void *data, int status, const char *text)
{
	struct exec *exec = data;

	exec->current = NULL;
	answers_lines_end(&exec->lines, on_line, on_other_line, exec);
	if (exec->start && status == 0)
		reach(exec);
	else if (exec->start)
		finish_start(exec, -EIO, text);
	ending_step(exec);
}

/* Programs can be started. */
static void on_up(void *data)
{
	struct exec *exec = data;
	struct program_options options = { .name = "create",
		.words = poolfs_words(exec->values, "create"), .output = on_create_output,
		.ended = on_create_ended, .data = exec };

	exec->starting = false;
	exec->up = true;
	ending_step(exec);
	if (!exec->start)
		return;
	if (!options.words[0]) {
		reach(exec);
		return;
	}
	exec->created = true;
	if (poolfs_has(exec->values, "destroy"))
		poolfs_machine_owes(exec->machine, true);
	exec->current = programs_start(exec->programs, &options);
}

/* They cannot any more: the process that keeps them was killed. */
static void on_down(void *data, const char *reason)
{
	struct exec *exec = data;
	bool was_up = exec->up;

	exec->starting = exec->up = false;
	if (exec->start)
		finish_start(exec, -EIO, reason);
	else if (was_up && !exec->stop)
		poolfs_machine_ended(exec->machine, POOLFS_ENDED_STOPPED, "%s", reason);
	ending_step(exec);
}

static const struct programs_events programs_events = { .up = on_up, .down = on_down };

/* poolfs-programs has ended. */
static void on_host_ended(void *data)
{
	struct exec *exec = data;

	host_free(exec->host);
	exec->host = NULL;
	exec->starting = false;
	ending_step(exec);
}

/* The core no longer waits for the start. */
static void on_cancel_start(void *data)
{
	struct exec *exec = data;
	char text[sizeof(exec->trouble) + 64] = "it had not begun";

	if (*exec->trouble)
		snprintf(text, sizeof(text), "%s", exec->trouble);
	else if (exec->current)
		snprintf(text, sizeof(text), "%s had not ended", program_name(exec->current));
	finish_start(exec, -ECANCELED, text);
	if (exec->current)
		program_stop(exec->current);
}

/* Makes the programs' directory, and the process that keeps them. */
int exec_begin(struct exec *exec, struct poolfs_err *err)
{
	if (mkdir(exec->directory, 0700) < 0 && errno != EEXIST)
		return poolfs_err_set(err, -errno, "%s: %s", exec->directory, strerror(errno));
	int result = host_new(exec->machine, exec->directory, (const char *const *)exec->environment,
		on_host_ended, exec, &exec->host, err);
	exec->starting = result == 0;
	if (result == 0)
		exec->programs = programs_new(exec->machine, host_socket(exec->host), &programs_events,
			exec);
	return result;
}

/* .start */
static void exec_start(void *state, struct poolfs_op *op)
{
	struct exec *exec = state;
	struct poolfs_err err = { "" };

	exec->start = op;
	poolfs_op_on_cancel(op, on_cancel_start, exec);
	if (!exec->start)
		return;
	int result = exec_begin(exec, &err);
	if (result < 0)
		finish_start(exec, result, err.text);
}

/* ---- The table ---------------------------------------------------------------- */

/* What the programs find in their environment. */
static char **make_environment(const struct exec *exec)
{
	const char *name = poolfs_machine_name(exec->machine), *slash = strchr(name, '/'), *key;
	size_t count = 0, members = 0;

	while (poolfs_member(exec->values, "env.NAME", members))
		members++;
	char **words = memory_new((members + 4) * sizeof(*words));
	words[count++] = memory_format("POOLFS_POOL=%.*s", (int)(slash - name), name);
	words[count++] = memory_format("POOLFS_INSTANCE=%s", slash + 1);
	words[count++] = memory_format("POOLFS_DIRECTORY=%s", exec->directory);
	for (size_t i = 0; (key = poolfs_member(exec->values, "env.NAME", i)); i++)
		words[count++] = memory_format("%s=%s", key + strlen("env."),
			poolfs_string(exec->values, key));
	return words;
}

/* .open */
static int exec_open(struct poolfs_machine *machine, void **state, struct poolfs_err *err)
{
	struct exec *exec = memory_new(sizeof(*exec));

	exec->machine = machine;
	exec->values = poolfs_machine_values(machine);
	exec->directory = memory_format("%s/exec", poolfs_machine_directory(machine));
	exec->environment = make_environment(exec);
	exec->again = memory_new(sizeof(*exec->again));
	exec->again->data = exec;
	uv_timer_init(poolfs_machine_loop(machine), exec->again);
	*state = exec;
	return 0;
}

/* libuv is done with the timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle);
}

/* .close */
static void exec_close(void *state)
{
	struct exec *exec = state;

	for (size_t i = 0; exec->environment[i]; i++)
		free(exec->environment[i]);
	free(exec->environment);
	free(exec->directory);
	free(exec->console_text);
	text_done(&exec->answer);
	text_done(&exec->lines.rest);
	uv_close((uv_handle_t *)exec->again, timer_closed);
	free(exec);
}

/* .address */
static int exec_address(void *state, struct poolfs_address *address, struct poolfs_err *err)
{
	struct exec *exec = state;

	if (poolfs_has(exec->values, "run")) {
		if (!exec->runs)
			return poolfs_err_set(err, -EHOSTDOWN, "the process that keeps its runs has gone");
		address->agent = host_socket(exec->runs);
		return 0;
	}
	address->host = exec->target.host;
	address->port = exec->target.port;
	address->user = *exec->target.user ? exec->target.user : NULL;
	return 0;
}

/* .console_write */
static int exec_console_write(void *state, const void *data, size_t size)
{
	struct exec *exec = state;

	return exec->console ? tap_write(exec->console, data, size) : 0;
}

const struct poolfs_backend exec_backend = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_backend),
	.kind = &exec_kind,
	.open = exec_open,
	.close = exec_close,
	.start = exec_start,
	.stop = ending_stop,
	.address = exec_address,
	.console_write = exec_console_write,
	.verb = ctl_start,
	.clean = ending_clean,
};
