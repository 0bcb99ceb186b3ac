/* SPDX-License-Identifier: MIT */
/*
 * poolfs' agent: the first process of a machine on this host (talk.h tells what it does for the
 * transport), or of the programs that are a machine's on it (exec/main.c). One thread; it forks, and
 * never executes itself again, so it needs nothing of the machine's root filesystem but a shell.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct talk_message;

struct agent {
	int control;			/* the socket; talk.h */
	int files;			/* the directory of files/, where commands start */
	bool programs;			/* a run's text is a program and its arguments, each ended by a NUL; it
					   gets the agent's environment, and there are no files */
	const char *shell;		/* else it runs commands, as SHELL -c TEXT */
	const char *user;		/* the login that runs commands, and has the files */
	const char *home;		/* where it is at home */
	unsigned uid, gid;		/* its numbers; 0: root's */
	const char *const *console;	/* what runs on the console, ended by NULL; NULL: there is none */
	const char *tty;		/* the console's terminal, a path */
};

/* How the agent ended. */
#define AGENT_POWERED_OFF 0	/* it was asked to by a signal from inside */
#define AGENT_LOST 1		/* the shim is gone, or the agent is at a loss */

/* Serves until the shim is gone or the machine is powered off. Call it as process 1 of a pid
 * namespace with /proc mounted, or as a subreaper (prctl(2)). Returns the exit status. */
int agent_serve(const struct agent *agent);

/* agent_run.c: forks the keeper of a run: the process that its command's processes become children
 * of when their own parents end. Its number, or a negative errno. */
pid_t agent_run_start(const struct agent *agent, const struct talk_message *message,
	const int *fds, unsigned count);
/* Signals all processes that descend from this one: those of a run, from its keeper. SIGKILL: until
 * none is left. */
void agent_run_signal(pid_t keeper, int signal);

/* agent_exec.c: becomes a program of the machine, with ordinary signals, and an environment of
 * `home`, `shell` and `more` (lines KEY=VALUE, each ended by a newline, size bytes; they win).
 * Returns only when that fails, the reason written to standard error: the exit status. */
int agent_exec(const struct agent *agent, const char *const *words, const char *more, size_t size);
/* Becomes the login, for good. 0 or a negative errno. */
int agent_become_login(const struct agent *agent);
/* The same as agent_exec for a program and its arguments, in one text of size bytes with a NUL behind each.
 * Its environment is ours and `more`. */
int agent_exec_program(const char *text, size_t size, const char *more, size_t more_size);
/* Makes a terminal the calling process's own, in a new session, and its 0, 1 and 2. */
int agent_take_terminal(int terminal);

/* agent_files.c: serves file requests below `directory` until the socket's end. */
void agent_files_serve(int socket, int directory);

#endif
