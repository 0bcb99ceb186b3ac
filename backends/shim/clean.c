/* SPDX-License-Identifier: MIT */
#include "backends/shim/clean.h"

#include <errno.h>
#include <string.h>
#include <uv.h>

struct clean {
	struct shim shim;	/* without its parts */
	uv_loop_t loop;
	struct door *door;
	int result;
	struct poolfs_err *err;
};

/* The backend has done it, or not. */
static void clean_done(void *data, int result, const char *text)
{
	struct clean *clean = data;

	clean->result = result;
	if (result < 0)
		poolfs_err_set(clean->err, result, "%s", *text ? text : strerror(-result));
	if (result == -ETIMEDOUT)
		uv_stop(&clean->loop);
	else
		door_close(clean->door);
}

/* Runs. */
int clean_run(const struct shim_setup *setup, struct poolfs_err *err)
{
	struct clean clean = { .shim = { .setup = *setup, .dirfd = setup->dirfd }, .err = err };

	if (uv_loop_init(&clean.loop) < 0)
		return poolfs_err_set(err, -ENOMEM, "libuv: no loop");
	clean.shim.loop = &clean.loop;
	clean.shim.machine = (struct poolfs_machine){ .shim = &clean.shim, .cleans = true };
	int result = door_open(setup->backend, &clean.shim.machine, &clean.door, err);
	if (result == 0) {
		door_clean(clean.door, setup->stop_limit, clean_done, &clean);
		uv_run(&clean.loop, UV_RUN_DEFAULT);
		result = clean.result;
	}
	/* One that did not end by itself leaves handles, which go with the process. */
	uv_loop_close(&clean.loop);
	return result;
}
