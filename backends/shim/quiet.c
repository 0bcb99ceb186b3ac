/* SPDX-License-Identifier: MIT */
#include "backends/shim/quiet.h"

#include "backends/shim/shim.h"

/* Tells the daemon. */
void quiet_tell(struct shim *shim)
{
	struct frame_quiet frame = { .limit_ms = shim->quiet.limit, .quiet = shim->quiet.is };

	daemon_send(shim, FRAME_QUIET, 0, &frame, sizeof(frame), NULL, 0);
}

/* Looks whether it has been long enough, and when to look again: bytes only note the time, for there
 * are many. */
static void on_timer(uv_timer_t *timer)
{
	struct shim *shim = timer->data;
	struct quiet *quiet = &shim->quiet;
	uint64_t now = uv_now(shim->loop);

	if (!life_is_up(shim))
		quiet->heard = now;
	uint64_t silent = now - quiet->heard, left = quiet->limit;
	if (silent < quiet->limit) {
		left -= silent;
	} else if (!quiet->is) {
		quiet->is = true;
		journal_printf(shim, "quiet: no console and no output for %g s",
			(double)quiet->limit / 1000);
		quiet_tell(shim);
	}
	uv_timer_start(timer, on_timer, left, 0);
}

/* Prepares. */
void quiet_init(struct shim *shim)
{
	struct quiet *quiet = &shim->quiet;

	quiet->limit = (uint64_t)poolfs_number(shim->setup.values, "quiet_timeout");
	quiet->heard = uv_now(shim->loop);
	uv_timer_init(shim->loop, &quiet->timer);
	quiet->timer.data = shim;
	if (quiet->limit)
		uv_timer_start(&quiet->timer, on_timer, quiet->limit, 0);
}

/* Notes the time. */
void quiet_heard(struct shim *shim)
{
	struct quiet *quiet = &shim->quiet;

	quiet->heard = uv_now(shim->loop);
	if (!quiet->is)
		return;
	quiet->is = false;
	journal_printf(shim, "quiet: no more");
	quiet_tell(shim);
}

/* Ends. */
void quiet_close(struct shim *shim)
{
	uv_close((uv_handle_t *)&shim->quiet.timer, NULL);
}
