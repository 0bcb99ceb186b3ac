/* SPDX-License-Identifier: MIT */
#include "backends/process/launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/base/signals.h"

/* Descriptors that a program may keep are below; nobody hands over more. */
#define KEEP_MAX 64

/* Writes why the program does not run. */
static int failed(const char *what, int code)
{
	fprintf(stderr, "%s: %s\n", what, strerror(code));
	return LAUNCH_FAILED;
}

/* Ends us with the parent. It may have ended before the request: then our parent is another. */
static int die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return failed("prctl", errno);
	if (parent > 0 && getppid() != parent)
		return failed("the process that wanted this program has ended", ESRCH);
	return 0;
}

/* Closes first..last, by walking /proc where the kernel (before 5.9) has no close_range. */
static void close_range_or_walk(unsigned first, unsigned last)
{
	if (first > last)
		return;
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, last, 0) == 0)
		return;
#endif
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		long number = strtol(entry->d_name, NULL, 10);

		if (number >= (long)first && (unsigned)number <= last && number != dirfd(directory))
			close((int)number);
	}
	if (directory)
		closedir(directory);
}

/* Closes all but 0 to 2 and those kept, which exec must then leave open. */
static void close_descriptors(uint64_t keep)
{
	unsigned first = 3;

	for (unsigned fd = 3; fd < KEEP_MAX; fd++) {
		if (!(keep & UINT64_C(1) << fd))
			continue;
		fcntl((int)fd, F_SETFD, 0);
		close_range_or_walk(first, fd - 1);
		first = fd + 1;
	}
	close_range_or_walk(first, ~0u >> 1);
}

/* A number after an option, or -1. */
static long option(const char *argument, const char *name)
{
	size_t size = strlen(name);
	char *end;

	if (strncmp(argument, name, size) != 0)
		return -1;
	long number = strtol(argument + size, &end, 10);
	return *end || end == argument + size ? -1 : number;
}

/* Becomes the program. */
int launch_main(int argc, char **argv)
{
	uint64_t keep = 0;
	pid_t parent = 0;
	int next = 2;

	for (; next < argc && strncmp(argv[next], "--", 2) == 0; next++) {
		long fd = option(argv[next], "--keep=");

		if (fd >= 3 && fd < KEEP_MAX)
			keep |= UINT64_C(1) << fd;
		else if ((parent = (pid_t)option(argv[next], "--parent=")) <= 0)
			return failed(argv[next], EINVAL);
	}
	if (next >= argc)
		return failed(LAUNCH_OPTION, EINVAL);
	int result = die_with(parent);
	if (result)
		return result;
	signals_reset();
	close_descriptors(keep);
	execvp(argv[next], argv + next);
	return failed(argv[next], errno);
}
