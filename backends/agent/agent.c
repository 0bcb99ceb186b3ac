/* SPDX-License-Identifier: MIT */
/*
 * The agent's loop. As process 1 it also is the parent of everything that has lost its own, and
 * gets no signal from inside that it does not ask for: it asks for those that BusyBox' halt,
 * poweroff and reboot send, and for TERM, which all end the machine.
 */
#include "backends/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/agent/talk.h"
#include "backends/base/memory.h"
#include "backends/protocol/sockets.h"

/* The console's program is started again so long after its last start, in milliseconds. */
#define CONSOLE_MS 1000

static const int end_signals[] = { SIGTERM, SIGUSR1, SIGUSR2, SIGPWR };

struct run {
	uint64_t id;
	pid_t keeper;
	LIST_ENTRY(run) link;
};

struct server {
	const struct agent *agent;
	int signals;		/* signalfd(2) */
	LIST_HEAD(, run) runs;
	pid_t console;		/* 0: is to be started */
	int64_t console_at;	/* when it was, in milliseconds */
	pid_t files;
	int exit;		/* -1: goes on */
};

/* The time, in milliseconds. */
static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Tells the shim. Without it there is nothing left to do. */
static void tell(struct server *server, enum talk_type type, uint64_t id, const int *fd)
{
	struct talk_message message = { .type = type, .id = id,
		.value = type == TALK_HELLO ? TALK_VERSION : 0 };

	if (talk_send(server->agent->control, &message, fd, fd ? 1 : 0) < 0)
		server->exit = AGENT_LOST;
}

/* Forks the process that serves files, and sends the shim the other end of its socket. */
static void start_files(struct server *server)
{
	const struct agent *agent = server->agent;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		server->exit = AGENT_LOST;
		return;
	}
	server->files = fork();
	if (server->files == 0) {
		close(agent->control);
		close(server->signals);
		close(ends[0]);
		setsid();
		prctl(PR_SET_NAME, "poolfs-files");
		if (agent_become_login(agent) < 0)
			_exit(1);
		agent_files_serve(ends[1], agent->files);
		_exit(0);
	}
	close(ends[1]);
	if (server->files < 0)
		server->exit = AGENT_LOST;
	else
		tell(server, TALK_FILES, 0, &ends[0]);
	close(ends[0]);
}

/* Starts the console's program. */
static void start_console(struct server *server)
{
	const struct agent *agent = server->agent;

	server->console_at = now();
	server->console = fork();
	if (server->console > 0)
		return;
	if (server->console < 0) {
		server->console = 0;
		return;
	}
	int terminal = open(agent->tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal < 0 || agent_take_terminal(terminal) < 0 || fchdir(agent->files) < 0)
		_exit(126);
	umask(022);
	_exit(agent_exec(agent, agent->console, "", 0));
}

/* TALK_LISTEN, TALK_CONNECT. A path from the shim is ended by a NUL. */
static void make_socket(struct server *server, const struct talk_message *message)
{
	struct sockets_place place = { .family = message->place.family,
		.port = message->place.port, .path = message->place.path };
	char text[SOCKETS_ADDRESS];
	int fd = message->type == TALK_LISTEN ? sockets_listen(&place, text) :
		sockets_connect(&place);
	struct talk_message answer = { .type = TALK_SOCKET, .id = message->id,
		.value = fd < 0 ? fd : 0 };

	if (talk_send(server->agent->control, &answer, &fd, fd >= 0 ? 1 : 0) < 0)
		server->exit = AGENT_LOST;
	if (fd >= 0)
		close(fd);
}

/* Finds a run. */
static struct run *find_run(struct server *server, uint64_t id)
{
	struct run *run;

	LIST_FOREACH(run, &server->runs, link)
		if (run->id == id)
			return run;
	return NULL;
}

/* TALK_RUN. One that cannot be started is gone. */
static void start_run(struct server *server, const struct talk_message *message, const int *fds,
	unsigned count)
{
	pid_t keeper = agent_run_start(server->agent, message, fds, count);

	if (keeper < 0) {
		tell(server, TALK_GONE, message->id, NULL);
		return;
	}
	struct run *run = memory_new(sizeof(*run));
	run->id = message->id;
	run->keeper = keeper;
	LIST_INSERT_HEAD(&server->runs, run, link);
}

