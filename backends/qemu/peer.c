/* SPDX-License-Identifier: MIT */
#include "backends/qemu/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"

/* A socket buffer and more; what comes after it was not written before the end. */
#define DRAIN_MAX (4u << 20)

struct peer {
	uv_pipe_t listener;
	uv_pipe_t stream;
	const struct peer_events *events;
	void *data;
	unsigned open;		/* handles that are not closed yet */
	bool is_connected;
	bool is_closed;		/* `closed` was called */
	bool is_freed;
	char path[108];
	char buffer[65536];
};

/* What peer_write could not write at once. */
struct waiting {
	uv_write_t request;
	char bytes[];
};

/* One of the two handles is closed; the last one takes the memory with it. */
static void on_handle_closed(uv_handle_t *handle)
{
	struct peer *peer = handle->data;

	if (--peer->open == 0)
		free(peer);
}

/* Nobody else may connect. */
static void stop_listening(struct peer *peer)
{
	if (uv_is_closing((uv_handle_t *)&peer->listener))
		return;
	/* libuv unlinks the name too, but not every version does. */
	uv_close((uv_handle_t *)&peer->listener, on_handle_closed);
	unlink(peer->path);
}

/* Tells the owner of the end, once. */
static void closed(struct peer *peer, int code)
{
	if (peer->is_closed)
		return;
	peer->is_closed = true;
	uv_read_stop((uv_stream_t *)&peer->stream);
	peer->events->closed(peer->data, code);
}

/* Lends the one buffer: libuv reads and delivers before it asks again. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct peer *peer = handle->data;

	*buf = uv_buf_init(peer->buffer, sizeof(peer->buffer));
}

/* Bytes came, or the end. */
static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	struct peer *peer = stream->data;

	if (size > 0)
		peer->events->bytes(peer->data, buf->base, (size_t)size);
	else if (size < 0)
		closed(peer, size == UV_EOF || size == UV_ECONNRESET ? 0 : (int)size);
}

/* QEMU connects; a second connection cannot come. */
static void on_connection(uv_stream_t *listener, int status)
{
	struct peer *peer = listener->data;

	if (status < 0 || peer->is_connected || peer->is_closed ||
		uv_accept(listener, (uv_stream_t *)&peer->stream) < 0)
		return;
	peer->is_connected = true;
	stop_listening(peer);
	uv_read_start((uv_stream_t *)&peer->stream, on_alloc, on_read);
	if (peer->events->connected)
		peer->events->connected(peer->data);
}

/* Listens. */
int peer_listen(struct uv_loop_s *loop, const char *path, const struct peer_events *events,
	void *data, struct peer **peer, struct poolfs_err *err)
{
	struct peer *new = memory_new(sizeof(*new));

	new->events = events;
	new->data = data;
	new->open = 2;
	uv_pipe_init(loop, &new->listener, 0);
	uv_pipe_init(loop, &new->stream, 0);
	new->listener.data = new->stream.data = new;
	snprintf(new->path, sizeof(new->path), "%s", path);
	unlink(new->path);
	int result = strlen(path) < sizeof(new->path) ?
		uv_pipe_bind(&new->listener, new->path) : -ENAMETOOLONG;
	if (result == 0)
		result = uv_listen((uv_stream_t *)&new->listener, 1, on_connection);
	if (result < 0) {
		peer_free(new);
		return poolfs_err_set(err, result, "socket %s: %s", path, uv_strerror(result));
	}
	*peer = new;
	return 0;
}

/* What waited is on its way, or lost with the connection. */
static void on_written(uv_write_t *request, int status)
{
	free(container_of(request, struct waiting, request));
}

/* Leaves to libuv what the socket does not take now. */
static void wait_to_write(struct peer *peer, const char *bytes, size_t size)
{
	struct waiting *waiting = memory_new(sizeof(*waiting) + size);
	uv_buf_t buf = uv_buf_init(waiting->bytes, (unsigned)size);

	memcpy(waiting->bytes, bytes, size);
	if (uv_write(&waiting->request, (uv_stream_t *)&peer->stream, &buf, 1, on_written) < 0)
		free(waiting);
}

/* Writes. */
int peer_write(struct peer *peer, const void *bytes, size_t size)
{
	if (peer->is_closed)
		return -EPIPE;
	if (!peer->is_connected)
		return 0;
	size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&peer->stream);
	size_t room = queued < PEER_WAITING_MAX ? PEER_WAITING_MAX - queued : 0;
	if (size > room)
		size = room;
	if (size > 0)
		wait_to_write(peer, bytes, size);
	return (int)size;
}

/* Reads what is there. */
void peer_drain(struct peer *peer)
{
	size_t total = 0;
	uv_os_fd_t fd;
	ssize_t size;

	if (!peer->is_connected || peer->is_closed ||
		uv_fileno((uv_handle_t *)&peer->stream, &fd) < 0)
		return;
	while (!peer->is_closed && total < DRAIN_MAX &&
		(size = read(fd, peer->buffer, sizeof(peer->buffer))) > 0) {
		peer->events->bytes(peer->data, peer->buffer, (size_t)size);
		total += (size_t)size;
	}
}

/* Ends it. */
void peer_free(struct peer *peer)
{
	if (!peer || peer->is_freed)
		return;
	peer->is_freed = peer->is_closed = true;
	stop_listening(peer);
	uv_close((uv_handle_t *)&peer->stream, on_handle_closed);
}
