/* SPDX-License-Identifier: MIT */
#include "backends/ssh/wire.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/process/child.h"
#include "backends/ssh/bounds.h"

#define FLUSH_SIZE 262144u

/* A program whose stream has ended gets so long to end, in milliseconds. */
#define PROXY_END 500u
/* The last bytes that are kept of what it says. */
#define PROXY_SAID 400u

/* What carries the bytes. */
union socket {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct wire {
	uv_loop_t *loop;
	const struct wire_events *events;
	void *data;
	uv_getaddrinfo_t resolve;
	char problem[128];		/* what it is when the name is not known */
	struct addrinfo *addresses;	/* ours; freed with uv_freeaddrinfo */
	const struct addrinfo *next;	/* to be tried next */
	union socket *socket;		/* NULL when there is none; freed by its close callback */
	struct child *proxy;		/* the program that carries it, until it was reaped; or NULL */
	const char *program;		/* its name; NULL: there is none */
	struct text said;		/* what that wrote to standard error, PROXY_SAID at most */
	uv_connect_t connect;
	uv_write_t write;
	struct text out;		/* to be written next */
	struct text writing;		/* given to uv_write; empty when none is under way */
	unsigned char *in;		/* LIMIT_INPUT bytes, head..tail are filled */
	size_t head, tail;
	size_t allowed;
	uint64_t heard;
	bool reading;
	bool leaving;			/* the stream has ended, and the program's end is awaited */
	bool ended;			/* closed was called */
	bool freed;
	unsigned pending; /* callbacks of libuv that are to come: they need this object */
};

static void try_next(struct wire *wire);

/* One callback of libuv came; the last one after wire_free frees. */
static void settle(struct wire *wire)
{
	wire->pending--;
	if (!wire->freed || wire->pending)
		return;
	if (wire->addresses)
		uv_freeaddrinfo(wire->addresses);
	text_done(&wire->out);
	text_done(&wire->said);
	text_done(&wire->writing);
	free(wire->in);
	free(wire);
}

/* libuv is done with a socket. */
static void socket_closed(uv_handle_t *handle)
{
	struct wire *wire = handle->data;

	free(handle);
	settle(wire);
}

/* Closes the present socket. */
static void drop_socket(struct wire *wire)
{
	if (!wire->socket)
		return;
	uv_close(&wire->socket->handle, socket_closed);
	wire->socket = NULL;
	wire->reading = false;
}

/* Reports the end, once. */
static void end(struct wire *wire, const char *what, int error)
{
	char reason[512];

	if (wire->ended || wire->freed)
		return;
	wire->ended = true;
	if (error)
		snprintf(reason, sizeof(reason), "%s: %s", what, uv_strerror(error));
	else
		snprintf(reason, sizeof(reason), "%s", what);
	drop_socket(wire);
	wire->events->closed(wire->data, reason);
}

/* The stream is broken, or at its end. Where a program carries it, that knows why, and says so before it
 * exits. */
static void broken(struct wire *wire, const char *what, int error)
{
	if (!wire->proxy) {
		end(wire, what, error);
		return;
	}
	if (wire->reading)
		uv_read_stop(&wire->socket->stream);
	wire->reading = false;
	wire->leaving = true;
	child_stop(wire->proxy, SIGTERM, PROXY_END);
}

/* Offers the room behind what is there. */
static void input_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct wire *wire = handle->data;

	if (wire->head) {
		memmove(wire->in, wire->in + wire->head, wire->tail - wire->head);
		wire->tail -= wire->head;
		wire->head = 0;
	}
	*buffer = uv_buf_init((char *)wire->in + wire->tail, (unsigned)(LIMIT_INPUT - wire->tail));
}

/* Bytes arrived. */
static void input_came(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct wire *wire = stream->data;

	if (size < 0) {
		if (size == UV_EOF)
			broken(wire, "the machine closed the connection", 0);
		else
			broken(wire, "the connection broke", (int)size);
		return;
	}
	wire->tail += (size_t)size;
	wire->heard = uv_now(wire->loop);
	if (wire->tail == LIMIT_INPUT) {
		uv_read_stop(stream);
		wire->reading = false;
	}
	if (size)
		wire->events->input(wire->data);
}

/* Reads on when it had stopped for lack of room. */
static void read_on(struct wire *wire)
{
	if (wire->reading || wire->leaving || !wire->socket || wire_waiting(wire) > LIMIT_INPUT / 2)
		return;
	int error = uv_read_start(&wire->socket->stream, input_room, input_came);

	if (error)
		end(wire, "cannot read from the connection", error);
	else
		wire->reading = true;
}

