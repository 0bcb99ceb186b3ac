/* SPDX-License-Identifier: MIT */
#include "backends/shim/commands.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/shim/run.h"

/* Prepares an empty set. */
void commands_init(struct shim *shim)
{
	TAILQ_INIT(&shim->commands.all);
	TAILQ_INIT(&shim->commands.changed);
	TAILQ_INIT(&shim->commands.running);
	past_init(shim);
}

/* Finds a run. */
static struct run *run_find(struct shim *shim, uint64_t id)
{
	struct run *run;

	LIST_FOREACH(run, &shim->commands.buckets[id % COMMANDS_BUCKETS], bucket)
		if (run->id == id)
			return run;
	return NULL;
}

/* Makes a run and remembers it. */
static struct run *run_new(struct shim *shim, uint64_t id)
{
	uint64_t limit = (uint64_t)poolfs_number(shim->setup.values, "output_limit");
	struct run *run = memory_new(sizeof(*run));

	run->shim = shim;
	run->id = id;
	sink_init(&run->output, shim, SPOOL_OUTPUT, id, limit);
	sink_init(&run->out, shim, SPOOL_STDOUT, id, limit);
	sink_init(&run->err, shim, SPOOL_STDERR, id, limit);
	sink_init(&run->transcript, shim, SPOOL_TRANSCRIPT, id, limit);
	past_begin(run);
	TAILQ_INSERT_TAIL(&shim->commands.all, run, all);
	LIST_INSERT_HEAD(&shim->commands.buckets[id % COMMANDS_BUCKETS], run, bucket);
	shim->commands.count++;
	return run;
}

/* What the limit on texts counts. */
static size_t run_bytes(const struct run *run)
{
	return run->size + run->setup.environment_size + run->setup.cwd_size;
}

/* The command's text and set-up are needed no more. */
void commands_drop_text(struct run *run)
{
	run->shim->commands.text_bytes -= run_bytes(run);
	run->size = run->setup.environment_size = run->setup.cwd_size = 0;
	free(run->text);
	free(run->environment);
	free(run->cwd);
	run->text = run->environment = run->cwd = NULL;
}

/* Frees a run; its files stay. */
void commands_free(struct run *run)
{
	run_unnote(run);
	limits_done(run);
	input_done(run);
	past_done(run);
	if (run->state == RUN_RUNNING)
		TAILQ_REMOVE(&run->shim->commands.running, run, running);
	commands_drop_text(run);
	transcript_end(&run->lines, &run->shim->commands.scratch);
	run->shim->commands.scratch.size = 0;
	sink_finish(&run->output);
	sink_finish(&run->out);
	sink_finish(&run->err);
	sink_finish(&run->transcript);
	TAILQ_REMOVE(&run->shim->commands.all, run, all);
	LIST_REMOVE(run, bucket);
	run->shim->commands.count--;
	free(run);
}

/* A copy that ends with a NUL. */
static char *copy(const void *data, size_t size)
{
	char *bytes = memory_new(size + 1);

	if (size)
		memcpy(bytes, data, size);
	return bytes;
}

/* Whether a line of an environment is KEY=VALUE. */
static bool is_assignment(const char *line, const char *end)
{
	const char *at = line;

	while (at < end && (*at == '_' || (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') ||
		(at > line && *at >= '0' && *at <= '9')))
		at++;
	return at > line && at < end && *at == '=';
}

/* Whether a FRAME_RUN_SETUP is as it has to be. */
static bool setup_is_good(const struct frame_run_setup *setup, const char *rest, size_t size)
{
	const char *line = rest, *end = rest + setup->environment_size;

	if (setup->environment_size > PROTOCOL_ENVIRONMENT_MAX || setup->cwd_size > PROTOCOL_CWD_MAX ||
		size != (size_t)setup->environment_size + setup->cwd_size ||
		(setup->flags & ~RUN_INPUT) || !setup->columns != !setup->rows ||
		memchr(rest, '\0', size))
		return false;
	while (line < end) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));

		if (!newline || !is_assignment(line, newline))
			return false;
		line = newline + 1;
	}
	return true;
}

