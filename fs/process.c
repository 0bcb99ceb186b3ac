/* SPDX-License-Identifier: MIT */
#include "fs/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "backends/base/memory.h"

extern char **environ;

struct processes {
	uv_loop_t *loop;
	LIST_HEAD(, process) running;
	uv_signal_t *watch;		/* while any run; else NULL */
};

/* Makes an empty list. */
struct processes *processes_new(uv_loop_t *loop)
{
	struct processes *processes = memory_new(sizeof(*processes));

	processes->loop = loop;
	LIST_INIT(&processes->running);
	return processes;
}

/* Frees. */
void processes_free(struct processes *processes)
{
	assert(LIST_EMPTY(&processes->running));
	free(processes);
}

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
static void end_watch(struct processes *processes)
{
	if (!LIST_EMPTY(&processes->running) || !processes->watch)
		return;
	uv_close((uv_handle_t *)processes->watch, watch_closed);
	processes->watch = NULL;
}

/* Some child ended; signals of several may have become one. */
static void on_child(uv_signal_t *handle, int number)
{
	struct processes *processes = handle->data;
	struct process *process, *next;

	for (process = LIST_FIRST(&processes->running); process; process = next) {
		next = LIST_NEXT(process, entry);
		reap(process);
	}
	end_watch(processes);
}

/* Sees to it that ends are told. */
static void begin_watch(struct processes *processes)
{
	if (processes->watch)
		return;
	processes->watch = memory_new(sizeof(*processes->watch));
	uv_signal_init(processes->loop, processes->watch);
	processes->watch->data = processes;
	uv_signal_start(processes->watch, on_child, SIGCHLD);
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

/* Starts it. */
static int spawn(struct process *process)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	plan_files(&actions, &process->plan);
	plan_attributes(&attributes);
	int result = -posix_spawn(&process->pid, process->plan.file, &actions, &attributes,
		process->plan.argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

/* In a worker. */
static void spawn_work(uv_work_t *work)
{
	struct process *process = container_of(work, struct process, work);

	process->result = process->plan.prepare ? process->plan.prepare(process) : 0;
	if (process->result == 0)
		process->result = spawn(process);
}

/* It is started. It may have ended already, before anybody watched. */
static void spawned(uv_work_t *work, int status)
{
	struct process *process = container_of(work, struct process, work);
	struct processes *among = process->among;
	int result = status < 0 ? status : process->result;

	process->plan.started(process, result);
	if (result < 0)
		return;
	begin_watch(among);
	LIST_INSERT_HEAD(&among->running, process, entry);
	reap(process);
	end_watch(among);
}

/* Starts. */
void process_start(struct process *process, struct processes *among, const struct process_plan *plan)
{
	process->plan = *plan;
	process->among = among;
	int result = uv_queue_work(among->loop, &process->work, spawn_work, spawned);
	if (result < 0)
		spawned(&process->work, result);
}

/* Sends. */
void process_kill(struct process *process, int signal)
{
	kill(process->pid, signal);
}
