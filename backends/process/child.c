/* SPDX-License-Identifier: MIT */
/*
 * Life of a child: three handles (process, output, timer) live in one allocation,
 * which is freed when it has ended, its owner has let it go (child_free), and all
 * three are closed. Whoever brings the last of that about frees it.
 */
#include "backends/process/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/process/launch.h"

/* Output that is still in the pipe when the program has ended: what a pipe can hold. */
#define DRAIN_MAX 1048576

struct child {
	uv_process_t process;
	uv_pipe_t pipe;
	uv_timer_t timer;
	void (*output)(void *data, const void *bytes, size_t size);
	void (*exited)(void *data, int status, int signal);
	void *data;
	unsigned open;	/* handles that are not closed yet */
	bool running;
	bool released;	/* the owner called child_free */
	uint64_t kill_at; /* loop time of the SIGKILL, 0: none is due */
	char buffer[65536];
};

/* One handle is closed; the last one takes the memory with it. */
static void on_closed(uv_handle_t *handle)
{
	struct child *child = handle->data;

	if (--child->open == 0 && child->released)
		free(child);
}

/* Closes what is open. The process handle must stay while the process runs: it reaps it. */
static void close_handles(struct child *child)
{
	uv_handle_t *handles[] = { (uv_handle_t *)&child->pipe, (uv_handle_t *)&child->timer,
		(uv_handle_t *)&child->process };

	for (size_t i = 0; i < 3; i++)
		if (handles[i]->data && !uv_is_closing(handles[i]))
			uv_close(handles[i], on_closed);
}

/* Hands output on while the owner wants it. */
static void deliver(struct child *child, const void *bytes, ssize_t size)
{
	if (size > 0 && child->output && !child->released)
		child->output(child->data, bytes, (size_t)size);
}

/* Lends the one buffer: libuv reads and delivers before it asks again. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct child *child = handle->data;

	*buf = uv_buf_init(child->buffer, sizeof(child->buffer));
}

/* Output came, or its end. */
static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	deliver(stream->data, buf->base, size);
	if (size < 0)
		uv_read_stop(stream);
}

/* Takes what the pipe still holds. Not until its end: what the program started may hold it open. */
static void drain(struct child *child)
{
	size_t total = 0;
	uv_os_fd_t fd;
	ssize_t size;

	uv_read_stop((uv_stream_t *)&child->pipe);
	if (uv_fileno((uv_handle_t *)&child->pipe, &fd) < 0)
		return;
	while (total < DRAIN_MAX && (size = read(fd, child->buffer, sizeof(child->buffer))) > 0) {
		deliver(child, child->buffer, size);
		total += (size_t)size;
	}
}

/* The process was reaped. */
static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
	struct child *child = process->data;

	child->running = false;
	drain(child);
	close_handles(child);
	if (!child->released)
		child->exited(child->data, (int)status, signal);
}

