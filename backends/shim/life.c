/* SPDX-License-Identifier: MIT */
/*
 * booting --up--> ready <--up/down--> lost       booting --> failed
 *                   \________________/ \--> stopped, crashed
 *
 * failed and stopped are final, and so is crashed unless the key on_crash says reset: then the
 * machine boots again. What a backend reports from within a call (the machine
 * ended, a crash on the console) is kept, and looked at on the loop's next turn: nothing is torn
 * down under a backend, and a crash that came with the end wins over it.
 *
 * The end of the machine is one path, taken after a failed boot and at FRAME_STOP: cancel start
 * if need be, then stop. Only FRAME_STOP goes on to close and to the end of the process. From then on the
 * timer `boot` is the end's, and what the connection comes to changes nothing any more.
 */
#include "backends/shim/life.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/protocol/states.h"
#include "backends/shim/shim.h"

/* The most that a reason has before the console's last lines, and the most that these are, in bytes. */
#define REASON_TEXT_MAX 1800
#define TAIL_MAX (PROTOCOL_REASON_MAX - 2048)

static void life_end(struct shim *shim);

/* Sends the state. */
void life_tell(struct shim *shim)
{
	const struct life *life = &shim->life;
	struct frame_state frame = { .state = life->state, .boot_ms = life->boot_ms };

	daemon_send(shim, FRAME_STATE, 0, &frame, sizeof(frame), life->reason,
		life->reason ? strlen(life->reason) : 0);
}

/* The one place where the state changes. */
static void life_change(struct shim *shim, enum instance_state state, const char *reason)
{
	struct life *life = &shim->life;
	char *clean = NULL;

	if (state != life->state && !states_may_follow(life->state, state))
		return;
	if (reason) {
		clean = memory_new(PROTOCOL_REASON_MAX + 1);
		text_escape_lines(clean, PROTOCOL_REASON_MAX + 1, reason);
	}
	free(life->reason);
	life->reason = clean;
	life->state = state;
	/* Its further lines are the console's, or stand in the log already. */
	journal_printf(shim, "%s%s%.*s", states_name(state), clean ? ": " : "",
		clean ? (int)strcspn(clean, "\n") : 0, clean ? clean : "");
	/* The state may be the console's end: who follows it gets the last words first. */
	sink_tell(&shim->console.spool, false);
	sink_tell(&shim->journal.spool, false);
	life_tell(shim);
}

/* Whether commands and files work. */
bool life_is_up(const struct shim *shim)
{
	return shim->life.state == INSTANCE_READY && shim->life.up && !shim->life.stopping;
}

/* Whether it is over. */
bool life_is_over(const struct shim *shim)
{
	return states_is_over(shim->life.state) || shim->life.stopping;
}

/* Frees the transport, and ends what was going through it. */
static void life_free_transport(struct shim *shim)
{
	struct life *life = &shim->life;

	uv_timer_stop(&life->retry);
	duties_cancel(shim);
	life->up = false;
	if (life->transport)
		shim->setup.transport->free(life->transport);
	life->transport = NULL;
	forwards_down(shim, "the machine has ended");
	commands_lose(shim);
	commands_cut(shim);
	requests_cut(shim);
}

/* Adds the console's last lines, escaped, and only as many as there is room for. */
static void append_tail(struct shim *shim, struct text *text)
{
	static const size_t size = 4 * LINES_KEPT * LINES_KEPT_SIZE + 1;
	struct text tail = { 0 };

	lines_tail(&shim->console.lines, &tail);
	if (tail.size > 0) {
		char *clean = memory_new(size);
		text_escape_lines(clean, size, tail.data);
		size_t length = strlen(clean);
		const char *from = clean;
		if (length > TAIL_MAX)
			from = strchr(clean + length - TAIL_MAX, '\n') + 1;
		text_printf(text, "\nThe console's last lines:\n%s", from);
		free(clean);
	}
	text_done(&tail);
}

