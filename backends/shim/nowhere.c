/* SPDX-License-Identifier: MIT */
/*
 * The transport of machines that take neither commands nor files: a machine is ready as soon as its
 * backend has started it. The daemon asks for nothing more; what would, gets an error.
 */
#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/transport.h"

struct transport {
	const struct transport_events *events;
	void *data;
	uv_timer_t turn;	/* `up` is on its way */
};

/* .new */
static int nowhere_new(struct uv_loop_s *loop, const struct poolfs_values *values,
	const struct transport_events *events, void *data, struct transport **out,
	struct poolfs_err *err)
{
	struct transport *transport = memory_new(sizeof(*transport));

	transport->events = events;
	transport->data = data;
	uv_timer_init(loop, &transport->turn);
	*out = transport;
	return 0;
}

/* libuv is done with the timer. */
static void nowhere_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct transport, turn));
}

/* .free */
static void nowhere_free(struct transport *transport)
{
	uv_close((uv_handle_t *)&transport->turn, nowhere_closed);
}

/* The loop's next turn. */
static void nowhere_up(uv_timer_t *timer)
{
	struct transport *transport = container_of(timer, struct transport, turn);

	transport->events->up(transport->data);
}

/* .connect */
static void nowhere_connect(struct transport *transport, const struct poolfs_address *address)
{
	uv_timer_start(&transport->turn, nowhere_up, 0, 0);
}

/* .disconnect */
static void nowhere_disconnect(struct transport *transport)
{
	uv_timer_stop(&transport->turn);
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
	struct file_reply reply = { .error = -EOPNOTSUPP };

	done(data, &reply, NULL, 0);
}

/* .file_cancel: every request was answered. */
static void nowhere_file_cancel(struct transport *transport, uint64_t key)
{
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
