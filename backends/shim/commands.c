/* SPDX-License-Identifier: MIT */
/*
 * Three streams make up a run's output. `output` gets every byte. As long as nothing came on
 * stderr, stdout is the same bytes, and has no spool of its own; from the first stderr byte on
 * it has one, which begins at the offset that `output` had reached.
 *
 * A run's object lives while the daemon may ask for it, and while the transport may call back.
 */
#include "backends/shim/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/shim/shim.h"

struct run {
	struct shim *shim;
	uint64_t id;
	enum run_state state;
	int status;
	char *text;			/* size bytes, until the end */
	size_t size;
	struct transport_run *handle;	/* the transport's, until it says ended */
	bool forgotten;			/* by the daemon */
	bool split;			/* stdout has a spool of its own */
	bool noted;			/* is in commands.changed */
	struct sink output, out, err;
	TAILQ_ENTRY(run) all, changed;
	LIST_ENTRY(run) bucket;
};

/* Prepares an empty set. */
void commands_init(struct shim *shim)
{
	TAILQ_INIT(&shim->commands.all);
	TAILQ_INIT(&shim->commands.changed);
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
static struct run *run_new(struct shim *shim, uint64_t id, const void *text, size_t size)
{
	uint64_t limit = (uint64_t)poolfs_number(shim->setup.values, "output_limit");
	struct run *run = memory_new(sizeof(*run));

	run->shim = shim;
	run->id = id;
	run->text = memory_new(size);
	run->size = size;
	memcpy(run->text, text, size);
	sink_init(&run->output, shim, SPOOL_OUTPUT, id, limit);
	sink_init(&run->out, shim, SPOOL_STDOUT, id, limit);
	sink_init(&run->err, shim, SPOOL_STDERR, id, limit);
	TAILQ_INSERT_TAIL(&shim->commands.all, run, all);
	LIST_INSERT_HEAD(&shim->commands.buckets[id % COMMANDS_BUCKETS], run, bucket);
	shim->commands.count++;
	shim->commands.text_bytes += size;
	return run;
}

/* The command's text is needed no more. */
static void run_drop_text(struct run *run)
{
	run->shim->commands.text_bytes -= run->size;
	run->size = 0;
	free(run->text);
	run->text = NULL;
}

/* No notice about this run is waiting any more. */
static void run_unnote(struct run *run)
{
	if (run->noted)
		TAILQ_REMOVE(&run->shim->commands.changed, run, changed);
	run->noted = false;
}

/* Frees a run; its files stay. */
static void run_free(struct run *run)
{
	run_unnote(run);
	run_drop_text(run);
	sink_finish(&run->output);
	sink_finish(&run->out);
	sink_finish(&run->err);
	TAILQ_REMOVE(&run->shim->commands.all, run, all);
	LIST_REMOVE(run, bucket);
	run->shim->commands.count--;
	free(run);
}

/* Whether nothing of this run changes any more. */
static bool run_ended(const struct run *run)
{
	return run->state != RUN_QUEUED && run->state != RUN_RUNNING;
}

/* Sends the notices. stdout's first: it says how much of `output` is stdout. */
static void run_tell_spools(struct run *run, bool always)
{
	if (run->split)
		sink_tell(&run->out, always);
	if (run->err.end > 0)
		sink_tell(&run->err, always);
	if (run->output.end > 0)
		sink_tell(&run->output, always);
}

/* Sends the state. */
static void run_tell_state(struct run *run)
{
	struct frame_run_state frame = { .state = run->state, .status = run->status,
		.bytes_dropped = run->output.start };

	daemon_send(run->shim, FRAME_RUN_STATE, run->id, &frame, sizeof(frame), NULL, 0);
}

/* Has the notices sent when the loop has done its turn. */
static void run_note(struct run *run)
{
	if (!run->noted)
		TAILQ_INSERT_TAIL(&run->shim->commands.changed, run, changed);
	run->noted = true;
}

/* The one place where a run's state changes. */
static void run_change(struct run *run, enum run_state state, int status)
{
	if (run_ended(run))
		return;
	run->state = state;
	run->status = status;
	if (run_ended(run)) {
		run_drop_text(run);
		sink_finish(&run->output);
		sink_finish(&run->out);
		sink_finish(&run->err);
		run_unnote(run);
	}
	if (run->forgotten)
		return;
	run_tell_spools(run, false);
	run_tell_state(run);
}

/* The machine accepted the command. */
static void run_started(void *data)
{
	run_change(data, RUN_RUNNING, 0);
}

/* From here on stdout is not the same as `output`. */
static void run_split(struct run *run)
{
	run->split = true;
	sink_rebase(&run->out, run->output.end);
}

/* The command wrote something. */
static void run_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	struct run *run = data;

	if (run_ended(run) || run->forgotten || size == 0)
		return;
	if (kind == SPOOL_STDERR && !run->split)
		run_split(run);
	if (kind == SPOOL_STDERR)
		sink_append(&run->err, bytes, size);
	else if (run->split)
		sink_append(&run->out, bytes, size);
	sink_append(&run->output, bytes, size);
	run_note(run);
}

