/* SPDX-License-Identifier: MIT */
/*
 * The end of a machine, in steps:
 *
 * 	what is under way -> the runs -> destroy -> wait, console -> poolfs-programs
 *
 * Each step ends something, and the next is taken when that has ended: take_step looks at what is
 * still there. The runs have a poolfs-programs of their own, so that all that commands left
 * behind ends before destroy, and all that create left behind after it.
 */
#include "backends/exec/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "backends/exec/host.h"
#include "backends/exec/limits.h"
#include "backends/exec/programs.h"
#include "backends/remote/tap.h"

/* Ends a program, as quickly as there is time. */
static void end_program(struct exec *exec, struct program *program)
{
	if (exec->hurry)
		program_kill(program);
	else
		program_stop(program);
}

/* destroy ended. */
static void on_destroy_ended(void *data, int status, const char *text)
{
	struct exec *exec = data;

	exec->current = NULL;
	exec->destroying = false;
	poolfs_machine_owes(exec->machine, false);
	if (status != 0)
		snprintf(exec->remains, sizeof(exec->remains), "%s", text);
	ending_step(exec);
}

/* Undoes create. Where the process that keeps programs was killed, there has to be another one. */
static void destroy(struct exec *exec)
{
	struct poolfs_err err = { "" };
	struct program_options options = { .name = "destroy",
		.words = poolfs_words(exec->values, "destroy"),
		.limit_ms = (uint64_t)poolfs_number(exec->values, "destroy_timeout"),
		.limit_name = "destroy_timeout", .ended = on_destroy_ended, .data = exec };

	if (exec->starting && !exec->hurry)
		return;
	if (options.words[0] && !exec->up && !exec->anew && !exec->hurry) {
		programs_free(exec->programs);
		exec->programs = NULL;
		if (exec->host) {
			host_end(exec->host);
			return;
		}
		exec->anew = true;
		if (exec_begin(exec, &err) == 0)
			return;
	}
	exec->created = false;
	if (options.words[0] && exec->up && !exec->hurry) {
		exec->destroying = true;
		exec->current = programs_start(exec->programs, &options);
		return;
	}
	if (options.words[0])
		snprintf(exec->remains, sizeof(exec->remains), "destroy could not be run");
	ending_step(exec);
}

/* The console is closed. */
static void on_console_stopped(void *data)
{
	struct exec *exec = data;

	tap_free(exec->console);
	exec->console = NULL;
	ending_step(exec);
}

/* Closes the console. */
void ending_console(struct exec *exec)
{
	if (exec->console && !exec->console_stopping) {
		exec->console_stopping = true;
		tap_stop(exec->console, on_console_stopped, exec);
	}
}

/* Closes the console, and lets go of poolfs-programs. */
static void stop_rest(struct exec *exec)
{
	ending_console(exec);
	programs_free(exec->programs);
	exec->programs = NULL;
	exec->up = false;
	if (exec->host)
		host_end(exec->host);
}

/* The next step: what is still there? */
static void take_step(uv_timer_t *timer)
{
	struct exec *exec = timer->data;

	if (!exec->stop)
		return;
	if (exec->current || exec->acting) {
		/* destroy has a limit of its own. */
		if (exec->current && (!exec->destroying || exec->hurry))
			end_program(exec, exec->current);
		if (exec->acting)
			end_program(exec, exec->acting);
	} else if (exec->runs) {
		host_end(exec->runs);
	} else if (exec->created) {
		destroy(exec);
	} else if (exec->waiting) {
		end_program(exec, exec->waiting);
	} else if (exec->host || exec->console) {
		stop_rest(exec);
	} else {
		struct poolfs_op *op = exec->stop;

		exec->stop = NULL;
		poolfs_op_done(op, *exec->remains ? -EIO : 0, "%s", exec->remains);
	}
}

/* Has the next step taken, from the loop, if the end has begun. */
void ending_step(struct exec *exec)
{
	if (exec->stop)
		uv_timer_start(exec->again, take_step, 0, 0);
}

/* It takes too long. */
static void on_cancel_stop(void *data)
{
	struct exec *exec = data;

	exec->hurry = true;
	ending_step(exec);
}

/* Whether all programs of the machine have ended: its keepers and they have a lock on the directory. */
static bool is_quiet(const struct exec *exec)
{
	int fd = open(exec->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool quiet = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return quiet;
}

/* What the killed shim kept is ending; then destroy is run, as at any end. */
static void await_quiet(uv_timer_t *timer)
{
	struct exec *exec = timer->data;

	if (exec->hurry || exec->waited >= 2 * LIMITS_HOST_MS || is_quiet(exec)) {
		ending_step(exec);
		return;
	}
	exec->waited += LIMITS_LOOK_MS;
	uv_timer_start(timer, await_quiet, LIMITS_LOOK_MS, 0);
}

/* Ends what is left of a machine whose shim was killed. */
void ending_clean(void *state, struct poolfs_op *op)
{
	struct exec *exec = state;

	exec->stop = op;
	exec->created = true;
	poolfs_op_on_cancel(op, on_cancel_stop, exec);
	uv_timer_start(exec->again, await_quiet, 0, 0);
}

/* Begins the end. */
void ending_stop(void *state, struct poolfs_op *op)
{
	struct exec *exec = state;

	exec->stop = op;
	poolfs_op_on_cancel(op, on_cancel_stop, exec);
	ending_step(exec);
}
