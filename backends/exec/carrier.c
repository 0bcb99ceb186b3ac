/* SPDX-License-Identifier: MIT */
#include "backends/exec/carrier.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/exec/limits.h"
#include "backends/exec/programs.h"
#include "backends/shellfiles/parse.h"
#include "backends/transport.h"

#define PIECE 65536u

struct carrier {
	LIST_ENTRY(carrier) link;
	struct carrier_options options;	/* without words and path */
	struct transport_run *run;	/* NULL: it has ended */
	uint64_t bytes;			/* given or taken */
	struct text tail;		/* the end of what it printed for people */
	uv_timer_t *timer;
	int error;			/* why it is being ended from here; 0: it is not */
	char how[96];			/* the same in words */
	bool enough;			/* it printed more than is wanted, and is being ended */
	bool told;
};

static void limit_reached(uv_timer_t *timer);

/* It lives. */
static void alive(struct carrier *carrier)
{
	uv_timer_start(carrier->timer, limit_reached, carrier->options.limit_ms, 0);
}

/* libuv is done with a timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Frees. */
static void carrier_free(struct carrier *carrier)
{
	LIST_REMOVE(carrier, link);
	uv_close((uv_handle_t *)carrier->timer, timer_closed);
	text_done(&carrier->tail);
	free(carrier);
}

/* Tells the end, once. What the program left behind goes on. */
static void tell(struct carrier *carrier, int error, const char *how)
{
	const char *line = program_last_line(&carrier->tail);
	char text[LIMITS_TAIL + 256];

	if (carrier->told)
		return;
	carrier->told = true;
	uv_timer_stop(carrier->timer);
	snprintf(text, sizeof(text), "%s %s%s%s", carrier->options.name, how, *line ? ": " : "", line);
	carrier->options.ended(carrier->options.data, error, text);
}

/* Ends it from here, for a reason that is told when it has ended. */
static void give_up(struct carrier *carrier, int error, const char *how)
{
	carrier->error = error;
	snprintf(carrier->how, sizeof(carrier->how), "%s", how);
	uv_timer_stop(carrier->timer);
	agent_transport.run_abandon(carrier->run);
}

/* Nothing moves. */
static void limit_reached(uv_timer_t *timer)
{
	struct carrier *carrier = timer->data;
	char how[96];

	snprintf(how, sizeof(how), "neither took nor printed anything for %g s (carry_timeout)",
		(double)carrier->options.limit_ms / 1000);
	give_up(carrier, -ETIMEDOUT, how);
}

/* push: gives what there is room for. */
static void feed(void *data)
{
	struct carrier *carrier = data;
	char piece[PIECE];

	if (carrier->options.moved || carrier->told || carrier->error)
		return;
	alive(carrier);
	while (carrier->bytes < carrier->options.size) {
		uint64_t left = carrier->options.size - carrier->bytes;
		ssize_t got = pread(carrier->options.fd, piece, left < PIECE ? (size_t)left : PIECE,
			(off_t)carrier->bytes);

		if (got <= 0) {
			give_up(carrier, -EIO, "could not be given the content: this host's disk");
			return;
		}
		size_t taken = agent_transport.run_input(carrier->run, piece, (size_t)got);
		carrier->bytes += taken;
		if (taken < (size_t)got)
			return;
	}
	agent_transport.run_eof(carrier->run);
}

/* pull: takes what is wanted. */
static void take(struct carrier *carrier, const void *bytes, size_t size)
{
	uint64_t left = carrier->options.size - carrier->bytes;

	if (size > left) {
		carrier->enough = true;
		agent_transport.run_abandon(carrier->run);
		size = (size_t)left;
	}
	if (pwrite(carrier->options.fd, bytes, size, (off_t)carrier->bytes) != (ssize_t)size) {
		give_up(carrier, -EIO, "printed what this host's disk has no room for");
		return;
	}
	carrier->bytes += size;
	if (size)
		carrier->options.moved(carrier->options.data, carrier->bytes);
}

