/* SPDX-License-Identifier: MIT */
/*
 * The transport "agent": commands, files and forwards of a machine on this host, by sockets to the agent in
 * it (talk.h). Up is: the agent has answered HELLO and sent the socket of files.
 *
 * Callbacks that are owed come from the `turn`, an idle handle that runs when something was noted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "backends/agent/client.h"
#include "backends/agent/carriers.h"
#include "backends/agent/keys.h"
#include "backends/agent/tasks.h"
#include "backends/agent/watch.h"
#include "backends/base/memory.h"

/* How long the agent may take to answer, and how often limits are looked at, in milliseconds. */
#define GREETING_MS 10000u
#define CLOCK_MS 5000u
/* Messages that are taken before others get their turn. */
#define MESSAGES_MAX 64

enum state { STATE_DOWN, STATE_GREETING, STATE_UP };

struct transport {
	struct uv_loop_s *loop;
	const struct transport_events *events;
	void *data;
	enum state state;
	const char *reason;	/* `down` is owed, and why; NULL: it is not */
	struct watch *control;	/* NULL: none */
	bool greeted;		/* HELLO came */
	bool mute;		/* who serves files is to be replaced; the agent was not told yet */
	uint64_t since;		/* of the greeting, loop time */
	struct tasks tasks;
	struct client client;
	struct carriers carriers;
	uv_idle_t turn;
	uv_timer_t clock;
	unsigned open_handles;
	char *root;
};

/* Passes a message on. */
static void pass_log(void *data, const char *message)
{
	struct transport *transport = data;

	transport->events->log(transport->data, message);
}

/* Ends the connection: runs, requests, then `down`, if it is owed. */
static void end(struct transport *transport)
{
	const char *reason = transport->reason;

	transport->state = STATE_DOWN;
	transport->reason = NULL;
	transport->greeted = false;
	uv_timer_stop(&transport->clock);
	watch_free(transport->control);
	transport->control = NULL;
	tasks_lose(&transport->tasks);
	client_lose(&transport->client, -EHOSTDOWN);
	carriers_lose(&transport->carriers);
	if (reason)
		transport->events->down(transport->data, false, reason);
}

/* Whether messages wait for room. */
static bool is_blocked(const struct transport *transport)
{
	return transport->tasks.blocked || transport->carriers.blocked;
}

/* The turn. */
static void turn(uv_idle_t *idle)
{
	struct transport *transport = idle->data;

	uv_idle_stop(idle);
	if (transport->reason)
		end(transport);
	if (transport->state == STATE_UP)
		tasks_turn(&transport->tasks);
	else
		tasks_lose(&transport->tasks);
	client_turn(&transport->client);
	carriers_turn(&transport->carriers);
	if (transport->control)
		watch_for(transport->control, UV_READABLE | (is_blocked(transport) ? UV_WRITABLE : 0));
}

/* Asks for a turn. */
static void wake(void *data)
{
	struct transport *transport = data;

	uv_idle_start(&transport->turn, turn);
}

/* Notes that the connection is gone. */
static void fail(struct transport *transport, const char *reason)
{
	if (!transport->reason)
		transport->reason = reason;
	wake(transport);
}

/* Everything is there. */
static void go_up(struct transport *transport)
{
	transport->state = STATE_UP;
	transport->tasks.control = transport->carriers.control = watch_fd(transport->control);
	transport->events->up(transport->data);
	wake(transport);
}

/* One message of the agent; fd (-1: none) is to be used or closed. */
static void take(struct transport *transport, const struct talk_message *message, int fd)
{
	switch (message->type) {
	case TALK_HELLO:
		if (message->value != TALK_VERSION)
			fail(transport, "the agent is of another version");
		transport->greeted = true;
		break;
	case TALK_FILES:
		if (fd >= 0)
			client_connect(&transport->client, fd);
		fd = -1;
		if (transport->state == STATE_GREETING && transport->greeted)
			go_up(transport);
		break;
	case TALK_STARTED:
	case TALK_EXITED:
	case TALK_GONE:
		tasks_message(&transport->tasks, message, fd);
		fd = -1;
		break;
	case TALK_SOCKET:
		carriers_message(&transport->carriers, message, fd);
		fd = -1;
		break;
	default:
		fail(transport, "the agent sent something unknown");
	}
	if (fd >= 0)
		close(fd);
}

/* The socket has messages, or room. */
static void ready(void *data)
{
	struct transport *transport = data;
	struct talk_message message;
	int fds[TALK_FDS_MAX], result = 1;
	unsigned count;

	for (int i = 0; i < MESSAGES_MAX && result > 0 && !transport->reason; i++) {
		count = 0;
		result = talk_receive(watch_fd(transport->control), &message, fds, &count);
		while (count > 1)
			close(fds[--count]);
		if (result > 0)
			take(transport, &message, count ? fds[0] : -1);
	}
	if (result == 0)
		fail(transport, "the agent has gone");
	else if (result < 0 && result != -EAGAIN)
		fail(transport, "the connection to the agent broke");
	if (is_blocked(transport))
		wake(transport);
}

