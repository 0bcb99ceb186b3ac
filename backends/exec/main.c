/* SPDX-License-Identifier: MIT */
/*
 * poolfs-programs: keeps the programs of one machine of kind exec. Started by the shim in the
 * machine's directory, with a socket of the agent's kind (agent/talk.h) as standard input. It is
 * the agent without a machine of its own: a subreaper (prctl(2)), so that whatever a program
 * starts, in whatever session, stays a descendant. When the shim lets go of the socket, on
 * purpose or because it was killed, all descendants are ended: TERM, a grace, KILL.
 *
 * poolfs-programs PROGRAM ARGUMENT...: the same for one program, with our standard streams, until
 * it ends or we get TERM.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/agent/agent.h"
#include "backends/base/signals.h"
#include "backends/exec/limits.h"

/* Looks for children that have ended; whether there are none any more. */
static bool reap_all(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
		;
	return pid < 0 && errno == ECHILD;
}

/* The same for so long. */
static bool wait_for_all(unsigned milliseconds)
{
	struct timespec end, now, piece = { .tv_nsec = 20000000 };
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	clock_gettime(CLOCK_MONOTONIC, &end);
	do {
		if (reap_all())
			return true;
		sigtimedwait(&child, NULL, &piece);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - end.tv_sec) * 1000 + (now.tv_nsec - end.tv_nsec) / 1000000 <
		(long)milliseconds);
	return false;
}

/* Ends all that descends from us, after a grace in milliseconds. A subreaper without children has no
 * descendants: then nobody looks at all processes of the host, which may be many thousands. */
static void end_all(unsigned grace)
{
	if (reap_all())
		return;
	agent_run_signal(getpid(), SIGTERM);
	if (wait_for_all(grace))
		return;
	agent_run_signal(getpid(), SIGKILL);
	wait_for_all(LIMITS_LEFT_MS);
}

/* Becomes a program. */
static int become(char **words)
{
	signals_reset();
	execvp(words[0], words);
	fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}

/* Waits until a child ends, or a signal asks for the end: its status, as a shell tells it. */
static int wait_for_one(pid_t child)
{
	sigset_t wanted;
	int status;
	pid_t pid;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGTERM);
	for (;;) {
		while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
			if (pid == child)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (pid < 0 || sigwaitinfo(&wanted, NULL) == SIGTERM)
			return 128 + SIGTERM;
	}
}

/* Keeps one program. The kernel tells us of the shim's end by TERM. */
static int keep_one(char **words)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return AGENT_LOST;
	pid_t child = fork();
	if (child == 0)
		_exit(become(words));
	int status = child < 0 ? 126 : wait_for_one(child);
	end_all(LIMITS_LEFT_MS / 2);
	return status;
}

/* Opens the machine's directory, with a lock that lasts as long as we and the keepers that we fork: by that
 * it is seen when all that a killed shim had has ended. */
static int open_directory(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		flock(fd, LOCK_SH | LOCK_NB);
	return fd;
}

int main(int argc, char **argv)
{
	int directory = open_directory();

	if (argc > 1)
		return keep_one(argv + 1);
	struct agent agent = { .programs = true };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* The shim's end is told by the socket: there is something to be done after it. */
	prctl(PR_SET_PDEATHSIG, 0);
	prctl(PR_SET_NAME, "poolfs-programs");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return AGENT_LOST;
	agent.control = fcntl(0, F_DUPFD_CLOEXEC, 3);
	agent.files = directory;
	if (null < 0 || agent.control < 0 || agent.files < 0)
		return AGENT_LOST;
	for (int fd = 0; fd <= 2; fd++)
		dup2(null, fd);
	int status = agent_serve(&agent);
	close(agent.control);
	end_all(LIMITS_LEFT_MS);
	return status;
}
