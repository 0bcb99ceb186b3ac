/* SPDX-License-Identifier: MIT */
#include "backends/qemu/knock.h"

#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

#include "backends/base/memory.h"

/* Servers take few connections without login from one address (dropbear: 5). */
#define VISITORS 4
/* A new one every so often, at first, and later: a guest that boots slowly also answers slowly. */
#define SOONEST_MS 250
#define LATEST_MS 2000
/* The part of the time since the beginning that may pass between two. */
#define PART 8

/* One connection. */
struct visitor {
	uv_tcp_t tcp;		/* data is the knock */
	uv_connect_t connect;
	bool is_open;
};

struct knock {
	uv_timer_t timer;
	struct visitor visitors[VISITORS];
	unsigned next;		/* the oldest visitor, which goes when a new one comes */
	unsigned open;		/* handles that are not closed yet */
	uint64_t begun;		/* loop time */
	uint16_t port;
	void (*answered)(void *data);
	void *data;
	bool is_freed;
	char buffer[256];
};

/* Frees all with the last handle. */
static void last_closed(struct knock *knock)
{
	if (--knock->open == 0 && knock->is_freed)
		free(knock);
}

/* A visitor has left; its place can be taken again. */
static void on_visitor_closed(uv_handle_t *handle)
{
	container_of(handle, struct visitor, tcp)->is_open = false;
	last_closed(handle->data);
}

/* The timer is closed. */
static void on_timer_closed(uv_handle_t *handle)
{
	last_closed(handle->data);
}

/* Ends a visit. */
static void leave(struct visitor *visitor)
{
	if (visitor->is_open && !uv_is_closing((uv_handle_t *)&visitor->tcp))
		uv_close((uv_handle_t *)&visitor->tcp, on_visitor_closed);
}

/* One buffer for all: nobody looks at what came. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct knock *knock = handle->data;

	*buf = uv_buf_init(knock->buffer, sizeof(knock->buffer));
}

/* The guest spoke, or hung up: its network is up then, but no server. */
static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	struct knock *knock = stream->data;

	if (size < 0)
		leave(container_of(stream, struct visitor, tcp));
	else if (size > 0 && !knock->is_freed)
		knock->answered(knock->data);
}

/* QEMU accepted, which says nothing of the guest yet. */
static void on_connected(uv_connect_t *connect, int status)
{
	struct visitor *visitor = container_of(connect, struct visitor, connect);

	if (status < 0)
		leave(visitor);
	else
		uv_read_start((uv_stream_t *)&visitor->tcp, on_alloc, on_read);
}

/* Opens a connection. */
static void visit(struct knock *knock, struct visitor *visitor)
{
	struct sockaddr_in address;

	uv_ip4_addr("127.0.0.1", knock->port, &address);
	uv_tcp_init(knock->timer.loop, &visitor->tcp);
	visitor->tcp.data = knock;
	visitor->is_open = true;
	knock->open++;
	if (uv_tcp_connect(&visitor->connect, &visitor->tcp, (struct sockaddr *)&address,
		    on_connected) < 0)
		leave(visitor);
}

/* The next one comes; the oldest goes, and leaves its place on the loop's next turn. */
static void on_time(uv_timer_t *timer)
{
	struct knock *knock = timer->data;
	struct visitor *visitor = &knock->visitors[knock->next];
	uint64_t pause = (uv_now(timer->loop) - knock->begun) / PART;

	if (visitor->is_open) {
		leave(visitor);
		uv_timer_start(timer, on_time, 1, 0);
		return;
	}
	knock->next = (knock->next + 1) % VISITORS;
	visit(knock, visitor);
	uv_timer_start(timer, on_time,
		pause < SOONEST_MS ? SOONEST_MS : pause > LATEST_MS ? LATEST_MS : pause, 0);
}

/* Begins. */
void knock_start(struct uv_loop_s *loop, uint16_t port, void (*answered)(void *data), void *data,
	struct knock **knock)
{
	struct knock *new = memory_new(sizeof(*new));

	new->port = port;
	new->answered = answered;
	new->data = data;
	new->open = 1;
	new->begun = uv_now(loop);
	uv_timer_init(loop, &new->timer);
	new->timer.data = new;
	uv_timer_start(&new->timer, on_time, 0, 0);
	*knock = new;
}

/* Ends it. */
void knock_free(struct knock *knock)
{
	if (!knock || knock->is_freed)
		return;
	knock->is_freed = true;
	uv_close((uv_handle_t *)&knock->timer, on_timer_closed);
	for (unsigned i = 0; i < VISITORS; i++)
		leave(&knock->visitors[i]);
}
