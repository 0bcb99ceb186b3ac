/* SPDX-License-Identifier: MIT */
/* A change of the mounts is an exceptional condition of an open /proc/self/mountinfo: proc_pid_mounts(5). */
#include "fs/vigil.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "fs/mounts.h"

struct vigil {
	uv_poll_t poll;
	uv_check_t turn;	/* while it is gone, but in use */
	int fd;
	char device[MOUNTS_DEVICE];
	const struct vigil_events *events;
	void *data;
};

/* It is gone: what is left to do, when nobody uses it. */
static void on_turn(uv_check_t *turn)
{
	struct vigil *vigil = turn->data;

	if (vigil->events->in_use(vigil->data))
		return;
	uv_check_stop(turn);
	vigil->events->gone(vigil->data);
}

/* Something was mounted, or unmounted. */
static void changed(uv_poll_t *poll, int status, int events)
{
	struct vigil *vigil = poll->data;

	if (mounts_has(vigil->device))
		return;
	uv_poll_stop(poll);
	uv_check_start(&vigil->turn, on_turn);
}

/* libuv is done with the descriptor. */
static void poll_closed(uv_handle_t *handle)
{
	struct vigil *vigil = handle->data;

	close(vigil->fd);
	free(vigil);
}

/* Nor does it know the other handle any more. */
static void turn_closed(uv_handle_t *handle)
{
	struct vigil *vigil = handle->data;

	uv_close((uv_handle_t *)&vigil->poll, poll_closed);
}

/* Begins. */
struct vigil *vigil_new(struct uv_loop_s *loop, const char *mount_point, const struct vigil_events *events,
	void *data)
{
	struct vigil *vigil = memory_new(sizeof(*vigil));

	vigil->events = events;
	vigil->data = data;
	vigil->fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	vigil->poll.data = vigil->turn.data = vigil;
	if (vigil->fd < 0 || !mounts_device(mount_point, vigil->device) ||
		uv_poll_init(loop, &vigil->poll, vigil->fd) < 0) {
		if (vigil->fd >= 0)
			close(vigil->fd);
		free(vigil);
		return NULL;
	}
	uv_check_init(loop, &vigil->turn);
	uv_poll_start(&vigil->poll, UV_PRIORITIZED, changed);
	return vigil;
}

/* Ends. What the loop has found already must not start the other handle, which is closed first. */
void vigil_free(struct vigil *vigil)
{
	if (!vigil)
		return;
	uv_poll_stop(&vigil->poll);
	uv_close((uv_handle_t *)&vigil->turn, turn_closed);
}