/* Output. */
static void on_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	struct carrier *carrier = data;
	size_t from = size > LIMITS_TAIL ? size - LIMITS_TAIL : 0;

	if (carrier->told || carrier->error || carrier->enough)
		return;
	alive(carrier);
	if (kind == SPOOL_STDOUT && carrier->options.moved) {
		take(carrier, bytes, size);
		return;
	}
	text_append(&carrier->tail, (const char *)bytes + from, size - from);
	if (carrier->tail.size > LIMITS_TAIL)
		text_consume(&carrier->tail, carrier->tail.size - LIMITS_TAIL);
}

/* It ended: what that means. The message of a tool tells the error. */
static void on_exited(void *data, enum run_state state, int status)
{
	struct carrier *carrier = data;
	char how[96];

	if (carrier->error) {
		tell(carrier, carrier->error, carrier->how);
		return;
	}
	if (carrier->enough || (state == RUN_EXITED && status == 0)) {
		tell(carrier, 0, "ended");
		return;
	}
	if (state == RUN_LOST || state == RUN_STOPPED)
		snprintf(how, sizeof(how), "is lost");
	else if (state == RUN_SIGNALED)
		snprintf(how, sizeof(how), "was ended by signal %d", status - 128);
	else
		snprintf(how, sizeof(how), "ended with status %d", status);
	int error = state == RUN_LOST ? -EHOSTDOWN : -EIO;
	if (state == RUN_EXITED && carrier->tail.size)
		error = parse_code("m", carrier->tail.data, carrier->tail.size);
	tell(carrier, error, how);
}

/* Nothing is left of it. */
static void on_ended(void *data, enum run_state state, int status)
{
	struct carrier *carrier = data;

	carrier->run = NULL;
	on_exited(carrier, state, status);
	carrier_free(carrier);
}

/* It runs. */
static void on_started(void *data)
{
}

static const struct transport_run_events run_events = {
	.started = on_started,
	.output = on_output,
	.drained = feed,
	.exited = on_exited,
	.ended = on_ended,
};

/* Starts. */
struct carrier *carrier_start(struct carrier_list *list, struct uv_loop_s *loop, struct transport *agent,
	const struct carrier_options *options)
{
	struct carrier *carrier = memory_new(sizeof(*carrier));
	struct transport_command command = { .input = !options->moved };
	struct text text = { 0 }, environment = { 0 };

	carrier->options = *options;
	carrier->timer = memory_new(sizeof(*carrier->timer));
	carrier->timer->data = carrier;
	uv_timer_init(loop, carrier->timer);
	LIST_INSERT_HEAD(list, carrier, link);
	for (const char *const *word = options->words; *word; word++)
		text_append(&text, *word, strlen(*word) + 1);
	text_append(&text, options->path, strlen(options->path) + 1);
	text_printf(&environment, "POOLFS_PROGRAM=%s\n", options->name);
	command.text = text.data;
	command.size = text.size;
	command.environment = environment.data;
	command.environment_size = environment.size;
	carrier->run = agent_transport.run(agent, &command, &run_events, carrier);
	text_done(&text);
	text_done(&environment);
	alive(carrier);
	feed(carrier);
	return carrier;
}

/* Ends it. */
void carrier_stop(struct carrier *carrier)
{
	if (!carrier || carrier->told)
		return;
	carrier->told = true;
	uv_timer_stop(carrier->timer);
	agent_transport.run_abandon(carrier->run);
}

/* Ends all. */
void carrier_stop_all(struct carrier_list *list)
{
	struct carrier *carrier;

	LIST_FOREACH(carrier, list, link)
		carrier_stop(carrier);
}

/* Frees all. */
void carrier_free_all(struct carrier_list *list)
{
	struct carrier *carrier;

	while ((carrier = LIST_FIRST(list)))
		carrier_free(carrier);
}