/* TALK_HELLO: what an earlier connection asked for is nobody's. */
static void begin(struct server *server)
{
	struct run *run;

	LIST_FOREACH(run, &server->runs, link) {
		agent_run_signal(run->keeper, SIGKILL);
		kill(run->keeper, SIGKILL);
	}
	tell(server, TALK_HELLO, 0, NULL);
	if (server->agent->programs)
		tell(server, TALK_FILES, 0, NULL);
	else
		start_files(server);
}

/* The shim wants something. */
static void handle(struct server *server, const struct talk_message *message, const int *fds,
	unsigned count)
{
	struct run *run = find_run(server, message->id);

	switch (message->type) {
	case TALK_HELLO:
		begin(server);
		break;
	case TALK_FILES:
		if (server->files > 0)
			kill(server->files, SIGKILL);
		break;
	case TALK_RUN:
		start_run(server, message, fds, count);
		break;
	case TALK_LISTEN:
	case TALK_CONNECT:
		make_socket(server, message);
		break;
	case TALK_SIGNAL:
		if (run)
			agent_run_signal(run->keeper, message->value);
		break;
	case TALK_ABANDON:
		if (run)
			agent_run_signal(run->keeper, SIGKILL);
		/* fall through */
	case TALK_RELEASE:
		if (run)
			kill(run->keeper, SIGKILL);
		break;
	}
}

/* Takes what the shim sent. */
static void take_message(struct server *server)
{
	struct talk_message message;
	int fds[TALK_FDS_MAX];
	unsigned count = 0;

	if (talk_receive(server->agent->control, &message, fds, &count) <= 0) {
		server->exit = AGENT_LOST;
		return;
	}
	handle(server, &message, fds, count);
	while (count > 0)
		close(fds[--count]);
}

/* A child has ended: a keeper, the console's program, or somebody's orphan. */
static void reaped(struct server *server, pid_t pid)
{
	struct run *run;

	if (pid == server->console)
		server->console = 0;
	if (pid == server->files)
		start_files(server);
	LIST_FOREACH(run, &server->runs, link) {
		if (run->keeper != pid)
			continue;
		LIST_REMOVE(run, link);
		tell(server, TALK_GONE, run->id, NULL);
		free(run);
		return;
	}
}

/* Takes one signal. Several of SIGCHLD are one, so all children are looked at. */
static void take_signal(struct server *server)
{
	struct signalfd_siginfo info;
	pid_t pid;

	if (read(server->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGCHLD) {
		server->exit = AGENT_POWERED_OFF;
		return;
	}
	while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
		reaped(server, pid);
}

/* Blocks all signals, and has those that matter told by a descriptor. */
static int watch_signals(void)
{
	sigset_t all, wanted;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	for (size_t i = 0; i < sizeof(end_signals) / sizeof(*end_signals); i++)
		sigaddset(&wanted, end_signals[i]);
	return signalfd(-1, &wanted, SFD_CLOEXEC);
}

/* How long to wait until the console's program is due, in milliseconds; -1: it runs. */
static int console_delay(const struct server *server)
{
	if (server->console > 0 || !server->agent->console)
		return -1;
	int64_t left = server->console_at + CONSOLE_MS - now();
	return server->console_at == 0 || left < 0 ? 0 : (int)left;
}

/* Serves. */
int agent_serve(const struct agent *agent)
{
	struct server server = { .agent = agent, .exit = -1, .signals = watch_signals() };
	struct pollfd polled[] = { { .fd = agent->control, .events = POLLIN },
		{ .fd = server.signals, .events = POLLIN } };

	LIST_INIT(&server.runs);
	if (server.signals < 0)
		return AGENT_LOST;
	while (server.exit < 0) {
		if (console_delay(&server) == 0)
			start_console(&server);
		if (poll(polled, 2, console_delay(&server)) < 0)
			continue;
		if (polled[0].revents)
			take_message(&server);
		if (polled[1].revents)
			take_signal(&server);
	}
	return server.exit;
}
