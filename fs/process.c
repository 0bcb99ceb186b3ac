/* SPDX-License-Identifier: MIT */
#include "fs/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "backends/base/memory.h"

extern char **environ;

/* Those that run, as there is one loop in a process; and what tells of their ends, while there are any. */
static LIST_HEAD(, process) running = LIST_HEAD_INITIALIZER(running);
static uv_signal_t *watch;

/* libuv is done with it. */
static void watch_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Reaps one if it has ended. */
static void reap(struct process *process)
{
	int status = 0;
	pid_t found;

	do
		found = waitpid(process->pid, &status, WNOHANG);
	while (found < 0 && errno == EINTR);
	if (found == 0)
		return;
	/* One that is not there is gone too. */
	LIST_REMOVE(process, entry);
	process->plan.exited(process, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
		WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* Nothing is to be told any more. */
static void end_watch(void)
{
	if (!LIST_EMPTY(&running) || !watch)
		return;
	uv_close((uv_handle_t *)watch, watch_closed);
	watch = NULL;
}

/* Some child ended; signals of several may have become one. */
static void on_child(uv_signal_t *handle, int number)
{
	struct process *process, *next;

	for (process = LIST_FIRST(&running); process; process = next) {
		next = LIST_NEXT(process, entry);
		reap(process);
	}
	end_watch();
}

/* Sees to it that ends are told. */
static void begin_watch(uv_loop_t *loop)
{
	if (watch)
		return;
	watch = memory_new(sizeof(*watch));
	uv_signal_init(loop, watch);
	uv_signal_start(watch, on_child, SIGCHLD);
}

/* What becomes of the descriptors, one after the other: no source is below its target. */
static void plan_files(posix_spawn_file_actions_t *actions, const struct process_plan *plan)
{
	posix_spawn_file_actions_init(actions);
	for (int i = 0; i < PROCESS_FDS; i++) {
		if (plan->fds[i] < 0)
			posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
		else
			posix_spawn_file_actions_adddup2(actions, plan->fds[i], i);
	}
}

/* A session of its own, and signals as after a login. */
static void plan_attributes(posix_spawnattr_t *attributes)
{
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(attributes);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setflags(attributes,
		POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

/* In a worker: starts it. */
static void spawn_work(uv_work_t *work)
{
	struct process *process = container_of(work, struct process, work);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	plan_files(&actions, &process->plan);
	plan_attributes(&attributes);
	process->result = -posix_spawn(&process->pid, process->plan.file, &actions, &attributes,
		process->plan.argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
}

/* It is started. It may have ended already, before anybody watched. */
static void spawned(uv_work_t *work, int status)
{
	struct process *process = container_of(work, struct process, work);
	int result = status < 0 ? status : process->result;

	process->plan.started(process, result);
	if (result < 0)
		return;
	begin_watch(process->loop);
	LIST_INSERT_HEAD(&running, process, entry);
	reap(process);
	end_watch();
}

/* Starts. */
void process_start(struct process *process, uv_loop_t *loop, const struct process_plan *plan)
{
	process->plan = *plan;
	process->loop = loop;
	int result = uv_queue_work(loop, &process->work, spawn_work, spawned);
	if (result < 0)
		spawned(&process->work, result);
}

/* Sends. */
void process_kill(struct process *process, int signal)
{
	kill(process->pid, signal);
}