/* Whether there is no room for another run, or for so much text. */
static bool too_many(struct shim *shim, size_t runs, size_t bytes)
{
	return shim->commands.count + runs > COMMANDS_MAX ||
		shim->commands.text_bytes + bytes > COMMANDS_TEXT_MAX;
}

/* FRAME_RUN_SETUP. For a run that is known already: the daemon repeats itself. */
int commands_prepare(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	const struct frame_run_setup *setup = payload;
	const char *rest = (const char *)(setup + 1);
	struct run *run = run_find(shim, id);

	size -= sizeof(*setup);
	if (!setup_is_good(setup, rest, size))
		return -EPROTO;
	if (run && !run->prepared)
		return 0;
	if (!run && shim->commands.count >= 2 * COMMANDS_MAX)
		return -EPROTO;
	if (!run)
		run = run_new(shim, id);
	commands_drop_text(run);
	run->prepared = true;
	run->refused = too_many(shim, 0, size);
	if (run->refused)
		return 0;
	run->setup = *setup;
	run->environment = copy(rest, setup->environment_size);
	run->cwd = copy(rest + setup->environment_size, setup->cwd_size);
	shim->commands.text_bytes += size;
	return 0;
}

/* There are too many runs: this one ends as lost, and is not remembered. */
static void refuse(struct shim *shim, uint64_t id)
{
	struct frame_run_state refused = { .state = RUN_LOST, .status = 255 };

	journal_printf(shim, "run %llu is refused: too many runs", (unsigned long long)id);
	daemon_send(shim, FRAME_RUN_STATE, id, &refused, sizeof(refused), NULL, 0);
}

/* FRAME_RUN. A number that is known already: the daemon repeats itself, and hears the state. */
int commands_add(struct shim *shim, uint64_t id, const void *text, size_t size)
{
	struct run *run = run_find(shim, id);

	if (memchr(text, '\0', size))
		return -EPROTO;
	if (run && !run->prepared) {
		if (!run->forgotten)
			run_tell_state(run);
		return 0;
	}
	if (too_many(shim, run ? 0 : 1, size) || (run && run->refused)) {
		if (run)
			commands_free(run);
		refuse(shim, id);
		return 0;
	}
	if (!run)
		run = run_new(shim, id);
	run->prepared = false;
	run->text = copy(text, size);
	run->size = size;
	shim->commands.text_bytes += size;
	if (life_is_over(shim))
		run_change(run, RUN_LOST, 255);
	else if (life_is_up(shim))
		run_start(run);
	else
		run_tell_state(run);
	return 0;
}

/* FRAME_RUN_STOP. */
int commands_stop(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	struct run *run = run_find(shim, id);

	if (run && !run->prepared && !run->forgotten)
		limits_end(run, RUN_STOPPED);
	return 0;
}

/* FRAME_RUN_FORGET. */
int commands_forget(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	struct run *run = run_find(shim, id);

	if (!run || run->forgotten)
		return 0;
	run->forgotten = true;
	run_unnote(run);
	input_done(run);
	past_done(run);
	sink_remove(&run->output);
	sink_remove(&run->out);
	sink_remove(&run->err);
	sink_remove(&run->transcript);
	if (!run->handle)
		commands_free(run);
	else
		limits_end(run, RUN_STOPPED);
	return 0;
}

/* FRAME_RUN_INPUT. */
int commands_input(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	struct run *run = run_find(shim, id);

	return run ? input_take(run, payload, size) : 0;
}

/* FRAME_RUN_EOF. */
int commands_eof(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	struct run *run = run_find(shim, id);

	if (run)
		input_eof(run);
	return 0;
}

/* FRAME_RUN_KEEP. */
int commands_keep(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	const struct frame_run_keep *keep = payload;
	struct run *run = run_find(shim, id);

	return !run || run_keep(run, keep->kind, keep->offset) ? 0 : -EPROTO;
}

