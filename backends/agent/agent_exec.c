/* SPDX-License-Identifier: MIT */
#include "backends/agent/agent.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/signals.h"

/* What a program can count on that asks select(2) (FD_SETSIZE), or closes all that it could have open. */
#define DESCRIPTORS 1024

/* Sets variables from lines. */
static void set_lines(const char *lines, size_t size)
{
	const char *end = lines + size;

	while (lines < end) {
		const char *newline = memchr(lines, '\n', (size_t)(end - lines));
		const char *stop = newline ? newline : end;
		char *line = memory_format("%.*s", (int)(stop - lines), lines);
		char *equals = strchr(line, '=');

		if (equals) {
			*equals = '\0';
			setenv(line, equals + 1, 1);
		}
		free(line);
		lines = stop + 1;
	}
}

/* Becomes it. */
int agent_become_login(const struct agent *agent)
{
	if (agent->uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(agent->gid, agent->gid, agent->gid) < 0 ||
		setresuid(agent->uid, agent->uid, agent->uid) < 0)
		return -errno;
	return 0;
}

/* What every program finds; on the console it is root's. */
static void set_environment(const struct agent *agent)
{
	bool login = geteuid() == agent->uid;
	const char *name = login ? agent->user : "root";

	clearenv();
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", login ? agent->home : "/root", 1);
	setenv("USER", name, 1);
	setenv("LOGNAME", name, 1);
	setenv("SHELL", agent->shell, 1);
	setenv("container", "poolfs", 1);
	if (isatty(0))
		setenv("TERM", "xterm", 1);
}

/* poolfs has raised the limit for itself. */
static void lower_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > DESCRIPTORS) {
		limit.rlim_cur = DESCRIPTORS;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Becomes a program, in the environment as it is and more. The statuses are the shell's. */
static int become(const char *const *words, const char *more, size_t size)
{
	set_lines(more, size);
	lower_limit();
	signals_reset();
	execvp(words[0], (char *const *)words);
	int error = errno;
	fprintf(stderr, "%s: %s\n", words[0], strerror(error));
	return error == ENOENT ? 127 : 126;
}

/* Becomes the program. */
int agent_exec(const struct agent *agent, const char *const *words, const char *more, size_t size)
{
	set_environment(agent);
	return become(words, more, size);
}

/* Takes the text apart. */
int agent_exec_program(const char *text, size_t size, const char *more, size_t more_size)
{
	size_t count = 0;

	for (size_t i = 0; i < size; i++)
		count += text[i] == '\0';
	const char **words = memory_new((count + 1) * sizeof(*words));
	for (size_t i = 0; i < count; i++, text += strlen(text) + 1)
		words[i] = text;
	if (count > 0)
		return become(words, more, more_size);
	free(words);
	return 127;
}

/* A new session's first terminal becomes its own by TIOCSCTTY (ioctl_tty(2)). */
int agent_take_terminal(int terminal)
{
	if (setsid() < 0 || ioctl(terminal, TIOCSCTTY, 0) < 0)
		return -errno;
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(terminal, fd) < 0)
			return -errno;
	if (terminal > 2)
		close(terminal);
	return 0;
}
