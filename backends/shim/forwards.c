/* SPDX-License-Identifier: MIT */
#include "backends/shim/forwards.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/protocol/sockets.h"
#include "backends/shim/shim.h"

/* How many connections of one listener are accepted before others have their turn. */
#define ACCEPT_MAX 64

static const char *const direction_names[FORWARD_DIRECTIONS] = {
	[FORWARD_TO_HOST] = "forward",
	[FORWARD_TO_GUEST] = "expose",
};

/* A socket that listens on the host; freed by the close of its handle. */
struct listener {
	uv_poll_t poll;
	struct forward *forward;
	int fd;
	dev_t device;			/* of a unix socket: which file it is */
	ino_t inode;
};

struct forward {
	TAILQ_ENTRY(forward) link;
	struct shim *shim;
	uint64_t id;
	enum forward_direction direction;
	char *name;
	struct sockets_place target, place;	/* place: where it listens; their paths are ours */
	char *paths[2];
	enum forward_state state;
	int error;
	char *text;			/* of the state; may be NULL */
	bool told;			/* the daemon knows the state */
	uint16_t port;			/* where the machine listened last: asked for again */
	struct listener *listener;	/* NULL: none */
	char address[SOCKETS_ADDRESS];	/* of the listener */
	struct transport_forward *carrier; /* NULL while the machine is not connected */
	bool refusing;			/* that dialing fails was logged */
};

/* Prepares an empty set. */
void forwards_init(struct shim *shim)
{
	TAILQ_INIT(&shim->forwards.all);
	uv_timer_init(shim->loop, &shim->forwards.again);
	shim->forwards.again.data = shim;
}

/* The one place where a state changes. format: NULL for no text. */
__attribute__((format(printf, 4, 5)))
static void change(struct forward *forward, enum forward_state state, int error,
	const char *format, ...)
{
	char text[PROTOCOL_FORWARD_TEXT_MAX], clean[PROTOCOL_FORWARD_TEXT_MAX] = "";
	va_list args;

	if (format) {
		va_start(args, format);
		vsnprintf(text, sizeof(text), format, args);
		va_end(args);
		text_escape(clean, sizeof(clean), text);
	}
	free(forward->text);
	forward->text = memory_string(clean);
	forward->state = state;
	forward->error = error;
	forward->told = false;
	if (state == FORWARD_FAILED)
		journal_printf(forward->shim, "%s/%s: %s", direction_names[forward->direction],
			forward->name, clean);
}

/* Sends the state. */
static void tell(struct forward *forward)
{
	struct frame_forward_state frame = { .direction = forward->direction,
		.state = forward->state, .error = forward->error,
		.name_size = (uint32_t)strlen(forward->name) };
	struct text rest = { 0 };

	text_printf(&rest, "%s%s", forward->name, forward->text ? forward->text : "");
	daemon_send(forward->shim, FRAME_FORWARD_STATE, forward->id, &frame, sizeof(frame),
		rest.data, rest.size);
	text_done(&rest);
	forward->told = true;
}

/* Tells. */
void forwards_tell(struct shim *shim, bool all)
{
	struct forward *forward;

	TAILQ_FOREACH(forward, &shim->forwards.all, link)
		if (all || !forward->told)
			tell(forward);
}

/* The machine listens. */
static void carrier_listening(void *data, uint16_t port)
{
	struct forward *forward = data;
	char text[SOCKETS_ADDRESS];

	forward->port = port;
	sockets_text(forward->place.family, port, text);
	change(forward, FORWARD_ACTIVE, 0, "%s", text);
}

static void listen_in_machine(struct forward *forward);

/* The machine does not do it. A port that it chose itself some time ago may be taken by now. */
static void carrier_failed(void *data, int error, const char *reason)
{
	struct forward *forward = data;

	if (forward->direction == FORWARD_TO_HOST && error == -EADDRINUSE && !forward->place.port &&
		forward->port) {
		forward->port = 0;
		forward->shim->setup.transport->forward_end(forward->carrier);
		listen_in_machine(forward);
		return;
	}
	change(forward, FORWARD_FAILED, error, "%s", reason);
}

/* Somebody in the machine connected. */
static int carrier_dial(void *data)
{
	struct forward *forward = data;
	int fd = sockets_connect(&forward->target);

	if (fd < 0 && !forward->refusing)
		journal_printf(forward->shim, "forward/%s: a connection failed: %s", forward->name,
			strerror(-fd));
	forward->refusing = fd < 0;
	return fd;
}

