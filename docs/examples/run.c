/* SPDX-License-Identifier: MIT */
/*
 * Runs a command in several instances at once and shows their output as it comes, each line of
 * output with the instance's name in front. One process, no threads: poll(2) tells which output has
 * something to read. The exit status is the highest one.
 *
 *   cc -o run run.c
 *   ./run 'make check' /tmp/vm/linux/a /tmp/vm/linux/b
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run {
	const char *instance;
	char path[PATH_MAX];	/* of the run's directory */
	char line[4096];	/* a line that has not ended */
	size_t size;
};

/* Says what went wrong, and ends the program. */
static void fail(const char *what)
{
	perror(what);
	exit(255);
}

/* Opens a file of a run. */
static int run_open(const struct run *run, const char *name, int flags)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", run->path, name);
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	return fd;
}

/* Makes a run and starts it; returns its output, which is read without waiting. */
static int run_start(struct run *run, const char *instance, const char *command)
{
	run->instance = instance;
	snprintf(run->path, sizeof(run->path), "%s/runs/c-%ld", instance, (long)getpid());
	if (mkdir(run->path, 0700) < 0)
		fail(run->path);
	int fd = run_open(run, "cmd", O_WRONLY);
	/* A refusal comes from write, with a reason in errno; the close starts the command. */
	if (write(fd, command, strlen(command)) < 0)
		fail(run->path);
	close(fd);
	/* To open and close stdin is to say that there is no input. */
	close(run_open(run, "stdin", O_WRONLY));
	return run_open(run, "output", O_RDONLY | O_NONBLOCK);
}

/* Shows a line. */
static void run_flush(struct run *run)
{
	if (run->size)
		printf("%s: %.*s\n", run->instance, (int)run->size, run->line);
	run->size = 0;
}

/* Takes what there is to read; false at the end of the output. */
static int run_read(struct run *run, int fd)
{
	char bytes[65536];
	ssize_t size = read(fd, bytes, sizeof(bytes));

	if (size < 0 && errno != EAGAIN && errno != EINTR)
		fail(run->path);
	for (ssize_t i = 0; i < size; i++) {
		if (bytes[i] != '\n')
			run->line[run->size++] = bytes[i];
		if (bytes[i] == '\n' || run->size == sizeof(run->line))
			run_flush(run);
	}
	if (size == 0)
		run_flush(run);
	return size != 0;
}

/* The exit status; then the run is forgotten. */
static int run_end(struct run *run)
{
	char text[16] = "";
	int fd = run_open(run, "exit", O_RDONLY);

	if (read(fd, text, sizeof(text) - 1) < 0)
		fail(run->path);
	close(fd);
	rmdir(run->path);
	return atoi(text);
}

int main(int argc, char **argv)
{
	int count = argc - 2, open = count, worst = 0;

	if (count < 1) {
		fprintf(stderr, "usage: run COMMAND INSTANCE...\n");
		return 255;
	}
	struct run *runs = calloc((size_t)count, sizeof(*runs));
	struct pollfd *polled = calloc((size_t)count, sizeof(*polled));
	if (!runs || !polled)
		fail("memory");
	for (int i = 0; i < count; i++) {
		polled[i].fd = run_start(&runs[i], argv[i + 2], argv[1]);
		polled[i].events = POLLIN;
	}
	while (open > 0) {
		if (poll(polled, (nfds_t)count, -1) < 0 && errno != EINTR)
			fail("poll");
		for (int i = 0; i < count; i++) {
			if (polled[i].fd < 0 || !polled[i].revents || run_read(&runs[i], polled[i].fd))
				continue;
			close(polled[i].fd);
			polled[i].fd = -1; /* poll passes it over */
			open--;
			int status = run_end(&runs[i]);
			worst = status > worst ? status : worst;
		}
		fflush(stdout);
	}
	free(runs);
	free(polled);
	return worst;
}
