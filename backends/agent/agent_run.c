/* SPDX-License-Identifier: MIT */
/*
 * A run in the machine is a small tree of processes:
 *
 *	agent (1) --- keeper (subreaper) --- SHELL -c TEXT --- whatever it starts
 *
 * The keeper is a fork of the agent that only waits. As a subreaper (prctl(2)) it becomes the
 * parent of everything below it whose own parent ended: sessions, double forks and an empty
 * environment change nothing in that. So "all processes of the run" is what descends from the
 * keeper, and is found by the parents that /proc tells.
 *
 * The keeper says EXITED when the shell has ended and goes on until its last child has, which
 * the agent then sees and tells as GONE. When the agent is killed, which only a machine without a pid
 * namespace outlives, the keeper kills what it keeps.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/agent/agent.h"
#include "backends/agent/talk.h"
#include "backends/base/memory.h"
#include "backends/protocol/protocol.h"

/* Passes over /proc that a SIGKILL makes at most: each finds what was forked during the last. */
#define KILL_PASSES 50
/* By which the kernel tells a keeper that the agent has died; it is blocked, as all signals are. */
#define AGENT_DIED SIGUSR1

/* What a keeper knows of its run. */
struct keeper {
	const struct agent *agent;
	const struct talk_message *message;
	int fds[TALK_FDS_MAX];	/* the parts; standard input, output, error */
	char *text, *environment, *cwd;
	int master, terminal;	/* -1: none */
	pid_t parent;		/* the agent */
};

/* ---- Finding the processes ------------------------------------------------ */

struct process {
	pid_t pid, parent;
	unsigned long long start;	/* tells it from another one that gets its number */
	bool ended;
};

/* Reads one process's state, parent, number of threads and start: fields 3, 4, 20 and 22 of proc(5)'s stat,
 * behind the name, which may hold anything. The state is that of the first thread, which others may outlive. */
static bool read_process(const char *name, struct process *process)
{
	static const char format[] = " %c %d %*s %*s %*s %*s %*s %*s %*s %*s "
		"%*s %*s %*s %*s %*s %*s %*s %d %*s %llu";
	char path[64], text[512], state;
	unsigned long long start;
	int parent, threads;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t size = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[size > 0 ? size : 0] = '\0';
	const char *rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1, format, &state, &parent, &threads, &start) != 4)
		return false;
	*process = (struct process){ .pid = (pid_t)atoi(name), .parent = parent,
		.start = start, .ended = state == 'Z' && threads <= 1 };
	return true;
}

/* Lists all processes of the machine. */
static size_t list_processes(struct process **out)
{
	DIR *directory = opendir("/proc");
	struct process *list = NULL, found;
	size_t count = 0, room = 0;
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
			!read_process(entry->d_name, &found))
			continue;
		if (count == room) {
			room = room ? 2 * room : 64;
			list = memory_grow(list, room * sizeof(*list));
		}
		list[count++] = found;
	}
	if (directory)
		closedir(directory);
	*out = list;
	return count;
}

