/* SPDX-License-Identifier: MIT */
/*
 * The end of a run that was not its own: TERM to all of its processes, KILL after a grace, and
 * again a few times, for what forks meanwhile; then the channel is given up. The run has not
 * ended before all of its processes have, as far as the machine lets them be found.
 */
#include <signal.h>
#include <stdlib.h>

#include "backends/base/memory.h"
#include "backends/shim/run.h"

/* libuv is done with the timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Ends the timer. */
void limits_done(struct run *run)
{
	if (run->timer)
		uv_close((uv_handle_t *)run->timer, timer_closed);
	run->timer = NULL;
}

/* Sets the timer. */
static void wait_for(struct run *run, uv_timer_cb then, uint64_t milliseconds)
{
	if (!run->timer) {
		run->timer = memory_new(sizeof(*run->timer));
		uv_timer_init(run->shim->loop, run->timer);
		run->timer->data = run;
	}
	uv_update_time(run->shim->loop);
	uv_timer_start(run->timer, then, milliseconds, 0);
}

/* The grace is over, or a KILL was not enough. */
static void end_more(uv_timer_t *timer)
{
	struct run *run = timer->data;
	const struct transport_ops *transport = run->shim->setup.transport;

	if (!run->handle)
		return;
	if (run->kills < LIMITS_KILLS) {
		run->ending = ENDING_KILL;
		run->kills++;
		transport->run_signal(run->handle, SIGKILL);
		wait_for(run, end_more, run->shim->setup.grace / LIMITS_KILLS);
		return;
	}
	run->ending = ENDING_ABANDONED;
	journal_printf(run->shim, "run %llu: KILL did not end it; its channel is closed",
		(unsigned long long)run->id);
	transport->run_abandon(run->handle);
}

/* Begins the end. What has not started, ends at once. */
void limits_end(struct run *run, enum run_state state)
{
	const struct transport_ops *transport = run->shim->setup.transport;

	if (run_ended(run) || run->ending != ENDING_NOT)
		return;
	if (!run->handle) {
		run_change(run, state, 255);
		return;
	}
	run->end_state = state;
	if (run->state == RUN_QUEUED) {
		run->ending = ENDING_ABANDONED;
		transport->run_abandon(run->handle);
		return;
	}
	run->ending = ENDING_TERM;
	transport->run_await_all(run->handle);
	transport->run_signal(run->handle, SIGTERM);
	wait_for(run, end_more, run->shim->setup.grace);
}

/* Ends a running one without grace. */
void limits_kill(struct run *run)
{
	const struct transport_ops *transport = run->shim->setup.transport;

	if (!run->handle || run->ending >= ENDING_KILL)
		return;
	run->end_state = RUN_STOPPED;
	run->ending = ENDING_KILL;
	run->kills = 1;
	transport->run_await_all(run->handle);
	transport->run_signal(run->handle, SIGKILL);
	wait_for(run, end_more, run->shim->setup.grace / LIMITS_KILLS);
}

/* The time is up. */
static void limit_expired(uv_timer_t *timer)
{
	limits_end(timer->data, RUN_TIMEOUT);
}

/* The time runs. */
void limits_begin(struct run *run)
{
	if (run->setup.timeout_ms && run->ending == ENDING_NOT)
		wait_for(run, limit_expired, run->setup.timeout_ms);
}

/* A connection that breaks meanwhile stays what it is: nobody knows what became of the command. */
enum run_state limits_state(const struct run *run, enum run_state state, int *status)
{
	if (run->ending == ENDING_NOT || state == RUN_LOST)
		return state;
	if (run->end_state == RUN_TIMEOUT)
		*status = 124;
	else if (state != RUN_SIGNALED)
		*status = 255;
	return run->end_state;
}