/* One address answered, or did not. */
static void connect_done(uv_connect_t *request, int status)
{
	struct wire *wire = request->data;

	if (!wire->freed && status < 0) {
		drop_socket(wire);
		if (wire->next)
			try_next(wire);
		else
			end(wire, "cannot connect", status);
	} else if (!wire->freed) {
		uv_tcp_nodelay(&wire->socket->tcp, 1);
		wire->heard = uv_now(wire->loop);
		read_on(wire);
		if (!wire->ended)
			wire->events->connected(wire->data);
	}
	settle(wire);
}

/* Connects to the next address. */
static void try_next(struct wire *wire)
{
	const struct addrinfo *address = wire->next;

	wire->next = address->ai_next;
	wire->socket = memory_new(sizeof(*wire->socket));
	uv_tcp_init(wire->loop, &wire->socket->tcp);
	wire->socket->handle.data = wire;
	wire->connect.data = wire;
	wire->pending++;
	int error = uv_tcp_connect(&wire->connect, &wire->socket->tcp, address->ai_addr,
		connect_done);

	if (!error) {
		wire->pending++;
		return;
	}
	drop_socket(wire);
	if (wire->next)
		try_next(wire);
	else
		end(wire, "cannot connect", error);
}

/* The name is known, or not. */
static void resolve_done(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
	struct wire *wire = request->data;

	wire->addresses = addresses;
	wire->next = addresses;
	if (!wire->freed && (status < 0 || !addresses)) {
		end(wire, wire->problem, status ? status : UV_EAI_NONAME);
	} else if (!wire->freed) {
		wire->events->resolved(wire->data);
		try_next(wire);
	}
	settle(wire);
}

/* The program said something, for people. */
static void proxy_says(void *data, const void *bytes, size_t size)
{
	struct wire *wire = data;

	text_append(&wire->said, bytes, size);
	if (wire->said.size > PROXY_SAID)
		text_consume(&wire->said, wire->said.size - PROXY_SAID);
}

/* The program ended, and with it the connection. What it said last says why. */
static void proxy_exited(void *data, int status, int signal)
{
	struct wire *wire = data;
	struct text text = { 0 };
	char how[64];

	child_free(wire->proxy);
	wire->proxy = NULL;
	child_describe(how, sizeof(how), status, signal);
	text_printf(&text, "%s on the way to the machine %s", wire->program, how);
	for (char *line = wire->said.data; line && *line; line += strspn(line, "\r\n")) {
		size_t length = strcspn(line, "\r\n");

		text_printf(&text, "; %.*s", (int)length, line);
		line += length;
	}
	end(wire, text.data, 0);
	text_done(&text);
}

/* libuv is done with a socket that no wire came to use. */
static void unused_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Reads from a stream socket, which becomes the wire's or is closed. Tells an error to the caller alone: the
 * wire's owner has no wire yet, that could report its end. */
static int open_stream(struct wire *wire, int fd)
{
	union socket *new = memory_new(sizeof(*new));

	uv_pipe_init(wire->loop, &new->pipe, 0);
	new->handle.data = wire;
	int error = uv_pipe_open(&new->pipe, fd);
	if (error)
		close(fd);
	else
		error = uv_read_start(&new->stream, input_room, input_came);
	if (error) {
		uv_close(&new->handle, unused_closed);
		return error;
	}
	wire->socket = new;
	wire->pending++;
	wire->reading = true;
	wire->heard = uv_now(wire->loop);
	return 0;
}

/* Starts the program, with one end of a stream as its standard input and output. */
static int start_proxy(struct wire *wire, const struct wire_target *target)
{
	struct child_options options = { .argv = target->proxy,
		.environment = target->proxy_environment, .output = proxy_says,
		.exited = proxy_exited, .data = wire };
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	options.stream = ends[1];
	wire->program = target->proxy[0];
	int result = child_start(wire->loop, &options, &wire->proxy, NULL);
	close(ends[1]);
	if (result < 0) {
		close(ends[0]);
		return result;
	}
	result = open_stream(wire, ends[0]);
	if (result < 0)
		child_free(wire->proxy);
	return result;
}

