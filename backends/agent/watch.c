/* SPDX-License-Identifier: MIT */
#include "backends/agent/watch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"

struct watch {
	uv_poll_t poll;
	int fd, events;
	void (*ready)(void *data);
	void *data;
};

/* libuv is done with it. */
static void watch_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct watch, poll));
}

/* Something came. After an error libuv has stopped watching, and is told anew what is wanted. */
static void watch_event(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = container_of(poll, struct watch, poll);

	if (status < 0)
		watch->events = 0;
	watch->ready(watch->data);
}

/* Begins. */
struct watch *watch_new(struct uv_loop_s *loop, int fd, void (*ready)(void *data), void *data)
{
	struct watch *watch = memory_new(sizeof(*watch));

	watch->fd = fd;
	watch->ready = ready;
	watch->data = data;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (uv_poll_init(loop, &watch->poll, fd) < 0) {
		close(fd);
		free(watch);
		return NULL;
	}
	return watch;
}

/* Its number. */
int watch_fd(const struct watch *watch)
{
	return watch->fd;
}

/* Sets what is waited for. */
void watch_for(struct watch *watch, int events)
{
	if (watch->events == events)
		return;
	watch->events = events;
	if (events)
		uv_poll_start(&watch->poll, events, watch_event);
	else
		uv_poll_stop(&watch->poll);
}

/* Ends. */
void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	uv_poll_stop(&watch->poll);
	close(watch->fd);
	uv_close((uv_handle_t *)&watch->poll, watch_closed);
}