/* A change for the worse: the console's last lines may tell a person more than the reason. */
static void life_worsen(struct shim *shim, enum instance_state state, const char *reason)
{
	struct text text = { 0 };

	text_printf(&text, "%.*s", REASON_TEXT_MAX, reason);
	append_tail(shim, &text);
	life_change(shim, state, text.data);
	text_done(&text);
}

/* The boot failed: the machine ends. */
static void life_fail(struct shim *shim, const char *reason)
{
	uv_timer_stop(&shim->life.boot);
	life_worsen(shim, INSTANCE_FAILED, reason);
	life_free_transport(shim);
	life_end(shim);
}

/* The machine is gone, after it was ready. */
static void life_gone(struct shim *shim, enum instance_state state, const char *reason)
{
	life_worsen(shim, state, reason);
	life_free_transport(shim);
}

static void life_down(void *data, bool fatal, const char *reason);

/* Begins an attempt to log in. */
static void life_connect(struct shim *shim)
{
	struct life *life = &shim->life;
	struct poolfs_address address;
	struct poolfs_err err = { "" };

	if (shim->setup.transport->nowhere) {
		address = (struct poolfs_address){ 0 };
	} else if (door_address(life->door, &address, &err) < 0) {
		life_down(shim, life->state == INSTANCE_BOOTING, err.text);
		return;
	}
	address.directory = shim->duties.directory;
	shim->setup.transport->connect(life->transport, &address);
}

/* The next attempt is due, or it turned out that there is none. A crash that is being reported says
 * more of the machine than the connection's end. */
static void life_retry(uv_timer_t *timer)
{
	struct shim *shim = timer->data;
	struct life *life = &shim->life;

	if (life->stopping)
		return;
	if (crashes_pending(shim) || life->crash) {
		uv_timer_start(timer, life_retry, LIFE_LOST_RETRY_MS, 0);
		return;
	}
	if (life->state == INSTANCE_BOOTING && life->hopeless) {
		char *text = memory_format("the login failed: %s", life->trouble);
		life_fail(shim, text);
		free(text);
		return;
	}
	if (life->state == INSTANCE_READY || life->hopeless)
		life_worsen(shim, INSTANCE_LOST, life->trouble);
	if (!life->hopeless)
		life_connect(shim);
}

/* The transport logged in. */
static void life_up(void *data)
{
	struct shim *shim = data;
	struct life *life = &shim->life;

	duties_entered(shim);
	if (life->stopping)
		return;
	life->up = true;
	life->delay = LIFE_LOST_RETRY_MS;
	uv_timer_stop(&life->boot);
	uv_update_time(shim->loop);
	if (life->state == INSTANCE_BOOTING) {
		uint64_t took = uv_now(shim->loop) - life->begun;
		life->boot_ms = took > 0 ? (uint32_t)took : 1;
	}
	life_change(shim, INSTANCE_READY, NULL);
	forwards_up(shim);
	commands_start(shim);
}

/* How long to wait before the next attempt, in milliseconds. */
static uint64_t life_delay(struct life *life)
{
	uint64_t delay = life->delay;

	if (life->state == INSTANCE_BOOTING)
		return life->hopeless ? 0 : LIFE_BOOT_RETRY_MS;
	life->delay = 2 * delay < LIFE_LOST_RETRY_MAX_MS ? 2 * delay : LIFE_LOST_RETRY_MAX_MS;
	return delay;
}

/* The transport has no connection: what follows, follows from the timer, outside its call. A
 * machine that ends, or panics, closes the connection just before that is seen: so `lost` too is
 * only said when the first attempt to rebuild is due. */
static void life_down(void *data, bool fatal, const char *reason)
{
	struct shim *shim = data;
	struct life *life = &shim->life;

	life->up = false;
	forwards_down(shim, "the connection to the machine is gone; it is being rebuilt");
	requests_disconnected(shim);
	if (states_is_over(life->state))
		return;
	free(life->trouble);
	life->trouble = memory_string(reason);
	life->hopeless = fatal;
	uv_timer_start(&life->retry, life_retry, life_delay(life), 0);
}

/* The transport has something to say. */
static void life_log(void *data, const char *message)
{
	journal_printf(data, "%s", message);
}