/* Whether its number is still its own: libuv reaps all that have ended before it tells of the first. */
static bool is_there(const struct child *child)
{
	siginfo_t info;

	return child->running && waitid(P_PID, (id_t)child->process.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* Signals it and all in its session that stayed in its group. */
static void send_signal(struct child *child, int signal)
{
	if (is_there(child) && kill(-child->process.pid, signal) < 0)
		kill(child->process.pid, signal);
}

/* The grace or the limit is over. */
static void on_time(uv_timer_t *timer)
{
	send_signal(timer->data, SIGKILL);
}

/* Lets the timer kill it after ms, unless it would sooner. */
static void kill_after(struct child *child, uint64_t ms)
{
	uint64_t at = uv_now(child->timer.loop) + ms;

	if (child->kill_at && child->kill_at <= at)
		return;
	child->kill_at = at;
	uv_timer_start(&child->timer, on_time, ms, 0);
}

/* The words of the launcher's command line; the strings are not copied but for *parent. */
static char **launch_words(const char *const *argv, char **parent)
{
	size_t count = 0;

	while (argv[count])
		count++;
	char **words = memory_new((count + 4) * sizeof(*words));
	*parent = memory_format("--parent=%d", (int)getpid());
	words[0] = (char *)"poolfs-launch";
	words[1] = (char *)LAUNCH_OPTION;
	words[2] = *parent;
	memcpy(words + 3, argv, count * sizeof(*words));
	return words;
}

/* "NAME=value" from our environment, or NULL. */
static char *inherited(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	if (!value || !*value)
		value = fallback;
	return value ? memory_format("%s=%s", name, value) : NULL;
}

/* The child's environment: what the caller adds, then ours. */
static char **make_environment(const char *const *more)
{
	static const char *const names[][2] = {
		{ "PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" },
		{ "HOME", "/" },
		{ "USER", NULL },
		{ "TMPDIR", NULL },
	};
	size_t count = 0, size = 0;

	while (more && more[size])
		size++;
	char **words = memory_new((size + 6) * sizeof(*words));
	for (; count < size; count++)
		words[count] = memory_string(more[count]);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if ((words[count] = inherited(names[i][0], names[i][1])))
			count++;
	words[count] = memory_string("LC_ALL=C");
	return words;
}

/* Frees words and their list. */
static void free_words(char **words)
{
	for (size_t i = 0; words[i]; i++)
		free(words[i]);
	free(words);
}

/* Describes the child to libuv and starts it; end is the pipe's end for its output. */
static int spawn(struct uv_loop_s *loop, const struct child_options *options,
	struct child *child, int end)
{
	char *parent, **words = launch_words(options->argv, &parent);
	char **environment = make_environment(options->environment);
	int input = options->stream ? options->stream : options->input;
	uv_stdio_container_t stdio[3] = {
		{ .flags = input ? UV_INHERIT_FD : UV_IGNORE, .data.fd = input },
		{ .flags = UV_INHERIT_FD, .data.fd = options->stream ? options->stream : end },
		{ .flags = UV_INHERIT_FD, .data.fd = end },
	};
	uv_process_options_t spawned = {
		.file = options->launcher ? options->launcher : "/proc/self/exe",
		.args = words,
		.env = environment,
		.cwd = options->directory,
		.flags = UV_PROCESS_DETACHED,
		.exit_cb = on_exit_of,
		.stdio = stdio,
		.stdio_count = 3,
	};

	int result = uv_spawn(loop, &child->process, &spawned);
	child->process.data = child;
	free(words);
	free(parent);
	free_words(environment);
	return result;
}

/* Makes the handles, so that from here on close_handles undoes all. */
static struct child *child_new(struct uv_loop_s *loop, const struct child_options *options)
{
	struct child *child = memory_new(sizeof(*child));

	child->output = options->output;
	child->exited = options->exited;
	child->data = options->data;
	child->open = 3;
	uv_pipe_init(loop, &child->pipe, 0);
	child->pipe.data = child;
	uv_timer_init(loop, &child->timer);
	child->timer.data = child;
	return child;
}

/* Starts a program. */
int child_start(struct uv_loop_s *loop, const struct child_options *options,
	struct child **child, struct poolfs_err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return poolfs_err_set(err, -errno, "pipe: %s", strerror(errno));
	struct child *new = child_new(loop, options);
	/* libuv makes our end non-blocking, and leaves the child's as it is. */
	uv_pipe_open(&new->pipe, ends[0]);
	int result = spawn(loop, options, new, ends[1]);
	close(ends[1]);
	if (result < 0) {
		child_free(new);
		return poolfs_err_set(err, result, "%s: cannot start: %s", options->argv[0],
			uv_strerror(result));
	}
	new->running = true;
	uv_read_start((uv_stream_t *)&new->pipe, on_alloc, on_read);
	if (options->limit_ms)
		kill_after(new, options->limit_ms);
	*child = new;
	return 0;
}

/* Its process id. */
pid_t child_pid(const struct child *child)
{
	return child->process.pid;
}

/* Asks it to end, and sees to it. */
void child_stop(struct child *child, int signal, uint64_t grace_ms)
{
	if (signal)
		send_signal(child, signal);
	if (grace_ms == 0)
		send_signal(child, SIGKILL);
	else if (child->running)
		kill_after(child, grace_ms);
}

/* Lets go of it. */
void child_free(struct child *child)
{
	if (!child)
		return;
	child->released = true;
	if (child->running)
		send_signal(child, SIGKILL);
	else if (child->open == 0)
		free(child);
	else
		close_handles(child);
}

/* Finds a program of ours. */
char *child_beside(const char *name)
{
	char self[4096];
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[size > 0 ? size : 0] = '\0';
	char *slash = strrchr(self, '/');
	return memory_format("%.*s/%s", slash ? (int)(slash - self) : 0, self, name);
}

/* Says how it ended. */
void child_describe(char *out, size_t size, int status, int signal)
{
	if (signal)
		snprintf(out, size, "was ended by signal %d (%s)", signal, strsignal(signal));
	else
		snprintf(out, size, "ended with status %d", status);
}