static const struct transport_forward_events carrier_events = {
	.listening = carrier_listening,
	.failed = carrier_failed,
	.dial = carrier_dial,
};

/* Has the machine listen, where it did before. */
static void listen_in_machine(struct forward *forward)
{
	struct sockets_place place = forward->place;

	if (!place.port)
		place.port = forward->port;
	forward->carrier = life_forward_listen(forward->shim, &place, &carrier_events, forward);
}

/* Accepting stops for a moment, where it would only fail again. */
static void accept_later(struct forward *forward);

/* Somebody on the host connects. */
static void listener_ready(uv_poll_t *poll, int status, int events)
{
	struct forward *forward = container_of(poll, struct listener, poll)->forward;

	for (int i = 0; i < ACCEPT_MAX; i++) {
		int fd = accept4(forward->listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno != EAGAIN)
			accept_later(forward);
		if (fd < 0)
			return;
		if (forward->carrier)
			forward->shim->setup.transport->forward_carry(forward->carrier, fd);
		else
			sockets_reset(fd);
	}
}

/* All listeners accept again. */
static void accept_again(uv_timer_t *timer)
{
	struct shim *shim = timer->data;
	struct forward *forward;

	TAILQ_FOREACH(forward, &shim->forwards.all, link)
		if (forward->listener)
			uv_poll_start(&forward->listener->poll, UV_READABLE, listener_ready);
}

/* Stops. */
static void accept_later(struct forward *forward)
{
	journal_printf(forward->shim, "expose/%s: cannot accept a connection: %s", forward->name,
		strerror(errno));
	uv_poll_stop(&forward->listener->poll);
	uv_timer_start(&forward->shim->forwards.again, accept_again, FORWARDS_AGAIN_MS, 0);
}

/* Remembers which file a unix socket is, so that no other one is removed with it. */
static void note_file(struct forward *forward)
{
	struct stat stat;

	if (forward->place.family == FORWARD_UNIX && lstat(forward->place.path, &stat) == 0) {
		forward->listener->device = stat.st_dev;
		forward->listener->inode = stat.st_ino;
	}
}

/* Listens on the host. */
static void listen_on_host(struct forward *forward)
{
	int fd = sockets_listen(&forward->place, forward->address);

	if (fd < 0) {
		change(forward, FORWARD_FAILED, fd, "cannot listen on the host: %s", strerror(-fd));
		return;
	}
	forward->listener = memory_new(sizeof(*forward->listener));
	forward->listener->forward = forward;
	forward->listener->fd = fd;
	note_file(forward);
	uv_poll_init(forward->shim->loop, &forward->listener->poll, fd);
	uv_poll_start(&forward->listener->poll, UV_READABLE, listener_ready);
}

/* The loop has forgotten the listener. */
static void listener_closed(uv_handle_t *handle)
{
	free(container_of((uv_poll_t *)handle, struct listener, poll));
}

/* Listens no more. */
static void close_listener(struct forward *forward)
{
	struct listener *listener = forward->listener;
	struct stat stat;

	if (!listener)
		return;
	forward->listener = NULL;
	uv_close((uv_handle_t *)&listener->poll, listener_closed);
	close(listener->fd);
	if (listener->inode && lstat(forward->place.path, &stat) == 0 &&
		stat.st_dev == listener->device && stat.st_ino == listener->inode)
		unlink(forward->place.path);
}

/* Sets one up, while the machine is connected. */
static void set_up(struct forward *forward)
{
	if (forward->direction == FORWARD_TO_HOST) {
		listen_in_machine(forward);
		return;
	}
	/* Where the host refused to listen before, that may have changed. */
	if (!forward->listener)
		listen_on_host(forward);
	if (!forward->listener)
		return;
	forward->carrier = life_forward_reach(forward->shim, &forward->target, &carrier_events,
		forward);
	change(forward, FORWARD_ACTIVE, 0, "%s", forward->address);
}

/* Frees one. */
static void forward_free(struct forward *forward)
{
	struct forwards_set *set = &forward->shim->forwards;

	if (forward->carrier)
		forward->shim->setup.transport->forward_end(forward->carrier);
	close_listener(forward);
	TAILQ_REMOVE(&set->all, forward, link);
	set->count--;
	free(forward->paths[0]);
	free(forward->paths[1]);
	free(forward->name);
	free(forward->text);
	free(forward);
}

