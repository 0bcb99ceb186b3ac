/* SPDX-License-Identifier: MIT */
/* For tests of commands that tell the numbers of their processes, and of long or fed ones. */
#ifndef SSH_TOLD_H
#define SSH_TOLD_H

#include "tests/ssh/harness.h"

/* Processes that a command names on its output, one number on each line. */
struct pids {
	pid_t pid[8];
	unsigned count;
};

/* Reads them. */
struct pids pids_of(const struct result *result);
/* Whether a process is there and no zombie. */
bool lives(pid_t pid);
/* Conditions for await_that: on a struct pids, and on a struct lines. */
bool all_dead(void *data);

/* Whether a command has told so many lines. */
struct lines {
	struct result *result;
	unsigned count;
};

bool has_lines(void *data);

/* Skips a test that configures the server, where that is not OpenSSH. */
void need_openssh(void);
/* Starts a command that tells the numbers of its processes, and waits for `count` of them. */
struct pids start_told(struct fixture *fixture, const char *text, unsigned count,
	struct result *result);
/* A text of so many bytes that ends with a command. */
struct text padded(size_t size, const char *command);
/* Passes bytes to a command's standard input, as fast as it takes them, and awaits its end. */
void feed(struct fixture *fixture, struct result *result, const char *bytes, size_t size);

#endif
