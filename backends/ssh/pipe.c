/* SPDX-License-Identifier: MIT */
#include "backends/ssh/pipe.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/protocol/sockets.h"
#include "backends/ssh/bounds.h"

/* What one direction carries before others have their turn. */
#define PIPE_PORTION (4 * FORWARD_PIECE)

/* The loop has forgotten a socket. */
static void socket_forgotten(uv_handle_t *handle)
{
	free(container_of((uv_poll_t *)handle, struct pipe_socket, poll));
}

/* Takes the socket off the loop and the pipe. */
static int take_socket(struct pipe *pipe)
{
	struct pipe_socket *socket = pipe->socket;

	pipe->socket = NULL;
	uv_close((uv_handle_t *)&socket->poll, socket_forgotten);
	return socket->fd;
}

/* Closes the socket; what was sent before still arrives. */
static void close_socket(struct pipe *pipe)
{
	close(take_socket(pipe));
}

/* The machine closed while the socket's peer did not: it is told so, but not at the cost of what it
 * has not received yet. */
static void break_socket(struct pipe *pipe)
{
	int fd = take_socket(pipe), unsent = 0;

	if (ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent > 0)
		close(fd);
	else
		sockets_reset(fd);
}

/* Something happened to the socket. A broken one is ready for everything: the call tells why. */
static void socket_ready(uv_poll_t *poll, int status, int events)
{
	struct pipe_socket *socket = container_of(poll, struct pipe_socket, poll);

	if (status < 0) {
		uv_poll_stop(poll);
		socket->awaited = 0;
		events = UV_READABLE | UV_WRITABLE;
	}
	socket->ready |= events;
	session_wake(socket->pipe->forwards->session);
}

/* Makes a pipe. A socket that the loop cannot have is closed. */
static struct pipe *pipe_new(struct transport_forward *forward, struct forwards *forwards, int fd,
	enum pipe_step step)
{
	struct pipe *pipe = memory_new(sizeof(*pipe));

	pipe->forwards = forwards;
	pipe->forward = forward;
	pipe->step = step;
	TAILQ_INSERT_TAIL(&forwards->pipes, pipe, link);
	forwards->count++;
	if (fd < 0)
		return pipe;
	pipe->socket = memory_new(sizeof(*pipe->socket));
	pipe->socket->pipe = pipe;
	pipe->socket->fd = fd;
	if (uv_poll_init(forwards->loop, &pipe->socket->poll, fd) < 0) {
		free(pipe->socket);
		pipe->socket = NULL;
		sockets_reset(fd);
	}
	return pipe;
}

/* Frees. */
void pipe_free(struct pipe *pipe)
{
	struct forwards *forwards = pipe->forwards;

	TAILQ_REMOVE(&forwards->pipes, pipe, link);
	forwards->count--;
	if (forwards->relief == pipe)
		forwards->relief = NULL;
	if (pipe->socket)
		sockets_reset(take_socket(pipe));
	text_done(&pipe->request.message);
	text_done(&pipe->out_kept);
	text_done(&pipe->in_kept);
	free(pipe);
}

/* Only the channel is left to be closed. */
static void begin_close(struct pipe *pipe)
{
	pipe->forward = NULL;
	pipe->step = PIPE_CLOSING;
	text_done(&pipe->out_kept);
	text_done(&pipe->in_kept);
}

/* Ends it from our side. A channel on its way here is closed when it has come. */
void pipe_reset(struct pipe *pipe)
{
	if (pipe->socket)
		sockets_reset(take_socket(pipe));
	if (pipe->step == PIPE_OPENING)
		pipe->forward = NULL;
	else if (pipe->step != PIPE_GONE)
		begin_close(pipe);
	session_wake(pipe->forwards->session);
}

/* Both ends are there. */
static void begin_carry(struct pipe *pipe)
{
	pipe->step = PIPE_CARRYING;
	pipe->socket->ready = UV_READABLE | UV_WRITABLE;
	/* What a server may send beside the data would else stay in libssh2. */
	libssh2_channel_handle_extended_data2(pipe->channel, LIBSSH2_CHANNEL_EXTENDED_DATA_MERGE);
	forward_made(pipe->forward);
}

/* The machine connected. */
void pipe_accept(struct transport_forward *forward, struct forwards *forwards,
	LIBSSH2_CHANNEL *channel, int fd)
{
	struct pipe *pipe = pipe_new(forward, forwards, fd, PIPE_CONNECTING);

	pipe->channel = channel;
	if (!pipe->socket)
		begin_close(pipe);
}

/* The machine's server does not open the channel. Some reasons are about all channels. */
static void refused(struct pipe *pipe, const char *why)
{
	bool local = strcmp(pipe->request.type, "direct-tcpip") != 0;

	if (strstr(why, "unknown channel type"))
		forward_fail(pipe->forward, -EOPNOTSUPP, "the machine's SSH server cannot connect to "
			"%s", local ? "unix sockets" : "ports: it was built without");
	else if (strstr(why, "prohibited"))
		forward_fail(pipe->forward, -EACCES, "the machine's SSH server does not allow "
			"forwarding (in OpenSSH: AllowTcpForwarding, PermitOpen)");
	else
		forward_missed(pipe->forward, why);
}

