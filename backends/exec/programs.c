/* SPDX-License-Identifier: MIT */
#include "backends/exec/programs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/exec/limits.h"
#include "backends/transport.h"

enum program_end { END_NOT, END_TERM, END_KILL, END_ABANDONED };

struct program {
	LIST_ENTRY(program) link;
	struct programs *programs;
	struct program_options options;
	struct transport_run *run;
	struct text tail;	/* the end of what it printed on standard error */
	uv_timer_t *timer;	/* its limit, then the steps of its end */
	enum program_end end;
	bool late;		/* the limit was reached */
	bool left;		/* its end was told: what it left behind goes on, and is heard */
};

struct programs {
	struct poolfs_machine *machine;
	struct transport *transport;	/* the agent's */
	const struct programs_events *events;
	void *data;
	LIST_HEAD(, program) list;
};

/* libuv is done with a timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Frees a program, whose run is over. */
static void program_free(struct program *program)
{
	LIST_REMOVE(program, link);
	uv_close((uv_handle_t *)program->timer, timer_closed);
	text_done(&program->tail);
	free(program);
}

/* ---- What it prints ----------------------------------------------------------- */

/* Keeps the end. */
static void keep_tail(struct program *program, const void *bytes, size_t size)
{
	const char *from = bytes;

	if (size > LIMITS_TAIL) {
		from += size - LIMITS_TAIL;
		size = LIMITS_TAIL;
	}
	text_append(&program->tail, from, size);
	if (program->tail.size > LIMITS_TAIL)
		text_consume(&program->tail, program->tail.size - LIMITS_TAIL);
}

/* Output. */
static void on_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	struct program *program = data;

	if (kind == SPOOL_STDERR && !program->left)
		keep_tail(program, bytes, size);
	if (kind == SPOOL_STDOUT && program->options.output && !program->left)
		program->options.output(program->options.data, bytes, size);
	else
		poolfs_machine_log_bytes(program->programs->machine, bytes, size);
}

/* Finds it. */
const char *program_last_line(struct text *text)
{
	while (text->size > 0 && strchr(" \n\r\t", text->data[text->size - 1]))
		text->data[--text->size] = '\0';
	size_t from = text->size;
	while (from > 0 && text->data[from - 1] != '\n')
		from--;
	return text->size ? text->data + from : "";
}

/* How it ended, in words. */
static char *describe(struct program *program, enum run_state state, int status)
{
	const struct program_options *options = &program->options;
	const char *line = program_last_line(&program->tail);
	char how[160] = "";

	if (program->late)
		snprintf(how, sizeof(how), "%s took more than %g s (%s)", options->name,
			(double)options->limit_ms / 1000, options->limit_name);
	else if (program->end != END_NOT)
		snprintf(how, sizeof(how), "%s was stopped", options->name);
	else if (state == RUN_LOST)
		snprintf(how, sizeof(how), "%s is lost: the process that kept it has gone", options->name);
	else if (state == RUN_SIGNALED)
		snprintf(how, sizeof(how), "%s was ended by signal %d (%s)", options->name, status - 128,
			strsignal(status - 128));
	else if (status != 0)
		snprintf(how, sizeof(how), "%s ended with status %d", options->name, status);
	return memory_format("%s%s%s", how, *how && *line ? ": " : "", line);
}

/* Its end. */
static void tell(struct program *program, enum run_state state, int status)
{
	const struct program_options *options = &program->options;
	char *text = describe(program, state, status);

	if (program->end != END_NOT || state == RUN_LOST || state == RUN_STOPPED)
		status = -1;
	program->left = true;
	uv_timer_stop(program->timer);
	options->ended(options->data, status, text);
	free(text);
}

/* It ended, but may have left something. When it was to end, that has to end too. */
static void on_exited(void *data, enum run_state state, int status)
{
	struct program *program = data;

	if (program->end == END_NOT)
		tell(program, state, status);
}

/* Nothing is left of it. */
static void on_ended(void *data, enum run_state state, int status)
{
	struct program *program = data;

	if (!program->left)
		tell(program, state, status);
	program_free(program);
}

/* It runs; its standard input is at the end. */
static void on_nothing(void *data)
{
}

