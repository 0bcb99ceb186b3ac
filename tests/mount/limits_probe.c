/* SPDX-License-Identifier: MIT */
/*
 * limits_probe MEMORY PIDS: sets these limits as poolfs-container does (limits.c), puts a child under
 * them and has it exceed each. It runs in a virtual machine, whose control groups are its own, so it
 * is one static file. Prints what the backend is told, where the groups are, and what became of the
 * children.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/agent/talk.h"
#include "backends/container/boot.h"
#include "backends/container/parts.h"

/* Takes twice the memory that it may. */
static int take_memory(const struct settings *settings)
{
	size_t size = 2 * (size_t)settings->memory;
	char *bytes = malloc(size);

	for (size_t i = 0; bytes && i < size; i += 4096)
		((volatile char *)bytes)[i] = 1;
	free(bytes);
	return 0;
}

/* Makes twice as many processes as there may be; the exit status: how many there were, with itself. */
static int take_processes(const struct settings *settings)
{
	pid_t pids[64];
	int count = 1;

	while (count < 64 && (uint64_t)count < 2 * settings->pids) {
		pids[count] = fork();
		if (pids[count] < 0)
			break;
		if (pids[count] == 0) {
			pause();
			_exit(0);
		}
		count++;
	}
	for (int i = 1; i < count; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	return count;
}

/* Runs one in a child, under the limits. */
static void run(const char *name, int (*take)(const struct settings *settings),
	const struct settings *settings)
{
	int go[2], status = 0;

	if (pipe(go) < 0)
		exit(1);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		char byte;

		close(go[1]);
		if (read(go[0], &byte, 1) < 0)
			_exit(1);
		_exit(take(settings));
	}
	limits_join(pid);
	close(go[0]);
	close(go[1]);
	waitpid(pid, &status, 0);
	printf("%s %s %d\n", name, WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Prints what was told. */
static void print_told(int fd)
{
	struct boot_message message;
	int fds[TALK_FDS_MAX];
	unsigned count;

	while (talk_receive_packet(fd, &message, sizeof(message), fds, &count) > 0)
		printf("%s %s\n", message.type == BOOT_GROUP ? "group" : "told", message.text);
}

/* Probes. */
int main(int argc, char **argv)
{
	struct settings settings = { 0 };
	int ends[2];

	if (argc != 3 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) < 0)
		return 2;
	dup2(ends[0], 0);
	close(ends[0]);
	settings.memory = strtoull(argv[1], NULL, 10);
	settings.pids = strtoull(argv[2], NULL, 10);
	settings.cpus = 1;
	limits_make(&settings);
	run("memory", take_memory, &settings);
	run("pids", take_processes, &settings);
	limits_remove();
	print_told(ends[1]);
	return 0;
}
