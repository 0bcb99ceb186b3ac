/* SPDX-License-Identifier: MIT */
#include "backends/ssh/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/ssh/bounds.h"

#define FLUSH_SIZE 262144u

struct wire {
	uv_loop_t *loop;
	const struct wire_events *events;
	void *data;
	uv_getaddrinfo_t resolve;
	char problem[128];		/* what it is when the name is not known */
	struct addrinfo *addresses;	/* ours; freed with uv_freeaddrinfo */
	const struct addrinfo *next;	/* to be tried next */
	uv_tcp_t *tcp;			/* NULL when there is none; freed by its close callback */
	uv_connect_t connect;
	uv_write_t write;
	struct text out;		/* to be written next */
	struct text writing;		/* given to uv_write; empty when none is under way */
	unsigned char *in;		/* LIMIT_INPUT bytes, head..tail are filled */
	size_t head, tail;
	size_t allowed;
	uint64_t heard;
	bool reading;
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
	if (!wire->tcp)
		return;
	uv_close((uv_handle_t *)wire->tcp, socket_closed);
	wire->tcp = NULL;
	wire->reading = false;
}

/* Reports the end, once. */
static void end(struct wire *wire, const char *what, int error)
{
	char reason[160];

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
			end(wire, "the machine closed the connection", 0);
		else
			end(wire, "the connection broke", (int)size);
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
	if (wire->reading || !wire->tcp || wire_waiting(wire) > LIMIT_INPUT / 2)
		return;
	int error = uv_read_start((uv_stream_t *)wire->tcp, input_room, input_came);

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
		uv_tcp_nodelay(wire->tcp, 1);
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
	wire->tcp = memory_new(sizeof(*wire->tcp));
	uv_tcp_init(wire->loop, wire->tcp);
	wire->tcp->data = wire;
	wire->connect.data = wire;
	wire->pending++;
	int error = uv_tcp_connect(&wire->connect, wire->tcp, address->ai_addr, connect_done);

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

/* Starts with the look-up. */
int wire_new(struct uv_loop_s *loop, const struct wire_target *target,
	const struct wire_events *events, void *data, struct wire **result)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct wire *wire = memory_new(sizeof(*wire));
	char service[8];

	wire->loop = loop;
	wire->events = events;
	wire->data = data;
	wire->resolve.data = wire;
	snprintf(wire->problem, sizeof(wire->problem), "cannot resolve %s", target->host);
	snprintf(service, sizeof(service), "%u", target->port);
	int error = uv_getaddrinfo(loop, &wire->resolve, resolve_done, target->host, service,
		&hints);

	if (error) {
		free(wire);
		return error;
	}
	wire->in = memory_new(LIMIT_INPUT);
	wire->pending++;
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
	uv_cancel((uv_req_t *)&wire->resolve);
	drop_socket(wire);
	settle(wire);
}

/* The socket's descriptor. */
int wire_fd(const struct wire *wire)
{
	uv_os_fd_t fd = -1;

	if (wire->tcp)
		uv_fileno((uv_handle_t *)wire->tcp, &fd);
	return fd;
}

/* Hands out received bytes. */
ssize_t wire_receive(struct wire *wire, void *data, size_t size)
{
	size_t there = wire_waiting(wire);

	if (!there)
		return wire->tcp ? -EAGAIN : -ECONNRESET;
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
	if (!wire->tcp)
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
		end(wire, "the connection broke", status);
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
	int error = uv_write(&wire->write, (uv_stream_t *)wire->tcp, &buffer, 1, write_done);

	if (error) {
		wire->pending--;
		wire->writing.size = 0;
		end(wire, "the connection broke", error);
	}
}

/* Sends. */
void wire_flush(struct wire *wire)
{
	if (!wire->tcp)
		return;
	if (wire->out.size && !wire->writing.size) {
		uv_buf_t buffer = uv_buf_init(wire->out.data, (unsigned)wire->out.size);
		int sent = uv_try_write((uv_stream_t *)wire->tcp, &buffer, 1);

		if (sent > 0)
			text_consume(&wire->out, (size_t)sent);
		if (sent < 0 && sent != UV_EAGAIN) {
			end(wire, "the connection broke", sent);
			return;
		}
		if (wire->out.size)
			write_later(wire);
	}
	read_on(wire);
}
