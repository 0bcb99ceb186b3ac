/* SPDX-License-Identifier: MIT */
#include "backends/module/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"

/* Milliseconds of a clock that only goes forward. */
static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* A file in memory that has the question, to be read from its beginning. */
static int make_input(const json_t *question)
{
	int fd = memfd_create("poolfs-question", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (question && (json_dumpfd(question, fd, JSON_COMPACT) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		return -EIO;
	}
	return fd;
}

/* Starts the shim: in is its standard input, out its standard output. 0 or a negative errno. */
static int start(const char *shim, const char *option, const char *file, int in, int out, pid_t *pid)
{
	char *argv[] = { (char *)shim, (char *)option, (char *)file, NULL };
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	int error = posix_spawn(pid, shim, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

/* Reads to the end. 0, -ETIMEDOUT, -EMSGSIZE, or another negative errno. */
static int read_all(int fd, struct text *text)
{
	int64_t deadline = now() + ASK_LIMIT_MS;
	char piece[16384];

	for (;;) {
		struct pollfd poll_ = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - now();

		int ready = left > 0 ? poll(&poll_, 1, (int)left) : 0;

		if (ready == 0)
			return -ETIMEDOUT;
		if (ready < 0)
			continue;
		ssize_t size = read(fd, piece, sizeof(piece));
		if (size < 0 && errno == EINTR)
			continue;
		if (size <= 0)
			return size < 0 ? -errno : 0;
		if (text->size + (size_t)size > ASK_ANSWER_MAX)
			return -EMSGSIZE;
		text_append(text, piece, (size_t)size);
	}
}

/* Waits for the end of a process whose output has ended; one that goes on is killed. Its status. */
static int reap(pid_t pid, bool kill_it)
{
	int64_t deadline = now() + ASK_LIMIT_MS;
	int status = 0;
	pid_t found;

	if (kill_it)
		kill(pid, SIGKILL);
	while ((found = waitpid(pid, &status, kill_it ? 0 : WNOHANG)) == 0 ||
		(found < 0 && errno == EINTR)) {
		if (!kill_it && now() > deadline) {
			kill(pid, SIGKILL);
			kill_it = true;
		}
		if (!kill_it)
			poll(NULL, 0, 1);
	}
	return status;
}

/* Runs the shim, and collects what it says. */
static int talk(const char *shim, const char *option, const char *file, int in, struct text *text,
	struct poolfs_err *err)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return poolfs_err_set(err, -errno, "pipe: %s", strerror(errno));
	int result = start(shim, option, file, in, ends[1], &pid);
	close(ends[1]);
	if (result < 0) {
		close(ends[0]);
		return poolfs_err_set(err, result, "%s cannot be started: %s", shim, strerror(-result));
	}
	result = read_all(ends[0], text);
	close(ends[0]);
	int status = reap(pid, result < 0);
	if (result == -ETIMEDOUT)
		return poolfs_err_set(err, result, "loading it did not end within %d s",
			ASK_LIMIT_MS / 1000);
	if (result < 0)
		return poolfs_err_set(err, result, "what is in it cannot be read: %s",
			strerror(-result));
	if (WIFSIGNALED(status))
		return poolfs_err_set(err, -EIO, "the process that loaded it was killed by signal %d",
			WTERMSIG(status));
	if (status != 0)
		return poolfs_err_set(err, -EIO, "the process that loaded it ended with status %d, "
			"without an answer", WEXITSTATUS(status));
	return 0;
}

/* Takes the answer apart. */
static int read_answer(const struct text *text, const char *member, json_t **answer,
	struct poolfs_err *err)
{
	json_t *root = text->size ? json_loadb(text->data, text->size, JSON_REJECT_DUPLICATES, NULL) : NULL;
	json_t *found = json_object_get(root, member);
	const char *reason;
	int code, result = 0;

	if (found)
		*answer = json_incref(found);
	else if (json_unpack(root, "{s:{s:s, s:i}}", "error", "text", &reason, "code", &code) == 0 &&
		code > 0)
		result = poolfs_err_set(err, -code, "%s", reason);
	else
		result = poolfs_err_set(err, -EPROTO, "the process that loaded it gave no answer");
	json_decref(root);
	return result;
}

/* Asks. */
int ask_module(const char *shim, const char *option, const char *file, const json_t *question,
	const char *member, json_t **answer, struct poolfs_err *err)
{
	struct text text = { 0 };
	int in = make_input(question);

	if (in < 0)
		return poolfs_err_set(err, in, "%s", strerror(-in));
	int result = talk(shim, option, file, in, &text, err);
	close(in);
	if (result == 0)
		result = read_answer(&text, member, answer, err);
	text_done(&text);
	return result;
}
