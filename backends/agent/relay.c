/* SPDX-License-Identifier: MIT */
#include "backends/agent/relay.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "backends/agent/watch.h"
#include "backends/base/memory.h"
#include "backends/protocol/sockets.h"

/* Pieces that one direction carries before others have their turn. */
#define TURNS 16

/* One socket, and what waits to be sent to it. */
struct side {
	struct watch *watch;
	char *waiting;		/* NULL: nothing */
	size_t size, sent;
	bool ended;		/* nothing more comes from it */
	bool shut;		/* nothing more goes to it */
};

struct relay {
	struct side sides[2];
	char *buffer;
	void (*ended)(void *data, int error);
	void *data;
};

/* Keeps what a socket did not take. */
static void keep(struct side *side, const char *bytes, size_t size)
{
	side->waiting = memory_new(size);
	memcpy(side->waiting, bytes, size);
	side->size = size;
	side->sent = 0;
}

/* Sends as much as is taken: how much, or a negative errno. */
static ssize_t send_some(struct side *to, const char *bytes, size_t size)
{
	size_t sent = 0;

	while (sent < size) {
		ssize_t count = send(watch_fd(to->watch), bytes + sent, size - sent, MSG_NOSIGNAL);

		if (count < 0 && errno == EAGAIN)
			break;
		if (count < 0 && errno != EINTR)
			return -errno;
		if (count > 0)
			sent += (size_t)count;
	}
	return (ssize_t)sent;
}

/* Sends what waits. */
static int flush(struct side *to)
{
	if (!to->waiting)
		return 0;
	ssize_t count = send_some(to, to->waiting + to->sent, to->size - to->sent);
	if (count < 0)
		return (int)count;
	to->sent += (size_t)count;
	if (to->sent == to->size) {
		free(to->waiting);
		to->waiting = NULL;
	}
	return 0;
}

/* Carries one piece. 1: there may be more, 0: not now, or a negative errno. */
static int carry(struct side *from, struct side *to, char *buffer)
{
	ssize_t count = recv(watch_fd(from->watch), buffer, RELAY_PIECE, 0);

	if (count < 0)
		return errno == EINTR ? 1 : errno == EAGAIN ? 0 : -errno;
	if (count == 0) {
		from->ended = true;
		return 0;
	}
	ssize_t sent = send_some(to, buffer, (size_t)count);
	if (sent < 0)
		return (int)sent;
	if (sent == count)
		return 1;
	keep(to, buffer + sent, (size_t)(count - sent));
	return 0;
}

/* Carries one direction on. */
static int move(struct side *from, struct side *to, char *buffer)
{
	int result = flush(to);

	for (int i = 0; i < TURNS && result >= 0 && !to->waiting && !from->ended; i++)
		if ((result = carry(from, to, buffer)) == 0)
			break;
	if (result >= 0 && from->ended && !to->waiting && !to->shut) {
		to->shut = true;
		shutdown(watch_fd(to->watch), SHUT_WR);
	}
	return result;
}

/* What is waited for at one socket. */
static void wait_for(struct side *side, const struct side *other)
{
	watch_for(side->watch, (!side->ended && !other->waiting ? UV_READABLE : 0) |
		(side->waiting ? UV_WRITABLE : 0));
}

/* Closes one. */
static void close_side(struct side *side, bool reset)
{
	if (reset && side->watch)
		sockets_linger(watch_fd(side->watch));
	watch_free(side->watch);
	free(side->waiting);
}

/* Closes and frees. */
static void end(struct relay *relay, bool reset)
{
	close_side(&relay->sides[0], reset);
	close_side(&relay->sides[1], reset);
	free(relay);
}

/* Resets. */
void relay_free(struct relay *relay)
{
	if (relay)
		end(relay, true);
}

/* A socket has something, or room. */
static void ready(void *data)
{
	struct relay *relay = data;
	struct side *first = &relay->sides[0], *second = &relay->sides[1];
	void (*ended)(void *data, int error) = relay->ended;
	void *to = relay->data;

	int result = move(first, second, relay->buffer);
	if (result >= 0)
		result = move(second, first, relay->buffer);
	if (result < 0 || (first->shut && second->shut)) {
		end(relay, result < 0);
		ended(to, result < 0 ? result : 0);
		return;
	}
	wait_for(first, second);
	wait_for(second, first);
}

/* Joins. */
struct relay *relay_new(struct uv_loop_s *loop, int first, int second, char *buffer,
	void (*ended)(void *data, int error), void *data)
{
	struct relay *relay = memory_new(sizeof(*relay));

	relay->buffer = buffer;
	relay->ended = ended;
	relay->data = data;
	relay->sides[0].watch = watch_new(loop, first, ready, relay);
	relay->sides[1].watch = watch_new(loop, second, ready, relay);
	if (!relay->sides[0].watch || !relay->sides[1].watch) {
		end(relay, true);
		return NULL;
	}
	wait_for(&relay->sides[0], &relay->sides[1]);
	wait_for(&relay->sides[1], &relay->sides[0]);
	return relay;
}