/* The transport has something to show. */
static void life_status(void *data, const char *key, const char *value)
{
	status_set(data, key, value);
}

static const struct transport_events transport_events = {
	.up = life_up,
	.down = life_down,
	.log = life_log,
	.status = life_status,
};

/* The boot took too long. */
static void life_boot_expired(uv_timer_t *timer)
{
	struct shim *shim = timer->data;
	struct life *life = &shim->life;
	double limit = (double)poolfs_number(shim->setup.values, "boot_timeout") / 1000;
	char *text = memory_format("no login within %g s (boot_timeout)%s%s", limit,
		life->trouble ? "; the last attempt: " : "", life->trouble ? life->trouble : "");

	life_fail(shim, text);
	free(text);
}

/* The time of the boot that is left, in milliseconds. */
static uint64_t life_boot_left(struct shim *shim)
{
	uint64_t limit = (uint64_t)poolfs_number(shim->setup.values, "boot_timeout");

	uv_update_time(shim->loop);
	uint64_t took = uv_now(shim->loop) - shim->life.begun;
	return took < limit ? limit - took : 0;
}

/* Keeps it. */
void life_trouble(struct shim *shim, const char *reason)
{
	free(shim->life.trouble);
	shim->life.trouble = memory_string(reason);
}

/* What is to be done first in the machine is done, or cannot be. */
static void life_prepared(struct shim *shim, int result, const char *text)
{
	if (shim->life.stopping)
		return;
	if (result == 0) {
		life_connect(shim);
		return;
	}
	char *reason = memory_format("the machine cannot be prepared: %s", text);
	life_fail(shim, reason);
	free(reason);
}

/* The backend's start is done, well or not. */
static void life_started(void *data, int result, const char *text)
{
	struct shim *shim = data;
	struct life *life = &shim->life;

	if (life_is_over(shim)) {
		life_end(shim);
		return;
	}
	if (result < 0) {
		const char *late = life_boot_left(shim) == 0 ? " within boot_timeout" : "";
		char *reason = memory_format("the machine did not start%s: %s", late,
			text[0] ? text : strerror(-result));
		life_fail(shim, reason);
		free(reason);
		return;
	}
	uv_timer_start(&life->boot, life_boot_expired, life_boot_left(shim), 0);
	duties_begin(shim, life_prepared);
}

/* Begins. */
void life_begin(struct shim *shim)
{
	struct life *life = &shim->life;
	const struct transport_ops *transport = shim->setup.transport;
	struct poolfs_err err = { "" };

	uv_update_time(shim->loop);
	life->begun = uv_now(shim->loop);
	life->delay = LIFE_LOST_RETRY_MS;
	uv_timer_init(shim->loop, &life->boot);
	uv_timer_init(shim->loop, &life->retry);
	uv_timer_init(shim->loop, &life->news);
	life->boot.data = life->retry.data = life->news.data = shim;
	journal_printf(shim, "booting");
	if (transport->new(shim->loop, shim->setup.values, &transport_events, shim,
			&life->transport, &err) < 0 ||
		door_open(shim->setup.backend, &shim->machine, &life->door, &err) < 0) {
		life_fail(shim, err.text);
		return;
	}
	door_start(life->door, life_boot_left(shim), life_started, shim);
}

/* Whether a crashed machine is to begin anew, and can. */
static bool life_may_restart(const struct shim *shim)
{
	const struct life *life = &shim->life;
	const char *word = poolfs_string(shim->setup.values, "on_crash");
	bool there = !life->ended || life->how != POOLFS_ENDED_STOPPED;

	return word && strcmp(word, "reset") == 0 && there && life->state == INSTANCE_CRASHED &&
		life->door && !life->stopping && life->end == LIFE_NOT_ENDED &&
		door_can_reset(life->door);
}