/* The transport is through with the run. */
static void run_over(void *data, enum run_state state, int status)
{
	struct run *run = data;

	run->handle = NULL;
	run_change(run, state, status);
	if (run->forgotten)
		run_free(run);
}

static const struct transport_run_events run_events = {
	.started = run_started,
	.output = run_output,
	.ended = run_over,
};

/* Gives a queued run to the transport. */
static void run_start(struct run *run)
{
	run->handle = life_run(run->shim, run->text, run->size, &run_events, run);
	if (!run->handle)
		run_change(run, RUN_LOST, 255);
}

/* FRAME_RUN. A number that is known already: the daemon repeats itself, and hears the state. */
int commands_add(struct shim *shim, uint64_t id, const void *text, size_t size)
{
	struct commands *commands = &shim->commands;
	struct run *run = run_find(shim, id);

	if (memchr(text, '\0', size))
		return -EPROTO;
	if (run) {
		if (!run->forgotten)
			run_tell_state(run);
		return 0;
	}
	if (commands->count >= COMMANDS_MAX || commands->text_bytes + size > COMMANDS_TEXT_MAX) {
		struct frame_run_state refused = { .state = RUN_LOST, .status = 255 };
		journal_printf(shim, "run %llu is refused: too many runs", (unsigned long long)id);
		daemon_send(shim, FRAME_RUN_STATE, id, &refused, sizeof(refused), NULL, 0);
		return 0;
	}
	run = run_new(shim, id, text, size);
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

	if (!run || run_ended(run))
		return 0;
	if (run->handle)
		shim->setup.transport->run_stop(run->handle);
	else
		run_change(run, RUN_STOPPED, 255);
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
	sink_remove(&run->output);
	sink_remove(&run->out);
	sink_remove(&run->err);
	if (!run->handle)
		run_free(run);
	else if (!run_ended(run))
		shim->setup.transport->run_stop(run->handle);
	return 0;
}

/* Ready. */
void commands_start(struct shim *shim)
{
	struct run *run, *next;

	for (run = TAILQ_FIRST(&shim->commands.all); run; run = next) {
		next = TAILQ_NEXT(run, all);
		if (run->state == RUN_QUEUED && !run->handle && !run->forgotten)
			run_start(run);
	}
}

/* Gone. */
void commands_lose(struct shim *shim)
{
	struct run *run;

	TAILQ_FOREACH(run, &shim->commands.all, all)
		run_change(run, RUN_LOST, 255);
}

/* The transport's objects are gone. */
void commands_cut(struct shim *shim)
{
	struct run *run, *next;

	for (run = TAILQ_FIRST(&shim->commands.all); run; run = next) {
		next = TAILQ_NEXT(run, all);
		run->handle = NULL;
		if (run->forgotten)
			run_free(run);
	}
}

/* Sends joined notices. */
void commands_tell(struct shim *shim)
{
	struct run *run;

	while ((run = TAILQ_FIRST(&shim->commands.changed))) {
		run_unnote(run);
		run_tell_spools(run, false);
	}
}

/* Tells a new daemon. */
void commands_tell_all(struct shim *shim)
{
	struct run *run;

	TAILQ_FOREACH(run, &shim->commands.all, all) {
		if (run->forgotten)
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
		run_free(run);
}
