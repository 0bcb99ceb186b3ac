/* SPDX-License-Identifier: MIT */
/*
 * The ids that an ordinary user may give away: the ranges of subuid(5) and subgid(5), mapped by
 * newuidmap(1) and newgidmap(1), which are setuid and check them.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/container/boot.h"
#include "backends/container/parts.h"

/* The container's ids but its root, who is ourselves. */
#define GIVEN (CONTAINER_IDS - 1)
/* A program that looks users up in a network may take a while; in seconds. */
#define LIMIT 10

/* The beginning of our range in such a file; 0: we have none that is large enough. */
static unsigned long find_range(const char *path)
{
	const struct passwd *self = getpwuid(geteuid());
	char *number = memory_format("%u", (unsigned)geteuid()), *line = NULL, owner[64];
	unsigned long first, count, found = 0;
	FILE *file = fopen(path, "re");
	size_t room = 0;

	while (file && !found && getline(&line, &room, file) > 0)
		if (sscanf(line, "%63[^:]:%lu:%lu", owner, &first, &count) == 3 && count >= GIVEN &&
			(!strcmp(owner, number) || (self && !strcmp(owner, self->pw_name))))
			found = first;
	free(line);
	free(number);
	if (file)
		fclose(file);
	return found;
}

/* Has a program map our id to 0 and the range behind it. */
static int map(const char *program, pid_t pid, unsigned self, unsigned long first)
{
	char target[32], own[32], range[32], count[32];
	const char *words[] = { program, target, "0", own, "1", "1", range, count, NULL };
	int status = -1;

	snprintf(target, sizeof(target), "%d", (int)pid);
	snprintf(own, sizeof(own), "%u", self);
	snprintf(range, sizeof(range), "%lu", first);
	snprintf(count, sizeof(count), "%lu", (unsigned long)GIVEN);
	pid_t child = fork();
	if (child == 0) {
		dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
		alarm(LIMIT);
		execvp(program, (char *const *)words);
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return -ENOENT;
	return status == 0 ? 0 : -EPERM;
}

/* Maps. Each map is written once: without the first nothing is lost yet. */
int subids_map(pid_t pid)
{
	unsigned long users = find_range("/etc/subuid"), groups = find_range("/etc/subgid");

	if (!users || !groups)
		return -ENOENT;
	int result = map("newuidmap", pid, geteuid(), users);
	if (result < 0) {
		boot_send(BOOT_LOG, -1, "newuidmap does not work, so the container has one user only");
		return -ENOENT;
	}
	result = map("newgidmap", pid, getegid(), groups);
	return result < 0 ? -EPERM : 0;
}