/* FRAME_RUN_TRANSCRIPT. */
int commands_transcript(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	struct run *run = run_find(shim, id);

	if (run && !run->prepared && !run->forgotten)
		past_want(run);
	return 0;
}

/* FRAME_RUN_SIGNAL. What has not started can only end. */
int commands_signal(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	int signal = ((const struct frame_run_signal *)payload)->signal;
	struct run *run = run_find(shim, id);

	if (signal < 1 || signal > 31)
		return -EPROTO;
	if (!run || run->prepared || run->forgotten || run_ended(run))
		return 0;
	if (run->state == RUN_RUNNING && run->handle)
		shim->setup.transport->run_signal(run->handle, signal);
	else if (signal == SIGTERM || signal == SIGKILL || signal == SIGINT)
		limits_end(run, RUN_STOPPED);
	return 0;
}

/* FRAME_RUN_RESIZE. */
int commands_resize(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	const struct frame_run_resize *resize = payload;
	struct run *run = run_find(shim, id);

	if (!resize->columns || !resize->rows)
		return -EPROTO;
	if (!run || run_ended(run) || !run->setup.columns)
		return 0;
	run->setup.columns = resize->columns;
	run->setup.rows = resize->rows;
	if (run->handle)
		shim->setup.transport->run_resize(run->handle, resize->columns, resize->rows);
	return 0;
}

/* The console printed something. */
void commands_console(struct shim *shim, const void *bytes, size_t size)
{
	struct run *run;

	TAILQ_FOREACH(run, &shim->commands.running, running)
		run_console(run, bytes, size);
}

/* The daemon is gone. */
void commands_drop(struct shim *shim)
{
	struct run *run, *next;

	for (run = TAILQ_FIRST(&shim->commands.all); run; run = next) {
		next = TAILQ_NEXT(run, all);
		if (run->prepared) {
			commands_free(run);
		} else {
			input_recount(run);
			run_keep_none(run);
		}
	}
}

/* Ready. */
void commands_start(struct shim *shim)
{
	struct run *run, *next;

	for (run = TAILQ_FIRST(&shim->commands.all); run; run = next) {
		next = TAILQ_NEXT(run, all);
		if (run->state == RUN_QUEUED && !run->handle && !run->forgotten && !run->prepared)
			run_start(run);
	}
}

/* Gone. */
void commands_lose(struct shim *shim)
{
	struct run *run;

	TAILQ_FOREACH(run, &shim->commands.all, all)
		if (!run->prepared)
			run_change(run, RUN_LOST, 255);
}

/* Killed. */
void commands_kill(struct shim *shim)
{
	struct run *run;

	TAILQ_FOREACH(run, &shim->commands.running, running)
		limits_kill(run);
}

/* The transport's objects are gone. */
void commands_cut(struct shim *shim)
{
	struct run *run, *next;

	for (run = TAILQ_FIRST(&shim->commands.all); run; run = next) {
		next = TAILQ_NEXT(run, all);
		run->handle = NULL;
		if (run->forgotten)
			commands_free(run);
	}
}

/* Sends joined notices. */
void commands_tell(struct shim *shim)
{
	struct run *run;

	while ((run = TAILQ_FIRST(&shim->commands.changed))) {
		run_unnote(run);
		run_tell_spools(run, false);
		input_tell(run);
	}
}

/* Tells a new daemon. */
void commands_tell_all(struct shim *shim)
{
	struct run *run;

	TAILQ_FOREACH(run, &shim->commands.all, all) {
		if (run->forgotten || run->prepared)
			continue;
		run_tell_spools(run, true);
		run_tell_state(run);
	}
}

/* Frees everything. */
void commands_done(struct shim *shim)
{
	struct run *run;

	while ((run = TAILQ_FIRST(&shim->commands.all)))
		commands_free(run);
	text_done(&shim->commands.scratch);
	past_close(shim);
}
