/* SPDX-License-Identifier: MIT */
#include "backends/agent/carriers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "backends/agent/relay.h"
#include "backends/agent/watch.h"
#include "backends/base/memory.h"

/* How many connections of one listener are accepted before others have their turn. */
#define ACCEPT_MAX 64
/* The largest errno (the kernel's MAX_ERRNO). */
#define ERROR_MAX 4095

/* A message to the agent. */
struct carriers_wish {
	TAILQ_ENTRY(carriers_wish) link;
	struct talk_message message;
	bool sent;			/* its answer is waited for */
	struct transport_forward *forward; /* whose; NULL: nobody's any more */
	int fd;				/* CONNECT: the host's socket */
};

/* What is carried. */
struct carriers_pipe {
	TAILQ_ENTRY(carriers_pipe) link;
	struct transport_forward *forward;
	struct relay *relay;
};

struct transport_forward {
	TAILQ_ENTRY(transport_forward) link;
	struct carriers *set;
	const struct transport_forward_events *events;
	void *data;
	struct talk_place place;
	struct watch *listener;		/* NULL: none */
	bool fresh;			/* `listening` is owed */
	uint16_t port;
	int error;			/* `failed` is owed */
	const char *reason;
};

/* Starts empty. */
void carriers_init(struct carriers *carriers)
{
	TAILQ_INIT(&carriers->list);
	TAILQ_INIT(&carriers->wishes);
	TAILQ_INIT(&carriers->pipes);
	carriers->control = -1;
	carriers->buffer = memory_new(RELAY_PIECE);
}

/* Notes a message to the agent. */
static void wish(struct transport_forward *forward, enum talk_type type, int fd)
{
	struct carriers *carriers = forward->set;
	struct carriers_wish *wish = memory_new(sizeof(*wish));

	wish->message.type = type;
	wish->message.id = ++carriers->last_id;
	wish->message.place = forward->place;
	wish->forward = forward;
	wish->fd = fd;
	TAILQ_INSERT_TAIL(&carriers->wishes, wish, link);
	carriers->wake(carriers->data);
}

/* Frees a wish; the host's socket, if it still has one, is reset. */
static void wish_free(struct carriers *carriers, struct carriers_wish *wish)
{
	TAILQ_REMOVE(&carriers->wishes, wish, link);
	if (wish->fd >= 0) {
		sockets_reset(wish->fd);
		carriers->carried--;
	}
	free(wish);
}

/* Frees what a relay was held by. */
static void pipe_free(struct carriers_pipe *pipe)
{
	struct carriers *carriers = pipe->forward->set;

	TAILQ_REMOVE(&carriers->pipes, pipe, link);
	carriers->carried--;
	free(pipe);
}

/* Says why a connection could not be carried, or not any further. */
static void log_failed(struct carriers *carriers, int error)
{
	char text[128];

	snprintf(text, sizeof(text), "a forwarded connection failed: %s", strerror(-error));
	carriers->log(carriers->data, text);
}

/* A relay has ended. */
static void pipe_ended(void *data, int error)
{
	struct carriers_pipe *pipe = data;

	if (error && error != -ECONNRESET && error != -EPIPE)
		log_failed(pipe->forward->set, error);
	pipe_free(pipe);
}

/* Joins two sockets, which count as carried already. */
static void join(struct transport_forward *forward, int host, int machine)
{
	struct carriers *carriers = forward->set;
	struct carriers_pipe *pipe = memory_new(sizeof(*pipe));

	pipe->forward = forward;
	TAILQ_INSERT_TAIL(&carriers->pipes, pipe, link);
	pipe->relay = relay_new(carriers->loop, host, machine, carriers->buffer, pipe_ended, pipe);
	if (!pipe->relay)
		pipe_free(pipe);
}

/* Whether one more may be carried. */
static bool has_room(struct carriers *carriers)
{
	if (carriers->carried < CARRIERS_MAX) {
		carriers->carried++;
		return true;
	}
	if (!carriers->full)
		carriers->log(carriers->data, "forwards: there are as many connections as are allowed");
	carriers->full = true;
	return false;
}

/* Somebody in the machine connected. */
static void accepted(struct transport_forward *forward, int fd)
{
	if (!has_room(forward->set)) {
		sockets_reset(fd);
		return;
	}
	int host = forward->events->dial(forward->data);

	if (host >= 0) {
		join(forward, host, fd);
		return;
	}
	sockets_reset(fd);
	forward->set->carried--;
}

/* The machine's listener has somebody. */
static void listener_ready(void *data)
{
	struct transport_forward *forward = data;

	for (int i = 0; i < ACCEPT_MAX; i++) {
		int fd = accept4(watch_fd(forward->listener), NULL, NULL,
			SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			accepted(forward, fd);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			if (errno == EAGAIN)
				return;
			/* It would only fail again at once. */
			watch_for(forward->listener, 0);
			forward->set->paused = true;
			return;
		}
	}
}

/* Makes a forward. */
static struct transport_forward *forward_new(struct carriers *carriers,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	struct transport_forward *forward = memory_new(sizeof(*forward));

	forward->set = carriers;
	forward->events = events;
	forward->data = data;
	forward->place.family = (uint16_t)place->family;
	forward->place.port = place->port;
	if (place->family == FORWARD_UNIX)
		strncpy(forward->place.path, place->path, sizeof(forward->place.path) - 1);
	TAILQ_INSERT_TAIL(&carriers->list, forward, link);
	return forward;
}

/* Listens. */
struct transport_forward *carriers_listen(struct carriers *carriers,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	struct transport_forward *forward = forward_new(carriers, place, events, data);

	wish(forward, TALK_LISTEN, -1);
	return forward;
}