/* Boots a crashed machine again. */
static void life_restart(struct shim *shim)
{
	struct life *life = &shim->life;
	struct poolfs_err err = { "" };

	uv_update_time(shim->loop);
	life->begun = uv_now(shim->loop);
	life->delay = LIFE_LOST_RETRY_MS;
	life->hopeless = false;
	life->boot_ms = 0;
	free(life->trouble);
	life->trouble = NULL;
	life_change(shim, INSTANCE_BOOTING, NULL);
	if (shim->setup.transport->new(shim->loop, shim->setup.values, &transport_events, shim,
			&life->transport, &err) < 0) {
		life_fail(shim, err.text);
		return;
	}
	verbs_end(shim);
	door_reset(life->door, life_boot_left(shim), life_started, shim);
}

/* Looks at what the backend reported. */
static void life_news(uv_timer_t *timer)
{
	struct shim *shim = timer->data;
	struct life *life = &shim->life;

	/* What the console told before the end comes first. */
	if (life->ended)
		crashes_end(shim);
	uv_timer_stop(timer);
	bool crashed = life->crash || life->how == POOLFS_ENDED_CRASHED;
	const char *reason = life->crash ? life->crash : life->ended;

	if (life->ended && (life->crash || life_is_over(shim)))
		journal_printf(shim, "the machine ended: %s", life->ended);
	if (life_is_over(shim))
		;
	else if (life->state == INSTANCE_BOOTING)
		life_fail(shim, reason);
	else
		life_gone(shim, crashed ? INSTANCE_CRASHED : INSTANCE_STOPPED, reason);
	bool restart = crashed && life_may_restart(shim);
	/* One that began anew without a crash is not what it was: it ends. */
	if (life->ended && life->how == POOLFS_ENDED_RESTARTED && !restart && !life->stopping)
		life_end(shim);
	free(life->crash);
	free(life->ended);
	life->crash = life->ended = NULL;
	life->how = POOLFS_ENDED_STOPPED;
	if (restart)
		life_restart(shim);
}

/* A crash was seen. */
void life_crashed(struct shim *shim, const char *title)
{
	if (shim->life.crash || life_is_over(shim))
		return;
	shim->life.crash = memory_string(title);
	uv_timer_start(&shim->life.news, life_news, 0, 0);
}

/* The machine ended. */
void life_ended(struct shim *shim, enum poolfs_ending how, const char *reason)
{
	if (shim->life.ended)
		return;
	shim->life.ended = memory_string(reason);
	shim->life.how = how;
	uv_timer_start(&shim->life.news, life_news, 0, 0);
}

/* A command. */
struct transport_run *life_run(struct shim *shim, const struct transport_command *command,
	const struct transport_run_events *events, void *data)
{
	if (!life_is_up(shim))
		return NULL;
	return shim->setup.transport->run(shim->life.transport, command, events, data);
}

/* A file request. */
void life_file(struct shim *shim, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	shim->setup.transport->file(shim->life.transport, key, call, done, data);
}

/* A file request that nobody wants any more. */
void life_file_cancel(struct shim *shim, uint64_t key)
{
	if (shim->life.transport)
		shim->setup.transport->file_cancel(shim->life.transport, key);
}

/* A forward that the machine listens for. */
struct transport_forward *life_forward_listen(struct shim *shim,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	return shim->setup.transport->forward_listen(shim->life.transport, place, events, data);
}

/* A forward into the machine. */
struct transport_forward *life_forward_reach(struct shim *shim,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	return shim->setup.transport->forward_reach(shim->life.transport, place, events, data);
}

/* Whether the machine can be told something; also a crashed one. */
static bool life_is_running(const struct life *life)
{
	return life->door && life->end == LIFE_NOT_ENDED && life->state != INSTANCE_STOPPED;
}

/* Console input. */
int life_type(struct shim *shim, const void *data, size_t size)
{
	const struct life *life = &shim->life;

	if (!life_is_running(life))
		return -EHOSTDOWN;
	return door_console_write(life->door, data, size);
}

/* SysRq. */
void life_sysrq(struct shim *shim, char key)
{
	struct life *life = &shim->life;
	int result = life_is_running(life) ? door_sysrq(life->door, key) : -EHOSTDOWN;

	if (result < 0)
		journal_printf(shim, "sysrq %c: %s", key, strerror(-result));
}

