/* SPDX-License-Identifier: MIT */
#include <signal.h>

#include "backends/ssh/run.h"

/* Whose processes are meant. */
static struct control_target target_of(const struct transport_run *run)
{
	return (struct control_target){ .token = run->marker.token,
		.shell = run->marker.pid,
		.alive = run->marker.done && run->step == STEP_RUNNING };
}

/* Nothing is left of a command whose channel is closed. */
static void signal_done(void *data, int left)
{
	struct transport_run *run = data;

	run->asked--;
	if (run->step == STEP_LEFT && !run->stop && left <= 0)
		run_end(run, run->state, run->status);
}

/* Signals of which the command's processes are told. */
static void send_signal(struct transport_run *run, int signal)
{
	struct control_target target = target_of(run);

	run->asked++;
	control_signal(run->exec->control, &target, signal,
		signal && signal != SIGKILL && run->step == STEP_RUNNING ? NULL : signal_done, run);
	if (signal && signal != SIGKILL && run->step == STEP_RUNNING)
		run->asked--;
}

/* A server without control shell: all that can be done is to close the channel. */
static void signal_without(struct transport_run *run, int signal)
{
	if (signal == SIGTERM || signal == SIGKILL)
		exec_abandon(run);
	else
		session_log(run->exec->session,
			"signal %d cannot be sent: the machine has no shell "
			"of POSIX's kind for it",
			signal);
}

/* Sends a signal; before the marker line has come, the command's processes are not known. */
void exec_signal(struct transport_run *run, int signal)
{
	if (signal < 1 || signal > 31 || run->stop || run->step == STEP_QUEUED)
		return;
	if (!control_works(run->exec->control) || (run->step == STEP_RUNNING && !run->marked))
		signal_without(run, signal);
	else if (run->step < STEP_RUNNING || !run->marker.done)
		run->signals |= UINT32_C(1) << signal;
	else
		send_signal(run, signal);
}

/* The processes are known now. */
void run_signal_marked(struct transport_run *run)
{
	uint32_t signals = run->signals;

	run->signals = 0;
	for (int signal = 1; signals >> signal; signal++)
		if (signals >> signal & 1)
			send_signal(run, signal);
}

/* Notes it. */
void exec_await_all(struct transport_run *run)
{
	run->await_all = true;
}

/* Asks. One question at a time. */
void run_ask_left(struct transport_run *run)
{
	if (!run->asked)
		send_signal(run, 0);
}

/* Kills by the token alone. */
void run_kill_left(struct transport_run *run)
{
	struct control_target target = target_of(run);

	target.alive = false;
	if (run->marked && control_works(run->exec->control))
		control_signal(run->exec->control, &target, SIGKILL, NULL, NULL);
}