/* Prepares to reach. */
struct transport_forward *carriers_reach(struct carriers *carriers,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	return forward_new(carriers, place, events, data);
}

/* Carries. */
void carriers_carry(struct transport_forward *forward, int fd)
{
	if (has_room(forward->set))
		wish(forward, TALK_CONNECT, fd);
	else
		sockets_reset(fd);
}

/* Takes a forward away with all that it carries. */
static void forward_free(struct transport_forward *forward)
{
	struct carriers *carriers = forward->set;
	struct carriers_pipe *pipe, *next;

	for (pipe = TAILQ_FIRST(&carriers->pipes); pipe; pipe = next) {
		next = TAILQ_NEXT(pipe, link);
		if (pipe->forward != forward)
			continue;
		relay_free(pipe->relay);
		pipe_free(pipe);
	}
	watch_free(forward->listener);
	TAILQ_REMOVE(&carriers->list, forward, link);
	free(forward);
}

/* Ends. What was asked for and is not there yet is dropped when it comes. */
void carriers_end(struct transport_forward *forward)
{
	struct carriers *carriers = forward->set;
	struct carriers_wish *one, *next;

	for (one = TAILQ_FIRST(&carriers->wishes); one; one = next) {
		next = TAILQ_NEXT(one, link);
		if (one->forward != forward)
			continue;
		one->forward = NULL;
		if (!one->sent)
			wish_free(carriers, one);
	}
	forward_free(forward);
}

/* Whether a descriptor is what was asked for. */
static bool is_fit(int fd, const struct talk_message *wanted)
{
	int listens = 0;
	socklen_t size = sizeof(int);

	return sockets_is_stream(fd, wanted->place.family) &&
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 &&
		listens == (wanted->type == TALK_LISTEN);
}

/* Notes why there is no listener. */
static void fail(struct transport_forward *forward, int error, const char *reason)
{
	forward->error = error;
	forward->reason = reason;
	forward->set->wake(forward->set->data);
}

/* The machine listens. fd becomes the forward's. */
static void take_listener(struct transport_forward *forward, int fd)
{
	forward->port = sockets_port(fd);
	forward->listener = watch_new(forward->set->loop, fd, listener_ready, forward);
	if (!forward->listener) {
		fail(forward, -EIO, "the machine's socket cannot be watched");
		return;
	}
	forward->fresh = true;
	forward->set->wake(forward->set->data);
}

/* The agent's answer, to a wish that is somebody's. */
static void answer(struct carriers_wish *wish, const struct talk_message *message, int fd)
{
	struct transport_forward *forward = wish->forward;
	bool listens = wish->message.type == TALK_LISTEN;
	int host = wish->fd;

	if (fd >= 0 && !is_fit(fd, &wish->message)) {
		forward->set->log(forward->set->data, "forwards: the agent sent no such socket as was wanted");
		close(fd);
		fd = -1;
	}
	int error = message->value < 0 && message->value >= -ERROR_MAX ? message->value : -EPROTO;
	if (fd < 0 && listens)
		fail(forward, error, strerror(-error));
	else if (fd < 0)
		log_failed(forward->set, error);
	if (fd < 0)
		return;
	if (listens) {
		take_listener(forward, fd);
		return;
	}
	wish->fd = -1;
	join(forward, host, fd);
}

/* SOCKET */
void carriers_message(struct carriers *carriers, const struct talk_message *message, int fd)
{
	struct carriers_wish *wish;

	TAILQ_FOREACH(wish, &carriers->wishes, link)
		if (wish->sent && wish->message.id == message->id)
			break;
	if (wish && wish->forward)
		answer(wish, message, fd);
	else if (fd >= 0)
		close(fd);
	if (wish)
		wish_free(carriers, wish);
}

/* Sends what was not sent. */
static void send_wishes(struct carriers *carriers)
{
	struct carriers_wish *wish;

	carriers->blocked = false;
	TAILQ_FOREACH(wish, &carriers->wishes, link) {
		if (wish->sent)
			continue;
		if (carriers->control < 0 || talk_send(carriers->control, &wish->message, NULL, 0) < 0) {
			/* Other errors show at the control socket's next receive. */
			carriers->blocked = carriers->control >= 0;
			return;
		}
		wish->sent = true;
	}
}

/* A callback may end its own forward, and make others. */
static bool tell_one(struct carriers *carriers)
{
	struct transport_forward *forward;

	TAILQ_FOREACH(forward, &carriers->list, link) {
		int error = forward->error;

		if (error) {
			forward->error = 0;
			forward->events->failed(forward->data, error, forward->reason);
			return true;
		}
		if (forward->fresh) {
			forward->fresh = false;
			watch_for(forward->listener, UV_READABLE);
			forward->events->listening(forward->data, forward->port);
			return true;
		}
	}
	return false;
}

/* The turn. */
void carriers_turn(struct carriers *carriers)
{
	while (tell_one(carriers))
		;
	send_wishes(carriers);
}

/* Tries again. */
void carriers_clock(struct carriers *carriers)
{
	struct transport_forward *forward;

	carriers->full = false;
	if (!carriers->paused)
		return;
	carriers->paused = false;
	TAILQ_FOREACH(forward, &carriers->list, link)
		if (forward->listener && !forward->fresh)
			watch_for(forward->listener, UV_READABLE);
}

/* Ends all. */
void carriers_lose(struct carriers *carriers)
{
	struct carriers_wish *wish;
	struct transport_forward *forward;

	while ((wish = TAILQ_FIRST(&carriers->wishes)))
		wish_free(carriers, wish);
	while ((forward = TAILQ_FIRST(&carriers->list)))
		forward_free(forward);
	carriers->control = -1;
}

/* Frees the rest. */
void carriers_done(struct carriers *carriers)
{
	carriers_lose(carriers);
	free(carriers->buffer);
}