static const struct transport_run_events run_events = {
	.started = on_nothing,
	.output = on_output,
	.drained = on_nothing,
	.exited = on_exited,
	.ended = on_ended,
};

/* ---- Its end ------------------------------------------------------------------ */

/* The next step. */
static void end_more(uv_timer_t *timer)
{
	struct program *program = timer->data;

	if (program->end == END_TERM) {
		program->end = END_KILL;
		agent_transport.run_signal(program->run, SIGKILL);
		uv_timer_start(timer, end_more, LIMITS_KILL_MS, 0);
		return;
	}
	program->end = END_ABANDONED;
	agent_transport.run_abandon(program->run);
}

/* Its name. */
const char *program_name(const struct program *program)
{
	return program->options.name;
}

/* Asks it to end. */
void program_stop(struct program *program)
{
	if (program->end != END_NOT)
		return;
	program->end = END_TERM;
	agent_transport.run_await_all(program->run);
	agent_transport.run_signal(program->run, SIGTERM);
	uv_timer_start(program->timer, end_more, LIMITS_TERM_MS, 0);
}

/* Ends it at once. */
void program_kill(struct program *program)
{
	if (program->end == END_ABANDONED)
		return;
	program->end = END_ABANDONED;
	uv_timer_stop(program->timer);
	agent_transport.run_abandon(program->run);
}

/* It takes too long. */
static void limit_reached(uv_timer_t *timer)
{
	struct program *program = timer->data;

	program->late = true;
	program_stop(program);
}

/* ---- All of them --------------------------------------------------------------- */

/* Starts one. */
struct program *programs_start(struct programs *programs, const struct program_options *options)
{
	struct program *program = memory_new(sizeof(*program));
	struct transport_command command = { 0 };
	struct text text = { 0 }, environment = { 0 };

	program->programs = programs;
	program->options = *options;
	program->timer = memory_new(sizeof(*program->timer));
	program->timer->data = program;
	uv_timer_init(poolfs_machine_loop(programs->machine), program->timer);
	LIST_INSERT_HEAD(&programs->list, program, link);
	for (const char *const *word = options->words; *word; word++)
		text_append(&text, *word, strlen(*word) + 1);
	text_printf(&environment, "POOLFS_PROGRAM=%s\n", options->name);
	command.text = text.data;
	command.size = text.size;
	command.environment = environment.data;
	command.environment_size = environment.size;
	program->run = agent_transport.run(programs->transport, &command, &run_events, program);
	if (options->limit_ms)
		uv_timer_start(program->timer, limit_reached, options->limit_ms, 0);
	text_done(&text);
	text_done(&environment);
	return program;
}

/* The agent answered. */
static void on_up(void *data)
{
	struct programs *programs = data;

	programs->events->up(programs->data);
}

/* It is gone. */
static void on_down(void *data, bool fatal, const char *reason)
{
	struct programs *programs = data;

	programs->events->down(programs->data, "the process that keeps its programs has gone");
}

/* A message. */
static void on_log(void *data, const char *message)
{
	struct programs *programs = data;

	poolfs_machine_log(programs->machine, "%s", message);
}

/* The agent's own lines are not the machine's. */
static void on_status(void *data, const char *key, const char *value)
{
}

static const struct transport_events transport_events = {
	.up = on_up,
	.down = on_down,
	.log = on_log,
	.status = on_status,
};

/* Makes the set. */
struct programs *programs_new(struct poolfs_machine *machine, int socket,
	const struct programs_events *events, void *data)
{
	struct programs *programs = memory_new(sizeof(*programs));

	programs->machine = machine;
	programs->events = events;
	programs->data = data;
	LIST_INIT(&programs->list);
	agent_transport.new(poolfs_machine_loop(machine), poolfs_machine_values(machine),
		&transport_events, programs, &programs->transport, NULL);
	agent_transport.connect(programs->transport, &(struct poolfs_address){ .agent = socket });
	return programs;
}

/* Frees. */
void programs_free(struct programs *programs)
{
	struct program *program;

	if (!programs)
		return;
	agent_transport.free(programs->transport);
	while ((program = LIST_FIRST(&programs->list)))
		program_free(program);
	free(programs);
}