/* Looks at the limits. */
static void tick(uv_timer_t *timer)
{
	struct transport *transport = timer->data;

	if (transport->state == STATE_GREETING &&
		uv_now(transport->loop) - transport->since >= GREETING_MS)
		fail(transport, "the agent does not answer");
	carriers_clock(&transport->carriers);
	transport->mute |= client_clock(&transport->client);
	/* Where the socket is full, the next look is soon enough. */
	if (transport->mute && transport->control && talk_send(watch_fd(transport->control),
			&(struct talk_message){ .type = TALK_FILES }, NULL, 0) == 0)
		transport->mute = false;
}

/* .connect */
static void transport_connect(struct transport *transport, const struct poolfs_address *address)
{
	struct talk_message hello = { .type = TALK_HELLO, .value = TALK_VERSION };
	int fd = fcntl(address->agent, F_DUPFD_CLOEXEC, 3);

	transport->state = STATE_GREETING;
	transport->greeted = transport->mute = false;
	transport->since = uv_now(transport->loop);
	uv_timer_start(&transport->clock, tick, CLOCK_MS, CLOCK_MS);
	if (fd >= 0)
		transport->control = watch_new(transport->loop, fd, ready, transport);
	if (!transport->control || talk_send(fd, &hello, NULL, 0) < 0)
		fail(transport, "the agent has gone");
	else
		watch_for(transport->control, UV_READABLE);
}

/* .disconnect */
static void transport_disconnect(struct transport *transport)
{
	if (transport->state == STATE_DOWN)
		return;
	transport->reason = NULL;
	transport->state = STATE_DOWN;
	uv_timer_stop(&transport->clock);
	watch_free(transport->control);
	transport->control = NULL;
	transport->tasks.control = -1;
	carriers_lose(&transport->carriers);
	client_disconnect(&transport->client);
	wake(transport);
}

/* .new */
static int transport_new(struct uv_loop_s *loop, const struct poolfs_values *values,
	const struct transport_events *events, void *data, struct transport **result,
	struct poolfs_err *err)
{
	struct transport *transport = memory_new(sizeof(*transport));

	transport->loop = loop;
	transport->events = events;
	transport->data = data;
	transport->root = agent_keys_directory(values);
	transport->open_handles = 2;
	uv_idle_init(loop, &transport->turn);
	uv_timer_init(loop, &transport->clock);
	transport->turn.data = transport->clock.data = transport;
	transport->tasks.loop = transport->client.loop = transport->carriers.loop = loop;
	transport->tasks.wake = transport->client.wake = transport->carriers.wake = wake;
	transport->tasks.log = transport->client.log = transport->carriers.log = pass_log;
	transport->tasks.data = transport->client.data = transport->carriers.data = transport;
	transport->client.root = transport->root;
	tasks_init(&transport->tasks);
	client_init(&transport->client);
	carriers_init(&transport->carriers);
	*result = transport;
	return 0;
}

/* libuv is done with a handle; the last one frees. */
static void handle_closed(uv_handle_t *handle)
{
	struct transport *transport = handle->data;

	if (--transport->open_handles)
		return;
	free(transport->root);
	free(transport);
}

/* .free */
static void transport_free(struct transport *transport)
{
	if (!transport)
		return;
	watch_free(transport->control);
	transport->control = NULL;
	tasks_done(&transport->tasks);
	client_done(&transport->client);
	carriers_done(&transport->carriers);
	uv_close((uv_handle_t *)&transport->turn, handle_closed);
	uv_close((uv_handle_t *)&transport->clock, handle_closed);
}

/* .run */
static struct transport_run *transport_run(struct transport *transport,
	const struct transport_command *command, const struct transport_run_events *events, void *data)
{
	return tasks_add(&transport->tasks, command, events, data);
}

/* .file */
static void transport_file(struct transport *transport, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	client_file(&transport->client, key, call, done, data);
}

/* .file_cancel */
static void transport_file_cancel(struct transport *transport, uint64_t key)
{
	client_cancel(&transport->client, key);
}

/* .forward_listen */
static struct transport_forward *transport_forward_listen(struct transport *transport,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	return carriers_listen(&transport->carriers, place, events, data);
}

/* .forward_reach */
static struct transport_forward *transport_forward_reach(struct transport *transport,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	return carriers_reach(&transport->carriers, place, events, data);
}

const struct transport_ops agent_transport = {
	.name = "agent",
	.new = transport_new,
	.free = transport_free,
	.connect = transport_connect,
	.disconnect = transport_disconnect,
	.run = transport_run,
	.run_input = tasks_input,
	.run_eof = tasks_eof,
	.run_more = tasks_more,
	.run_signal = tasks_signal,
	.run_await_all = tasks_await_all,
	.run_resize = tasks_resize,
	.run_abandon = tasks_abandon,
	.file = transport_file,
	.file_cancel = transport_file_cancel,
	.forward_listen = transport_forward_listen,
	.forward_reach = transport_forward_reach,
	.forward_carry = carriers_carry,
	.forward_end = carriers_end,
};
