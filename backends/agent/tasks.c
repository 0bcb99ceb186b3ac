/* SPDX-License-Identifier: MIT */
/*
 * A run has ended when its first process has and its output is at the end, as with SSH: what it
 * left in the background with the output goes on being heard. What it left without is released
 * then. A run whose end was asked for waits for all of its processes instead (tasks_await_all).
 */
#include "backends/agent/tasks.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/agent/task.h"
#include "backends/base/memory.h"

/* Starts empty. */
void tasks_init(struct tasks *tasks)
{
	TAILQ_INIT(&tasks->queued);
	TAILQ_INIT(&tasks->active);
	tasks->control = -1;
}

/* Takes a run off its list and frees it. */
static void run_free(struct transport_run *run)
{
	struct tasks *tasks = run->tasks;

	if (run->step == STEP_QUEUED) {
		TAILQ_REMOVE(&tasks->queued, run, link);
	} else {
		TAILQ_REMOVE(&tasks->active, run, link);
		tasks->active_count--;
	}
	task_close(run);
	text_done(&run->parts);
	text_done(&run->input);
	free(run);
}

/* Tells the end and frees. */
static void run_end(struct transport_run *run, enum run_state state, int status)
{
	const struct transport_run_events *events = run->events;
	void *data = run->data;

	run_free(run);
	events->ended(data, state, status);
}

/* Queues a command. */
struct transport_run *tasks_add(struct tasks *tasks, const struct transport_command *command,
	const struct transport_run_events *events, void *data)
{
	struct transport_run *run = memory_new(sizeof(*run));

	run->tasks = tasks;
	run->events = events;
	run->data = data;
	run->text_size = (uint32_t)command->size;
	run->environment_size = (uint32_t)command->environment_size;
	run->cwd_size = command->cwd ? (uint32_t)strlen(command->cwd) : 0;
	text_append(&run->parts, command->text, command->size);
	if (run->environment_size)
		text_append(&run->parts, command->environment, command->environment_size);
	if (run->cwd_size)
		text_append(&run->parts, command->cwd, run->cwd_size);
	if (command->columns && command->rows) {
		run->columns = command->columns;
		run->rows = command->rows;
	}
	run->wants_input = command->input || command->first_size;
	run->eof = !command->input;
	if (command->first_size)
		text_append(&run->input, command->first, command->first_size);
	TAILQ_INSERT_TAIL(&tasks->queued, run, link);
	tasks->wake(tasks->data);
	return run;
}

/* Notes a signal. */
void tasks_signal(struct transport_run *run, int signal)
{
	if (signal < 1 || signal > 31 || run->step == STEP_QUEUED)
		return;
	run->signals |= UINT32_C(1) << signal;
	run->tasks->wake(run->tasks->data);
}

/* Notes it. */
void tasks_await_all(struct transport_run *run)
{
	run->await_all = true;
}

/* Sets the terminal's size, or keeps it for later. */
void tasks_resize(struct transport_run *run, unsigned columns, unsigned rows)
{
	if (!run->columns || !columns || !rows)
		return;
	run->columns = columns;
	run->rows = rows;
	task_size(run);
}

/* Notes the wish. */
void tasks_abandon(struct transport_run *run)
{
	run->stop = true;
	run->tasks->wake(run->tasks->data);
}

/* Sends a message; false when the socket is full for now. One that broke is seen where it is read. */
static bool send_message(struct tasks *tasks, const struct talk_message *message, const int *fds,
	unsigned count)
{
	int result = tasks->control < 0 ? -EPIPE : talk_send(tasks->control, message, fds, count);

	/* ETOOMANYREFS: too many descriptors are under way (unix(7)). */
	if (result == -EAGAIN || result == -ENOBUFS || result == -ETOOMANYREFS)
		tasks->blocked = true;
	return !tasks->blocked;
}

/* Sends a message about a run. */
static bool send_short(struct transport_run *run, enum talk_type type, int value)
{
	struct talk_message message = { .type = type, .id = run->id, .value = value };

	return send_message(run->tasks, &message, NULL, 0);
}

/* The parts in a file without name. */
static int make_parts(const struct transport_run *run)
{
	int fd = memfd_create("poolfs-run", MFD_CLOEXEC);
	size_t done = 0;

	while (fd >= 0 && done < run->parts.size) {
		ssize_t size = write(fd, run->parts.data + done, run->parts.size - done);

		if (size <= 0) {
			close(fd);
			return -ENOSPC;
		}
		done += (size_t)size;
	}
	return fd < 0 ? -errno : fd;
}

/* Describes a run, and makes what goes with that. How many descriptors, or a negative errno. */
static int describe(struct transport_run *run, struct talk_message *message, int fds[TALK_FDS_MAX])
{
	int result = fds[0] = make_parts(run);

	*message = (struct talk_message){ .type = TALK_RUN, .id = run->id,
		.text_size = run->text_size, .environment_size = run->environment_size,
		.cwd_size = run->cwd_size, .columns = (uint16_t)run->columns,
		.rows = (uint16_t)run->rows };
	if (result >= 0 && !run->columns)
		result = task_make_pipes(run, fds + 1);
	return result < 0 ? result : run->columns ? 1 : TALK_FDS_MAX;
}

