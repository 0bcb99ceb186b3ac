/* SPDX-License-Identifier: MIT */
/*
 * The transport of machines that take neither commands nor files: a machine is ready as soon as its
 * backend has started it. The daemon asks for nothing more; what would, gets an error.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/transport.h"

/* A request for files that is to be refused. */
struct refusal {
	TAILQ_ENTRY(refusal) next;
	uint64_t key;
	transport_file_done *done;
	void *data;
};

struct transport {
	const struct transport_events *events;
	void *data;
	uv_timer_t turn;	/* the loop's next one, while there is something to tell */
	bool connecting;	/* `up` is */
	TAILQ_HEAD(, refusal) refusals;
};

/* .new */
static int nowhere_new(struct uv_loop_s *loop, const struct poolfs_values *values,
	const struct transport_events *events, void *data, struct transport **out,
	struct poolfs_err *err)
{
	struct transport *transport = memory_new(sizeof(*transport));

	transport->events = events;
	transport->data = data;
	TAILQ_INIT(&transport->refusals);
	uv_timer_init(loop, &transport->turn);
	*out = transport;
	return 0;
}

/* libuv is done with the timer. */
static void nowhere_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct transport, turn));
}

/* Takes a refusal off the list. */
static void drop(struct transport *transport, struct refusal *refusal)
{
	TAILQ_REMOVE(&transport->refusals, refusal, next);
	free(refusal);
}

/* .free */
static void nowhere_free(struct transport *transport)
{
	while (!TAILQ_EMPTY(&transport->refusals))
		drop(transport, TAILQ_FIRST(&transport->refusals));
	uv_close((uv_handle_t *)&transport->turn, nowhere_closed);
}

/* The loop's next turn. What is called may ask again, cancel, or free the transport, whose memory lasts. */
static void nowhere_turn(uv_timer_t *timer)
{
	struct transport *transport = container_of(timer, struct transport, turn);
	struct file_reply reply = { .error = -EOPNOTSUPP };
	struct refusal *refusal;

	if (transport->connecting) {
		transport->connecting = false;
		transport->events->up(transport->data);
	}
	while ((refusal = TAILQ_FIRST(&transport->refusals))) {
		struct refusal copy = *refusal;

		drop(transport, refusal);
		copy.done(copy.data, &reply, NULL, 0);
	}
}

/* .connect */
static void nowhere_connect(struct transport *transport, const struct poolfs_address *address)
{
	transport->connecting = true;
	uv_timer_start(&transport->turn, nowhere_turn, 0, 0);
}

/* .disconnect: requests are refused, connected or not. */
static void nowhere_disconnect(struct transport *transport)
{
	transport->connecting = false;
}

/* .run */
static struct transport_run *nowhere_run(struct transport *transport,
	const struct transport_command *command, const struct transport_run_events *events,
	void *data)
{
	return NULL;
}

/* .file */
static void nowhere_file(struct transport *transport, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	struct refusal *refusal = memory_new(sizeof(*refusal));

	*refusal = (struct refusal){ .key = key, .done = done, .data = data };
	TAILQ_INSERT_TAIL(&transport->refusals, refusal, next);
	uv_timer_start(&transport->turn, nowhere_turn, 0, 0);
}

/* .file_cancel */
static void nowhere_file_cancel(struct transport *transport, uint64_t key)
{
	struct refusal *refusal;

	TAILQ_FOREACH(refusal, &transport->refusals, next) {
		if (refusal->key == key) {
			drop(transport, refusal);
			return;
		}
	}
}

const struct transport_ops none_transport = {
	.name = "none",
	.nowhere = true,
	.new = nowhere_new,
	.free = nowhere_free,
	.connect = nowhere_connect,
	.disconnect = nowhere_disconnect,
	.run = nowhere_run,
	.file = nowhere_file,
	.file_cancel = nowhere_file_cancel,
};
