/* SPDX-License-Identifier: MIT */
#include "backends/shim/errand.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/shim/shim.h"

#define RETRY_MS 500

struct errand {
	struct shim *shim;
	struct poolfs_address address;
	const struct errand_events *events;
	void *data;
	struct transport *transport;
	struct transport_run *run;
	uv_timer_t timer;	/* the next attempt, or the command's end is told */
	char *text, *cwd;	/* NULL: no command */
	bool once;
	bool patient;		/* the machine boots: no refusal is final */
	bool up, connecting;
	bool started;		/* the command runs, and does not wait for a channel */
	bool killed;
	struct text output;
	char *reason;		/* of a failure that is to be told */
	int result;
};

/* Tells how it went. From the loop alone: who hears it may free us. */
static void tell(uv_timer_t *timer)
{
	struct errand *errand = timer->data;
	char *text = errand->reason ? errand->reason : memory_string(
		errand->output.data ? errand->output.data : "");

	errand->reason = NULL;
	free(errand->text);
	errand->text = NULL;
	text_done(&errand->output);
	errand->events->done(errand->data, errand->result, text);
	free(text);
}

/* The command is over: told on the loop's next turn. */
static void finish(struct errand *errand, int result, char *reason)
{
	errand->result = result;
	errand->reason = reason;
	uv_timer_start(&errand->timer, tell, 0, 0);
}

/* Output: its end is kept. */
static void errand_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	struct errand *errand = data;

	text_append(&errand->output, bytes, size);
	if (errand->output.size > ERRAND_OUTPUT_MAX)
		text_consume(&errand->output, errand->output.size - ERRAND_OUTPUT_MAX);
}

/* The command ended. When the connection did, `down` follows, which begins anew. */
static void errand_ended(void *data, enum run_state state, int status)
{
	struct errand *errand = data;
	const char *output = errand->output.data ? errand->output.data : "";

	errand->run = NULL;
	if (errand->killed)
		finish(errand, -ECANCELED, memory_string(""));
	else if ((state == RUN_EXITED && status == 0) || (state == RUN_LOST && errand->once))
		finish(errand, 0, NULL);
	else if (state != RUN_LOST)
		finish(errand, -EIO, memory_format("status %d%s%s", status, *output ? ": " : "", output));
}

/* It runs. */
static void errand_started(void *data)
{
	struct errand *errand = data;

	errand->started = true;
}

/* It has no input. */
static void errand_drained(void *data)
{
}

static const struct transport_run_events run_events = {
	.started = errand_started,
	.drained = errand_drained,
	.output = errand_output,
	.ended = errand_ended,
};

/* Goes on as far as it can: connects, and starts the command. */
static void go_on(uv_timer_t *timer)
{
	struct errand *errand = timer->data;
	const struct transport_ops *ops = errand->shim->setup.transport;
	struct transport_command command = { .text = errand->text, .size = strlen(errand->text),
		.cwd = errand->cwd };

	if (!errand->up) {
		if (!errand->connecting)
			ops->connect(errand->transport, &errand->address);
		errand->connecting = true;
		return;
	}
	text_done(&errand->output);
	errand->started = errand->killed = false;
	errand->run = ops->run(errand->transport, &command, &run_events, errand);
}

/* Logged in. */
static void errand_up(void *data)
{
	struct errand *errand = data;

	errand->up = true;
	errand->connecting = false;
	errand->events->entered(errand->data);
	uv_timer_start(&errand->timer, go_on, 0, 0);
}

/* Not, or no longer. */
static void errand_down(void *data, bool fatal, const char *reason)
{
	struct errand *errand = data;

	errand->up = errand->connecting = false;
	if (!errand->text || uv_is_active((uv_handle_t *)&errand->timer))
		return;
	if (fatal && !errand->patient) {
		finish(errand, -EACCES, memory_format("the login failed: %s", reason));
		return;
	}
	errand->events->trouble(errand->data, reason);
	uv_timer_start(&errand->timer, go_on, RETRY_MS, 0);
}

/* The transport has something to say. */
static void errand_log(void *data, const char *message)
{
	journal_printf(((struct errand *)data)->shim, "%s", message);
}

/* Its counters are not the instance's. */
static void errand_status(void *data, const char *key, const char *value)
{
}

static const struct transport_events transport_events = {
	.up = errand_up,
	.down = errand_down,
	.log = errand_log,
	.status = errand_status,
};

/* Makes one. */
int errand_new(struct shim *shim, const struct poolfs_address *address,
	const struct errand_events *events, void *data, struct errand **out,
	struct poolfs_err *err)
{
	struct errand *errand = memory_new(sizeof(*errand));
	int result = shim->setup.transport->new(shim->loop, shim->setup.values, &transport_events,
		errand, &errand->transport, err);

	if (result < 0) {
		free(errand);
		return result;
	}
	errand->shim = shim;
	errand->address = *address;
	errand->events = events;
	errand->data = data;
	uv_timer_init(shim->loop, &errand->timer);
	errand->timer.data = errand;
	*out = errand;
	return 0;
}

/* Runs a command. */
void errand_run(struct errand *errand, const char *text, const char *cwd, uint64_t after, bool once)
{
	free(errand->text);
	free(errand->cwd);
	errand->text = memory_string(text);
	errand->cwd = memory_string(cwd);
	errand->once = once;
	errand->patient = after > 0;
	if (after && (errand->up || errand->connecting)) {
		errand->shim->setup.transport->disconnect(errand->transport);
		errand->up = errand->connecting = false;
	}
	uv_timer_start(&errand->timer, go_on, after, 0);
}

/* Kills. */
bool errand_kill(struct errand *errand)
{
	const struct transport_ops *ops = errand->shim->setup.transport;

	if (!errand->run)
		return false;
	errand->killed = true;
	if (errand->started) {
		ops->run_await_all(errand->run);
		ops->run_signal(errand->run, SIGKILL);
	} else {
		ops->run_abandon(errand->run);
	}
	return true;
}

/* libuv is done with the timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Frees. */
void errand_free(struct errand *errand)
{
	if (!errand)
		return;
	errand->shim->setup.transport->free(errand->transport);
	free(errand->text);
	free(errand->cwd);
	free(errand->reason);
	text_done(&errand->output);
	uv_close((uv_handle_t *)&errand->timer, timer_closed);
}