/* The process with that number. The list is in the order of numbers, as /proc is read. */
static const struct process *find_process(const struct process *list, size_t count, pid_t pid)
{
	size_t low = 0;

	while (count > 0) {
		size_t half = count / 2;

		if (list[low + half].pid == pid)
			return &list[low + half];
		if (list[low + half].pid < pid) {
			low += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return NULL;
}

/* Whether a process descends from the keeper. No chain of parents is longer than the list. */
static bool descends(const struct process *list, size_t count, const struct process *process,
	pid_t keeper)
{
	for (size_t steps = 0; process && steps < count; steps++) {
		if (process->parent == keeper)
			return true;
		process = find_process(list, count, process->parent);
	}
	return false;
}

/* Sends a signal to a listed process, and to no other one that has its number by now: what holds the process is
 * asked for first, then whether it is the listed one. A kernel without that (before Linux 5.3) has kill(2). */
static bool signal_process(const struct process *process, int signal)
{
	struct process now;
	char name[16];
	int fd = (int)syscall(SYS_pidfd_open, process->pid, 0);

	if (fd < 0)
		return errno != ESRCH && kill(process->pid, signal) == 0;
	snprintf(name, sizeof(name), "%d", (int)process->pid);
	bool sent = read_process(name, &now) && now.start == process->start &&
		syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0;
	close(fd);
	return sent;
}

/* Sends a signal to what is there now; how many were alive. */
static unsigned signal_once(pid_t keeper, int signal)
{
	struct process *list;
	size_t count = list_processes(&list);
	unsigned alive = 0;

	for (size_t i = 0; i < count; i++)
		if (!list[i].ended && descends(list, count, &list[i], keeper) &&
			signal_process(&list[i], signal))
			alive++;
	free(list);
	return alive;
}

/* Signals. */
void agent_run_signal(pid_t keeper, int signal)
{
	unsigned passes = signal == SIGKILL ? KILL_PASSES : 1;

	while (passes-- > 0 && signal_once(keeper, signal) > 0)
		;
}

/* ---- The command ------------------------------------------------------------ */

/* Reads one part; a NUL follows. */
static char *read_part(int fd, off_t from, size_t size)
{
	char *part = memory_new(size + 1);
	size_t got = 0;

	while (got < size) {
		ssize_t count = pread(fd, part + got, size - got, from + (off_t)got);

		if (count <= 0)
			_exit(AGENT_LOST);
		got += (size_t)count;
	}
	return part;
}

/* Reads all parts. */
static void read_parts(struct keeper *keeper)
{
	const struct talk_message *message = keeper->message;
	off_t environment = message->text_size, cwd = environment + message->environment_size;

	keeper->text = read_part(keeper->fds[0], 0, message->text_size);
	keeper->environment = read_part(keeper->fds[0], environment, message->environment_size);
	keeper->cwd = read_part(keeper->fds[0], cwd, message->cwd_size);
}

/* Makes the run's terminal. */
static int open_terminal(struct keeper *keeper)
{
	struct winsize size = { .ws_col = keeper->message->columns,
		.ws_row = keeper->message->rows };

	keeper->master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (keeper->master < 0 || unlockpt(keeper->master) < 0)
		return -errno;
	keeper->terminal = ioctl(keeper->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (keeper->terminal < 0)
		return -errno;
	ioctl(keeper->terminal, TIOCSWINSZ, &size);
	/* It is ours already, unless the login is another. */
	if (keeper->agent->uid == 0)
		return 0;
	return fchown(keeper->terminal, keeper->agent->uid, (gid_t)-1) < 0 ? -errno : 0;
}

/* Makes standard input, output and error what they have to be. */
static int take_standard(const struct keeper *keeper)
{
	if (keeper->terminal >= 0)
		return agent_take_terminal(keeper->terminal);
	if (setsid() < 0)
		return -errno;
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(keeper->fds[fd + 1], fd) < 0)
			return -errno;
	return 0;
}

/* Becomes the command's shell. */
static int become_command(const struct keeper *keeper)
{
	const struct agent *agent = keeper->agent;
	const char *name = agent->shell ? strrchr(agent->shell, '/') : NULL;
	const char *words[] = { agent->shell, "-c", keeper->text, NULL };

	if (take_standard(keeper) < 0 || agent_become_login(agent) < 0)
		return 126;
	umask(022);
	if (fchdir(agent->files) < 0 || (*keeper->cwd && chdir(keeper->cwd) < 0)) {
		fprintf(stderr, "%s: %s: %s\n", name ? name + 1 : "poolfs", keeper->cwd,
			strerror(errno));
		return 255;
	}
	if (agent->programs)
		return agent_exec_program(keeper->text, keeper->message->text_size,
			keeper->environment, keeper->message->environment_size);
	return agent_exec(agent, words, keeper->environment, keeper->message->environment_size);
}

/* Tells the shim something of the run. */
static void tell(const struct keeper *keeper, enum talk_type type, int value, const int *fd)
{
	struct talk_message message = { .type = type, .id = keeper->message->id, .value = value };

	if (talk_send(keeper->agent->control, &message, fd, fd ? 1 : 0) < 0)
		_exit(AGENT_LOST);
}

/* Waits for the command, and then for all that it left. */
static void keep(const struct keeper *keeper, pid_t command)
{
	sigset_t wanted;
	int status;
	pid_t pid;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, AGENT_DIED);
	for (;;) {
		while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
			if (pid == command)
				tell(keeper, TALK_EXITED, status, NULL);
		if (pid < 0 && errno == ECHILD)
			_exit(0);
		if (getppid() != keeper->parent || sigwaitinfo(&wanted, NULL) == AGENT_DIED)
			break;
	}
	agent_run_signal(getpid(), SIGKILL);
	_exit(AGENT_LOST);
}

/* The keeper's life. It must hold no end of the command's pipes: their end is told by that. */
static void keeper_main(struct keeper *keeper)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, AGENT_DIED);
	prctl(PR_SET_NAME, "poolfs-run");
	setsid();
	read_parts(keeper);
	int failed = keeper->message->columns ? open_terminal(keeper) : 0;
	pid_t command = failed < 0 ? failed : fork();

	if (command == 0)
		_exit(become_command(keeper));
	tell(keeper, TALK_STARTED, 0, keeper->master >= 0 ? &keeper->master : NULL);
	for (int i = 0; i < TALK_FDS_MAX; i++)
		if (keeper->fds[i] >= 0)
			close(keeper->fds[i]);
	if (keeper->terminal >= 0)
		close(keeper->terminal);
	if (keeper->master >= 0)
		close(keeper->master);
	free(keeper->text);
	free(keeper->environment);
	free(keeper->cwd);
	if (command < 0)
		tell(keeper, TALK_EXITED, 126 << 8, NULL);
	keep(keeper, command);
}

/* Whether a message and its descriptors can be a run's. */
static bool is_run(const struct talk_message *message, unsigned count)
{
	return message->text_size <= TALK_TEXT_MAX &&
		message->environment_size <= PROTOCOL_ENVIRONMENT_MAX &&
		message->cwd_size <= PROTOCOL_CWD_MAX && count == (message->columns ? 1 : 4);
}

/* Forks the keeper. It keeps the agent's blocked signals, so that only SIGKILL ends it. */
pid_t agent_run_start(const struct agent *agent, const struct talk_message *message,
	const int *fds, unsigned count)
{
	struct keeper keeper = { .agent = agent, .message = message, .fds = { -1, -1, -1, -1 },
		.master = -1, .terminal = -1, .parent = getpid() };

	if (!is_run(message, count))
		return -EPROTO;
	memcpy(keeper.fds, fds, count * sizeof(*fds));
	pid_t pid = fork();
	if (pid == 0)
		keeper_main(&keeper);
	return pid < 0 ? -errno : pid;
}