/* A non-maskable interrupt. */
void life_nmi(struct shim *shim)
{
	struct life *life = &shim->life;
	int result = life_is_running(life) ? door_nmi(life->door) : -EHOSTDOWN;

	if (result < 0)
		journal_printf(shim, "nmi: %s", strerror(-result));
}

/* A verb of the backend. */
int life_verb(struct shim *shim, const char *verb, const char *argument, struct poolfs_op *op)
{
	return life_is_running(&shim->life) ? door_verb(shim->life.door, verb, argument, op) :
					      -EHOSTDOWN;
}

/* The machine has ended. Once it was left, too, it is gone for good: closes it, and says so. */
static void life_finish(struct shim *shim)
{
	struct life *life = &shim->life;

	life->end = LIFE_ENDED;
	if (!life->left)
		return;
	if (life->stuck)
		door_abandon(life->door);
	else
		door_close(life->door);
	life->door = NULL;
	journal_printf(shim, "closed");
	shim->setup.done(shim->setup.data, !life->stuck);
}

/* The backend's stop is done. */
static void life_stopped(void *data, int result, const char *text)
{
	struct shim *shim = data;

	const char *reason = text[0] ? text : strerror(-result);

	if (result < 0) {
		journal_printf(shim, "the machine did not end well: %s", reason);
		daemon_send(shim, FRAME_REMAINS, 0, reason, strlen(reason), NULL, 0);
	}
	shim->life.stuck = result == -ETIMEDOUT;
	life_finish(shim);
}

/* Goes on with the end of the machine, wherever it stands. */
static void life_end(struct shim *shim)
{
	struct life *life = &shim->life;

	if (life->end == LIFE_ENDING)
		return;
	if (!life->door || life->end == LIFE_ENDED) {
		life_finish(shim);
		return;
	}
	if (door_is_starting(life->door)) {
		door_cancel_start(life->door);
		return;
	}
	life->end = LIFE_ENDING;
	verbs_end(shim);
	door_stop(life->door, shim->setup.stop_limit, life_stopped, shim);
}

/* The machine is as the next one is to find it, or is not. */
static void life_left(struct shim *shim, int result, const char *text)
{
	struct frame_returned frame = { .result = result };

	if (result < 0)
		journal_printf(shim, "the machine was not left as it should be: %s", text);
	daemon_send(shim, FRAME_RETURNED, 0, &frame, sizeof(frame), text, strlen(text));
	shim->life.left = true;
	life_end(shim);
}

/* No command is left, or their time is over: the machine may go. */
static void life_leave(uv_timer_t *timer)
{
	struct shim *shim = timer->data;

	if (!TAILQ_EMPTY(&shim->commands.running))
		journal_printf(shim, "commands go on in the machine: they did not end in time");
	shim->life.leaving = false;
	life_free_transport(shim);
	duties_end(shim, life_left);
}

/* A run has ended: with the last one the instance leaves, from the loop. */
void life_run_ended(struct shim *shim)
{
	if (shim->life.leaving && TAILQ_EMPTY(&shim->commands.running))
		uv_timer_start(&shim->life.boot, life_leave, 0, 0);
}

/* FRAME_STOP. */
void life_stop(struct shim *shim)
{
	struct life *life = &shim->life;

	if (life->stopping)
		return;
	life->stopping = true;
	life->leaving = shim->setup.outlives && life->up && !TAILQ_EMPTY(&shim->commands.running);
	if (life->leaving)
		commands_kill(shim);
	uv_timer_start(&life->boot, life_leave, life->leaving ? LIFE_LEAVE_MS : 0, 0);
}

/* Closes the handles. */
void life_close(struct shim *shim)
{
	struct life *life = &shim->life;

	uv_close((uv_handle_t *)&life->boot, NULL);
	uv_close((uv_handle_t *)&life->retry, NULL);
	uv_close((uv_handle_t *)&life->news, NULL);
	free(life->reason);
	free(life->trouble);
	free(life->crash);
	free(life->ended);
}