/* Finds one. */
static struct forward *find(struct shim *shim, uint64_t id)
{
	struct forward *forward;

	TAILQ_FOREACH(forward, &shim->forwards.all, link)
		if (forward->id == id)
			return forward;
	return NULL;
}

/* Whether an end of a forward is as protocol.h wants it. */
static bool end_is_right(const struct forward_end *end, bool listens)
{
	if (end->family >= FORWARD_FAMILIES || end->path_size > PROTOCOL_FORWARD_PATH_MAX)
		return false;
	if (end->family == FORWARD_UNIX)
		return end->path_size > 0 && !end->port;
	return !end->path_size && (end->port || listens);
}

/* Whether a payload is. */
static bool frame_is_right(const struct frame_forward *frame, size_t size)
{
	const char *rest = (const char *)(frame + 1);

	return frame->direction < FORWARD_DIRECTIONS && frame->name_size &&
	       frame->name_size <= PROTOCOL_FORWARD_NAME_MAX && end_is_right(&frame->target, false) &&
	       end_is_right(&frame->listen, true) &&
	       size - sizeof(*frame) == (size_t)frame->name_size + frame->target.path_size +
						frame->listen.path_size &&
	       !memchr(rest, '\0', size - sizeof(*frame));
}

/* Takes a place over; its path stands at *bytes. */
static struct sockets_place take_place(const struct forward_end *end, const char **bytes,
	char **path)
{
	if (end->path_size)
		*path = memory_format("%.*s", (int)end->path_size, *bytes);
	*bytes += end->path_size;
	return (struct sockets_place){ .family = end->family, .port = end->port, .path = *path };
}

/* FRAME_FORWARD. */
int forwards_add(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	const struct frame_forward *frame = payload;
	const char *bytes = (const char *)(frame + 1);

	if (!frame_is_right(frame, size) || find(shim, id) ||
		shim->forwards.count == PROTOCOL_FORWARDS_MAX)
		return -EPROTO;
	struct forward *forward = memory_new(sizeof(*forward));
	forward->shim = shim;
	forward->id = id;
	forward->direction = frame->direction;
	forward->name = memory_format("%.*s", (int)frame->name_size, bytes);
	bytes += frame->name_size;
	forward->target = take_place(&frame->target, &bytes, &forward->paths[0]);
	forward->place = take_place(&frame->listen, &bytes, &forward->paths[1]);
	TAILQ_INSERT_TAIL(&shim->forwards.all, forward, link);
	shim->forwards.count++;
	if (!shim->setup.transport->forward_listen)
		change(forward, FORWARD_FAILED, -EOPNOTSUPP, "this kind of machine has no forwards");
	else if (forward->direction == FORWARD_TO_HOST && forward->place.family == FORWARD_UNIX)
		change(forward, FORWARD_FAILED, -EOPNOTSUPP, "the machine can listen at ports only");
	else if (life_is_up(shim))
		set_up(forward);
	else if (forward->direction == FORWARD_TO_GUEST)
		listen_on_host(forward);
	return 0;
}

/* FRAME_FORWARD_END. */
int forwards_remove(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	struct forward *forward = find(shim, id);

	if (forward)
		forward_free(forward);
	return 0;
}

/* The machine is there. */
void forwards_up(struct shim *shim)
{
	struct forward *forward;

	TAILQ_FOREACH(forward, &shim->forwards.all, link)
		if (forward->error != -EOPNOTSUPP)
			set_up(forward);
}

/* The machine is gone, for now or for ever. */
void forwards_down(struct shim *shim, const char *reason)
{
	struct forward *forward;

	TAILQ_FOREACH(forward, &shim->forwards.all, link) {
		forward->carrier = NULL;
		if (forward->state == FORWARD_ACTIVE)
			change(forward, FORWARD_PENDING, 0, "%s", reason);
	}
}

/* Frees all. */
void forwards_close(struct shim *shim)
{
	struct forward *forward;

	while ((forward = TAILQ_FIRST(&shim->forwards.all))) {
		forward->carrier = NULL;
		forward_free(forward);
	}
	uv_close((uv_handle_t *)&shim->forwards.again, NULL);
}
