/* SPDX-License-Identifier: MIT */
/*
 * A child process that the loop never waits for: it is started in one of libuv's workers, as the caller
 * of vfork(2), which posix_spawn(3) is, stands still until the child has begun its program, and on a busy
 * machine that takes milliseconds; and nothing of our memory is copied. uv_spawn does both in the loop.
 * Loop's thread only, but for what is said.
 */
#ifndef FS_PROCESS_H
#define FS_PROCESS_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uv.h>

/* Descriptors that a child gets, from 0 on. */
#define PROCESS_FDS 6
#define PROCESS_FDS_NONE { -1, -1, -1, -1, -1, -1 }

struct process;
/* The children that somebody started, and what tells of their ends. */
struct processes;

struct processes *processes_new(uv_loop_t *loop);
/* When all of them have ended. */
void processes_free(struct processes *processes);

struct process_plan {
	const char *file;		/* the program's path */
	char *const *argv;		/* ended by NULL */
	int fds[PROCESS_FDS];		/* what it gets; -1: /dev/null. The caller closes them after `started` */
	/* In the worker, before the start: what takes time. It may set process->plan.fds. A negative errno
	 * keeps the process from being started, and is what `started` gets. NULL: there is nothing. */
	int (*prepare)(struct process *process);
	/* It runs, or does not: 0 or a negative errno. Exactly once, on a later turn of the loop. */
	void (*started)(struct process *process, int result);
	/* It ended and was reaped, after `started` with 0; exactly once. signal: 0 where it exited. */
	void (*exited)(struct process *process, int status, int signal);
};

/* Part of another object, which lives until `started` failed, or `exited` was called. */
struct process {
	struct process_plan plan;
	struct processes *among;
	uv_work_t work;
	pid_t pid;
	int result;
	LIST_ENTRY(process) entry;
};

/* Starts a process, as a session of its own, with no signal blocked or ignored. What the plan points to
 * must live until `started`. */
void process_start(struct process *process, struct processes *among, const struct process_plan *plan);

/* Sends a signal; after `started` with 0, and before `exited`. */
void process_kill(struct process *process, int signal);

#endif