/* Sends a queued run to the agent. False: no more for now. */
static bool start(struct transport_run *run)
{
	struct tasks *tasks = run->tasks;
	struct talk_message message;
	int fds[TALK_FDS_MAX] = { -1, -1, -1, -1 };
	char text[128];

	run->id = ++tasks->last_id;
	int count = describe(run, &message, fds);
	bool sent = count > 0 && send_message(tasks, &message, fds, (unsigned)count);
	for (int i = 0; i < TALK_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (!sent)
		task_close(run);
	if (count < 0) {
		snprintf(text, sizeof(text), "a run cannot be started: %s", strerror(-count));
		tasks->log(tasks->data, text);
		run_end(run, RUN_LOST, 255);
	} else if (sent) {
		TAILQ_REMOVE(&tasks->queued, run, link);
		TAILQ_INSERT_TAIL(&tasks->active, run, link);
		tasks->active_count++;
		run->step = STEP_SENT;
		text_done(&run->parts);
	}
	return sent || count < 0;
}

/* Sends the signals that wait. */
static void send_signals(struct transport_run *run)
{
	for (int signal = 1; signal < 32 && run->step == STEP_RUNNING; signal++) {
		uint32_t bit = UINT32_C(1) << signal;

		if (run->signals & bit && send_short(run, TALK_SIGNAL, signal))
			run->signals &= ~bit;
	}
}

/* How the first process ended. A run whose keeper was killed counts as killed itself. */
static enum run_state how_it_ended(const struct transport_run *run, int *status)
{
	int signal = run->exited && WIFSIGNALED(run->status) ? WTERMSIG(run->status) : SIGKILL;

	if (run->exited && WIFEXITED(run->status)) {
		*status = WEXITSTATUS(run->status);
		return RUN_EXITED;
	}
	*status = signal > 0 && signal <= 64 ? 128 + signal : 255;
	return RUN_SIGNALED;
}

/* The run is over. */
static void finish(struct transport_run *run)
{
	int status = 255;

	if (run->step < STEP_RUNNING) {
		run->tasks->log(run->tasks->data, "the agent could not start a run");
		run_end(run, RUN_LOST, 255);
	} else {
		enum run_state state = how_it_ended(run, &status);
		run_end(run, state, status);
	}
}

/* Tells that the first process has ended, once what it printed is told. */
static void tell_exited(struct transport_run *run)
{
	int status;

	if (run->told || !run->exited || !run->events->exited || !task_drain(run))
		return;
	run->told = true;
	enum run_state state = how_it_ended(run, &status);
	run->events->exited(run->data, state, status);
}

/* Moves a run on; it may be gone afterwards. */
static void run_turn(struct transport_run *run)
{
	if (run->stop) {
		if (send_short(run, TALK_ABANDON, 0))
			run_end(run, RUN_STOPPED, 255);
		return;
	}
	send_signals(run);
	task_feed(run);
	tell_exited(run);
	if (run->gone) {
		if (task_drain(run))
			finish(run);
	} else if (run->exited && !run->out && !run->err && !run->await_all) {
		if (send_short(run, TALK_RELEASE, 0))
			finish(run);
	}
}

/* Moves all on. A callback may add runs (at the end) and only notes the rest. */
void tasks_turn(struct tasks *tasks)
{
	struct transport_run *run, *next;

	tasks->blocked = false;
	for (run = TAILQ_FIRST(&tasks->queued); run; run = next) {
		next = TAILQ_NEXT(run, link);
		if (run->stop)
			run_end(run, RUN_STOPPED, 255);
	}
	for (run = TAILQ_FIRST(&tasks->active); run; run = next) {
		next = TAILQ_NEXT(run, link);
		run_turn(run);
	}
	while (tasks->control >= 0 && tasks->active_count < TASKS_ACTIVE_MAX &&
		(run = TAILQ_FIRST(&tasks->queued)) && start(run))
		;
}

/* Finds a run. */
static struct transport_run *find(struct tasks *tasks, uint64_t id)
{
	struct transport_run *run;

	TAILQ_FOREACH(run, &tasks->active, link)
		if (run->id == id)
			return run;
	return NULL;
}

/* The agent tells of a run; of one that is over, nothing is of interest. */
void tasks_message(struct tasks *tasks, const struct talk_message *message, int fd)
{
	struct transport_run *run = find(tasks, message->id);

	if (run && message->type == TALK_STARTED && run->step == STEP_SENT) {
		run->step = STEP_RUNNING;
		if (fd >= 0)
			task_take_terminal(run, fd);
		fd = -1;
		run->events->started(run->data);
	} else if (run && message->type == TALK_EXITED && run->step == STEP_RUNNING) {
		run->exited = true;
		run->status = message->value;
	} else if (run && message->type == TALK_GONE) {
		run->gone = true;
	}
	if (fd >= 0)
		close(fd);
	tasks->wake(tasks->data);
}

/* Ends all that there are; not those that a callback adds meanwhile. */
void tasks_lose(struct tasks *tasks)
{
	struct transport_run *run;
	unsigned count = tasks->active_count;

	tasks->control = -1;
	TAILQ_FOREACH(run, &tasks->queued, link)
		count++;
	for (; count; count--) {
		run = TAILQ_FIRST(&tasks->active);
		if (!run)
			run = TAILQ_FIRST(&tasks->queued);
		run_end(run, run->stop ? RUN_STOPPED : RUN_LOST, 255);
	}
}

/* Frees all. */
void tasks_done(struct tasks *tasks)
{
	struct transport_run *run;

	while ((run = TAILQ_FIRST(&tasks->active)) || (run = TAILQ_FIRST(&tasks->queued)))
		run_free(run);
}