/* The channel came, or was refused. */
static void opened(void *data, LIBSSH2_CHANNEL *channel, const char *why)
{
	struct pipe *pipe = data;

	pipe->channel = channel;
	text_done(&pipe->request.message);
	if (channel && pipe->socket) {
		begin_carry(pipe);
	} else if (channel) {
		begin_close(pipe);
	} else {
		if (pipe->forward)
			refused(pipe, why);
		pipe->step = PIPE_GONE;
	}
}

/* Asks for the channel. */
void pipe_open(struct transport_forward *forward, struct forwards *forwards, int fd,
	const char *type, struct text *message)
{
	struct pipe *pipe = pipe_new(forward, forwards, fd, PIPE_OPENING);

	pipe->request = (struct channels_request){ .type = type, .message = *message,
		.window = WINDOW_CARRIED, .done = opened, .data = pipe };
	channels_request(forwards->channels, &pipe->request);
}

/* The socket is connected, or could not be. */
static bool turn_connecting(struct pipe *pipe)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (!(pipe->socket->ready & UV_WRITABLE))
		return false;
	if (getsockopt(pipe->socket->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (!error) {
		begin_carry(pipe);
		return true;
	}
	forward_missed(pipe->forward, strerror(error));
	pipe_reset(pipe);
	return true;
}

/* Gives the channel bytes; how many it took. It takes none while keys are exchanged. */
static size_t write_channel(struct pipe *pipe, const char *bytes, size_t size)
{
	size_t done = 0;

	while (done < size) {
		int result = session_result(pipe->forwards->session,
			libssh2_channel_write(pipe->channel, bytes + done, size - done));

		if (result == -EIO)
			return size; /* the machine closed it, which is seen by the other direction */
		if (result <= 0)
			break;
		done += (size_t)result;
	}
	return done;
}

/* Reads a piece from the socket, for which the channel has room. 0 when there is none. */
static size_t read_socket(struct pipe *pipe, size_t room)
{
	struct pipe_socket *socket = pipe->socket;
	unsigned char *buffer = pipe->forwards->buffer;
	ssize_t got = recv(socket->fd, buffer, room < FORWARD_PIECE ? room : FORWARD_PIECE,
		MSG_DONTWAIT);

	if (got > 0) {
		size_t taken = write_channel(pipe, (char *)buffer, (size_t)got);

		if (taken < (size_t)got)
			text_append(&pipe->out_kept, buffer + taken, (size_t)got - taken);
		return (size_t)got;
	}
	if (got == 0)
		pipe->out = PIPE_ENDING;
	else if (errno == EAGAIN)
		socket->ready &= ~UV_READABLE;
	else if (errno != EINTR)
		pipe_reset(pipe);
	return 0;
}

/* Passes the end of the socket's bytes on. */
static void end_out(struct pipe *pipe)
{
	int result = session_result(pipe->forwards->session,
		libssh2_channel_send_eof(pipe->channel));

	if (result != -EAGAIN)
		pipe->out = PIPE_ENDED;
}

/* Whether the wire wants more. What it does not take at once, it wakes us for. */
static bool has_room(struct wire *wire)
{
	if (wire_queued(wire) >= LIMIT_FEED)
		wire_flush(wire);
	return wire_queued(wire) < LIMIT_FEED;
}

/* From the socket to the machine. */
static bool turn_out(struct pipe *pipe)
{
	struct wire *wire = pipe->forwards->session->wire;
	size_t room, carried = 0, got = 1;

	if (pipe->out_kept.size) {
		size_t taken = write_channel(pipe, pipe->out_kept.data, pipe->out_kept.size);

		text_consume(&pipe->out_kept, taken);
		carried += taken;
	}
	while (got && pipe->out == PIPE_FLOWS && !pipe->out_kept.size && carried < PIPE_PORTION &&
		pipe->socket->ready & UV_READABLE && has_room(wire) &&
		(room = libssh2_channel_window_write(pipe->channel))) {
		got = read_socket(pipe, room);
		carried += got;
		if (pipe->step != PIPE_CARRYING)
			return true;
	}
	if (pipe->out == PIPE_ENDING && !pipe->out_kept.size)
		end_out(pipe);
	return carried > 0;
}

/* Gives the socket bytes; how many it took. One that takes none any more still has its say. */
static size_t write_socket(struct pipe *pipe, const char *bytes, size_t size)
{
	ssize_t sent = send(pipe->socket->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent >= 0)
		return (size_t)sent;
	if (errno == EAGAIN) {
		pipe->socket->ready &= ~UV_WRITABLE;
		return 0;
	}
	if (errno == EINTR)
		return 0;
	pipe->in = PIPE_DROPS;
	pipe->socket->ready |= UV_READABLE;
	return size;
}

/* Passes a piece from the channel on; how much there was. */
static size_t read_channel(struct pipe *pipe)
{
	char *buffer = (char *)pipe->forwards->buffer;
	int got = session_result(pipe->forwards->session,
		libssh2_channel_read(pipe->channel, buffer, FORWARD_PIECE));

	if (got <= 0)
		return 0;
	size_t size = (size_t)got, taken = size;
	if (pipe->in == PIPE_FLOWS)
		taken = write_socket(pipe, buffer, size);
	if (taken < size)
		text_append(&pipe->in_kept, buffer + taken, size - taken);
	return size;
}

/* Passes the end of the machine's bytes on. */
static void end_in(struct pipe *pipe)
{
	if (pipe->in == PIPE_FLOWS)
		shutdown(pipe->socket->fd, SHUT_WR);
	pipe->in = PIPE_ENDED;
}

/* From the machine to the socket. */
static bool turn_in(struct pipe *pipe)
{
	size_t carried = 0, got = 1;

	if (pipe->in == PIPE_ENDED)
		return false;
	if (pipe->in_kept.size && pipe->socket->ready & UV_WRITABLE) {
		size_t taken = write_socket(pipe, pipe->in_kept.data, pipe->in_kept.size);

		text_consume(&pipe->in_kept, taken);
		carried += taken;
	}
	while (got && !pipe->in_kept.size && carried < PIPE_PORTION &&
		!pipe->forwards->session->lost &&
		(pipe->in == PIPE_DROPS || pipe->socket->ready & UV_WRITABLE)) {
		got = read_channel(pipe);
		carried += got;
	}
	if (!got && !pipe->forwards->session->lost && libssh2_channel_eof(pipe->channel) == 1)
		end_in(pipe);
	return carried > 0;
}

/* Ends it when there is nothing more to carry. */
static void finish(struct pipe *pipe)
{
	bool ended = pipe->out == PIPE_ENDED;

	if (ended && (pipe->in == PIPE_ENDED || pipe->in == PIPE_DROPS)) {
		close_socket(pipe);
		begin_close(pipe);
	} else if (pipe->in == PIPE_ENDED &&
		session_result(pipe->forwards->session,
			libssh2_channel_wait_closed(pipe->channel)) >= 0) {
		break_socket(pipe);
		begin_close(pipe);
	}
}

/* Carries both ways. */
static bool turn_carrying(struct pipe *pipe)
{
	bool moved = turn_in(pipe);

	if (!pipe->forwards->session->lost)
		moved |= turn_out(pipe);
	if (pipe->step == PIPE_CARRYING && !pipe->forwards->session->lost)
		finish(pipe);
	return moved || pipe->step != PIPE_CARRYING;
}

/* Closes the channel. */
static bool turn_closing(struct pipe *pipe)
{
	int result = session_result(pipe->forwards->session, libssh2_channel_free(pipe->channel));

	if (result == -EAGAIN || pipe->forwards->session->lost)
		return false;
	pipe->channel = NULL;
	pipe->step = PIPE_GONE;
	return true;
}

/* Moves on. */
bool pipe_turn(struct pipe *pipe)
{
	switch (pipe->step) {
	case PIPE_CONNECTING:
		return turn_connecting(pipe);
	case PIPE_CARRYING:
		return turn_carrying(pipe);
	case PIPE_CLOSING:
		return turn_closing(pipe);
	default:
		return false;
	}
}

/* What is to be told of the socket. */
static int missing(const struct pipe *pipe)
{
	int events = 0;

	if (pipe->step == PIPE_CONNECTING)
		return UV_WRITABLE;
	if (pipe->step != PIPE_CARRYING)
		return 0;
	if (pipe->out == PIPE_FLOWS)
		events |= UV_READABLE;
	if (pipe->in_kept.size)
		events |= UV_WRITABLE;
	return events & ~pipe->socket->ready;
}

/* Arms. */
void pipe_wait(struct pipe *pipe)
{
	struct pipe_socket *socket = pipe->socket;

	if (!socket)
		return;
	int events = missing(pipe);
	if (events == socket->awaited)
		return;
	socket->awaited = events;
	if (events)
		uv_poll_start(&socket->poll, events, socket_ready);
	else
		uv_poll_stop(&socket->poll);
}

/* Looks. A peer that only ended its bytes is no broken one. */
void pipe_look(struct pipe *pipe)
{
	if (!pipe->socket || pipe->socket->awaited || pipe->step == PIPE_CONNECTING)
		return;
	struct pollfd look = { .fd = pipe->socket->fd };
	if (poll(&look, 1, 0) > 0 && look.revents & POLLERR)
		pipe_reset(pipe);
}