/* Starts with the look-up, unless a program does all. */
int wire_new(struct uv_loop_s *loop, const struct wire_target *target,
	const struct wire_events *events, void *data, struct wire **result)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct wire *wire = memory_new(sizeof(*wire));
	char service[8];
	int error;

	wire->loop = loop;
	wire->events = events;
	wire->data = data;
	wire->in = memory_new(LIMIT_INPUT);
	wire->resolve.data = wire;
	snprintf(wire->problem, sizeof(wire->problem), "cannot resolve %s", target->host);
	snprintf(service, sizeof(service), "%u", target->port);
	if (target->proxy)
		error = start_proxy(wire, target);
	else
		error = uv_getaddrinfo(loop, &wire->resolve, resolve_done, target->host, service,
			&hints);
	if (error) {
		free(wire->in);
		free(wire);
		return error;
	}
	wire->pending += !target->proxy;
	*result = wire;
	return 0;
}

/* Ends it. */
void wire_free(struct wire *wire)
{
	if (!wire)
		return;
	wire->freed = true;
	wire->pending++;
	if (!wire->program)
		uv_cancel((uv_req_t *)&wire->resolve);
	child_free(wire->proxy);
	wire->proxy = NULL;
	drop_socket(wire);
	settle(wire);
}

/* The socket's descriptor. */
int wire_fd(const struct wire *wire)
{
	uv_os_fd_t fd = -1;

	if (wire->socket)
		uv_fileno(&wire->socket->handle, &fd);
	return fd;
}

/* Hands out received bytes. */
ssize_t wire_receive(struct wire *wire, void *data, size_t size)
{
	size_t there = wire_waiting(wire);

	if (!there)
		return wire->socket ? -EAGAIN : -ECONNRESET;
	if (!wire->allowed)
		return -EAGAIN;
	if (size > there)
		size = there;
	if (size > wire->allowed)
		size = wire->allowed;
	memcpy(data, wire->in + wire->head, size);
	wire->head += size;
	wire->allowed -= size;
	if (wire->head == wire->tail)
		wire->head = wire->tail = 0;
	return (ssize_t)size;
}

/* Sets how much may be received. */
void wire_allow(struct wire *wire, size_t size)
{
	wire->allowed = size;
}

/* What was received and not taken. */
size_t wire_waiting(const struct wire *wire)
{
	return wire->tail - wire->head;
}

/* Keeps bytes to be sent. */
void wire_send(struct wire *wire, const void *data, size_t size)
{
	if (!wire->socket)
		return;
	text_append(&wire->out, data, size);
	/* In a long stream, the machine decrypts while we encrypt on. */
	if (wire->out.size >= FLUSH_SIZE && !wire->writing.size)
		wire_flush(wire);
}

/* What was not sent yet. */
size_t wire_queued(const struct wire *wire)
{
	return wire->out.size + wire->writing.size;
}

/* When the machine was last heard. */
uint64_t wire_heard(const struct wire *wire)
{
	return wire->heard;
}

/* The socket took a large write. */
static void write_done(uv_write_t *request, int status)
{
	struct wire *wire = request->data;

	wire->writing.size = 0;
	if (status < 0 && status != UV_ECANCELED)
		broken(wire, "the connection broke", status);
	else if (!wire->freed && !wire->ended)
		/* The turn that follows also feeds what waited for the room. */
		wire->events->input(wire->data);
	settle(wire);
}

/* Gives the socket what it does not take at once, to be written as it can. */
static void write_later(struct wire *wire)
{
	struct text empty = wire->writing;
	uv_buf_t buffer = uv_buf_init(wire->out.data, (unsigned)wire->out.size);

	wire->writing = wire->out;
	wire->out = empty;
	wire->write.data = wire;
	wire->pending++;
	int error = uv_write(&wire->write, &wire->socket->stream, &buffer, 1, write_done);

	if (error) {
		wire->pending--;
		wire->writing.size = 0;
		broken(wire, "the connection broke", error);
	}
}

/* Sends. */
void wire_flush(struct wire *wire)
{
	if (!wire->socket || wire->leaving)
		return;
	if (wire->out.size && !wire->writing.size) {
		uv_buf_t buffer = uv_buf_init(wire->out.data, (unsigned)wire->out.size);
		int sent = uv_try_write(&wire->socket->stream, &buffer, 1);

		if (sent > 0)
			text_consume(&wire->out, (size_t)sent);
		if (sent < 0 && sent != UV_EAGAIN) {
			broken(wire, "the connection broke", sent);
			return;
		}
		if (wire->out.size)
			write_later(wire);
	}
	read_on(wire);
}
