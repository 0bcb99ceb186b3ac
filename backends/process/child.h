/* SPDX-License-Identifier: MIT */
/*
 * A program that a backend starts (an emulator, an image tool, a container's
 * helper): in a session of its own, with a clean environment and no descriptors of
 * ours, ended by the kernel when we end (launch.h). Its output comes in chunks, its
 * end once. Loop's thread only; the loop's process must not start children elsewhere.
 */
#ifndef PROCESS_CHILD_H
#define PROCESS_CHILD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "backends/backend.h"

struct child;
struct uv_loop_s;

struct child_options {
	/* argv[0] is the program: a path, or a name that is looked up in PATH. Ended by NULL. */
	const char *const *argv;
	/* The directory to start in; NULL: ours. */
	const char *directory;
	/* More NAME=VALUE for the environment, ended by NULL; may be NULL. They come first, so
	 * they replace what every child gets: PATH, HOME, USER, TMPDIR as here, and LC_ALL=C. */
	const char *const *environment;
	/* After so many milliseconds it is killed; 0: never. */
	uint64_t limit_ms;
	/* The program that calls launch_main; NULL: ourselves. */
	const char *launcher;
	/* A descriptor to be its standard input (it stays ours to close); 0: /dev/null. */
	int input;
	/* A descriptor to be its standard input and output (it stays ours to close): only what it
	 * writes to standard error comes to `output`. 0: none. */
	int stream;
	/* What it wrote to standard output and standard error, as it came. May be NULL. */
	void (*output)(void *data, const void *bytes, size_t size);
	/* It ended, and all of its output was delivered; once. status is the exit status; signal
	 * is the signal that ended it, or 0. child_free may be called in it. */
	void (*exited)(void *data, int status, int signal);
	void *data;
};

/* Starts it; options are not needed afterwards. 0 or a negative errno. A program that cannot be
 * started also shows as LAUNCH_FAILED with the reason as output. */
int child_start(struct uv_loop_s *loop, const struct child_options *options,
	struct child **child, struct poolfs_err *err);

pid_t child_pid(const struct child *child);

/* Asks it to end: sends signal (0: none) to it and what it started, and SIGKILL when grace_ms have
 * passed; at once with 0. `exited` follows. Another call may only shorten the time. */
void child_stop(struct child *child, int signal, uint64_t grace_ms);

/* No callback from now on; kills it when it still runs. The memory goes on later turns of the loop.
 * NULL is fine. */
void child_free(struct child *child);

/* The path of a program that is installed beside ours; the caller frees it. */
char *child_beside(const char *name);

/* "ended with status 3" or "was ended by signal 9 (Killed)" into out. */
void child_describe(char *out, size_t size, int status, int signal);

#endif
