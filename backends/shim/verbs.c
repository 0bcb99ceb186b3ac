/* SPDX-License-Identifier: MIT */
#include "backends/shim/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/shim/op.h"
#include "backends/shim/shim.h"

struct verb {
	TAILQ_ENTRY(verb) entry;
	char *name;
	char *argument;		/* NULL: it has none */
};

static void verbs_begin(struct shim *shim);

/* Prepares an empty queue. */
void verbs_init(struct shim *shim)
{
	TAILQ_INIT(&shim->verbs.queue);
	uv_timer_init(shim->loop, &shim->verbs.limit);
	shim->verbs.limit.data = shim;
}

/* Takes the first one off. */
static void drop(struct shim *shim)
{
	struct verb *verb = TAILQ_FIRST(&shim->verbs.queue);

	TAILQ_REMOVE(&shim->verbs.queue, verb, entry);
	shim->verbs.count--;
	free(verb->name);
	free(verb->argument);
	free(verb);
}

/* Says what came of a verb. */
static void tell(struct shim *shim, const char *name, int result, const char *text)
{
	const char *reason = result == 0 ? "done" : *text ? text : strerror(-result);
	char *line = memory_format("%s %s%s", name, result == 0 ? "" : "failed: ", reason);

	journal_printf(shim, "%s", line);
	status_set(shim, "verb", line);
	daemon_send(shim, FRAME_VERB_DONE, 0, line, strlen(line), NULL, 0);
	free(line);
}

/* The first one is over. */
static void verbs_done(void *data, int result, const char *text)
{
	struct shim *shim = data;

	uv_timer_stop(&shim->verbs.limit);
	shim->verbs.op = NULL;
	tell(shim, TAILQ_FIRST(&shim->verbs.queue)->name, result, text);
	drop(shim);
	verbs_begin(shim);
}

/* It does not even end now that it is cancelled. */
static void verbs_give_up(uv_timer_t *timer)
{
	struct shim *shim = timer->data;

	op_detach(shim->verbs.op);
	verbs_done(shim, -ETIMEDOUT, "the backend does not answer");
}

/* It takes too long. */
static void verbs_expired(uv_timer_t *timer)
{
	struct shim *shim = timer->data;

	uv_timer_start(timer, verbs_give_up, VERBS_GRACE_MS, 0);
	op_cancel(shim->verbs.op);
}

/* Lets the backend do the first one, unless it does one already. */
static void verbs_begin(struct shim *shim)
{
	struct verbs *verbs = &shim->verbs;
	struct verb *verb;

	while (!verbs->op && (verb = TAILQ_FIRST(&verbs->queue))) {
		verbs->op = op_new(shim->loop, verbs_done, shim);
		uv_timer_start(&verbs->limit, verbs_expired, VERBS_LIMIT_MS, 0);
		int result = life_verb(shim, verb->name, verb->argument, verbs->op);
		if (result < 0)
			poolfs_op_done(verbs->op, result, "%s", strerror(-result));
	}
}

/* Whether a text is one that the daemon may send. */
static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) == NULL;
}

/* FRAME_VERB */
int verbs_add(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	const struct frame_verb *frame = payload;
	const char *text = (const char *)(frame + 1);
	size_t rest = size - sizeof(*frame);

	if (frame->verb_size == 0 || frame->verb_size > PROTOCOL_VERB_MAX ||
		frame->argument_size > PROTOCOL_ARGUMENT_MAX || frame->has_argument > 1 ||
		frame->verb_size + frame->argument_size != rest || !is_text(text, rest) ||
		(frame->argument_size && !frame->has_argument))
		return -EPROTO;
	if (shim->verbs.count >= PROTOCOL_VERBS_MAX) {
		char *name = memory_format("%.*s", (int)frame->verb_size, text);

		tell(shim, name, -EBUSY, "too many verbs wait");
		free(name);
		return 0;
	}
	struct verb *verb = memory_new(sizeof(*verb));
	verb->name = memory_format("%.*s", (int)frame->verb_size, text);
	if (frame->has_argument)
		verb->argument = memory_format("%.*s", (int)frame->argument_size,
			text + frame->verb_size);
	TAILQ_INSERT_TAIL(&shim->verbs.queue, verb, entry);
	shim->verbs.count++;
	verbs_begin(shim);
	return 0;
}

/* Ends all. */
void verbs_end(struct shim *shim)
{
	struct verbs *verbs = &shim->verbs;

	uv_timer_stop(&verbs->limit);
	if (verbs->op) {
		op_detach(verbs->op);
		op_cancel(verbs->op);
		tell(shim, TAILQ_FIRST(&verbs->queue)->name, -ECANCELED, "the machine ends");
		drop(shim);
	}
	verbs->op = NULL;
	while (!TAILQ_EMPTY(&verbs->queue))
		drop(shim);
}

/* Closes the handle. */
void verbs_close(struct shim *shim)
{
	verbs_end(shim);
	uv_close((uv_handle_t *)&shim->verbs.limit, NULL);
}
