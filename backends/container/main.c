/* SPDX-License-Identifier: MIT */
/*
 * poolfs-container OPTIONS -- CONSOLE PROGRAM: makes one container and stays with it. Started by the
 * shim, with a socket as standard input (boot.h).
 *
 *	poolfs-shim -- poolfs-container (outside) -- the container's process 1 (inside.c, the agent)
 *
 * The outside process maps the ids and makes the control groups, for which one has to be outside;
 * then it waits. Whichever of the shim and the container ends first, it sees to the end of the
 * other's part: the container's process 1 is killed, with which the kernel kills all others of its
 * pid namespace; its mounts and its network end with the last of them. If it is killed itself, the
 * kernel kills process 1 (PR_SET_PDEATHSIG).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/agent/talk.h"
#include "backends/base/memory.h"
#include "backends/container/boot.h"
#include "backends/container/parts.h"

static const struct option options[] = {
	{ "hostname", required_argument, NULL, 'h' },
	{ "root", required_argument, NULL, 'r' },
	{ "bind", required_argument, NULL, 'b' },
	{ "files", required_argument, NULL, 'f' },
	{ "shell", required_argument, NULL, 's' },
	{ "user", required_argument, NULL, 'u' },
	{ "home", required_argument, NULL, 'o' },
	{ "network", no_argument, NULL, 'n' },
	{ "disk", required_argument, NULL, 'd' },
	{ "memory", required_argument, NULL, 'm' },
	{ "pids", required_argument, NULL, 'p' },
	{ "cpus", required_argument, NULL, 'c' },
	{ "first-id", required_argument, NULL, 'i' },
	{ 0 },
};

/* Takes an option with a text. */
static void take_text(struct settings *settings, int letter)
{
	size_t count = 0;

	while (settings->binds[count])
		count++;
	switch (letter) {
	case 'h':
		settings->hostname = optarg;
		break;
	case 'r':
		settings->root = optarg;
		break;
	case 'b':
		if (count < SETTINGS_BINDS_MAX)
			settings->binds[count] = optarg;
		break;
	case 'f':
		settings->files = optarg;
		break;
	case 's':
		settings->shell = optarg;
		break;
	case 'u':
		settings->user = optarg;
		break;
	case 'o':
		settings->home = optarg;
		break;
	case 'n':
		settings->network = true;
		break;
	}
}

/* Takes an option with a number. */
static void take_number(struct settings *settings, int letter)
{
	uint64_t *numbers[] = { ['d'] = &settings->disk, ['m'] = &settings->memory,
		['p'] = &settings->pids, ['c'] = &settings->cpus, ['i'] = &settings->first_id };

	if ((size_t)letter < sizeof(numbers) / sizeof(*numbers) && numbers[letter])
		*numbers[letter] = strtoull(optarg, NULL, 10);
}

/* Reads the command line. What is kept of it is copied, so that it can be overwritten. */
static int parse(int argc, char **argv, struct settings *settings)
{
	int letter;

	settings->line = argv[0];
	settings->line_size = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
	for (int i = 0; i < argc; i++)
		argv[i] = memory_string(argv[i]);

	while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (letter == '?')
			return -EINVAL;
		take_text(settings, letter);
		take_number(settings, letter);
	}
	settings->console = (const char *const *)argv + optind;
	bool complete = settings->hostname && settings->files && settings->shell && settings->user &&
		settings->home && optind < argc;
	return complete ? 0 : -EINVAL;
}

/* Takes the control socket. */
static int receive_control(void)
{
	struct boot_message message;
	int fds[TALK_FDS_MAX];
	unsigned count = 0;

	if (talk_receive_packet(0, &message, sizeof(message), fds, &count) <= 0 ||
		message.type != BOOT_BEGIN || count != 1) {
		fprintf(stderr, "poolfs-container is started by poolfs-shim\n");
		exit(2);
	}
	return fds[0];
}

/* Writes one of a process's files below /proc. */
static int put(pid_t pid, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int result = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return result;
}

/* Writes both maps. */
static int put_maps(pid_t pid, const char *users, const char *groups)
{
	int result = put(pid, "uid_map", users);

	return result < 0 ? result : put(pid, "gid_map", groups);
}

/* Whether we are in the host's own user namespace, where 0 is the host's root. */
static bool are_host_users(void)
{
	unsigned long long inside = 1, outside = 1, count = 0;
	FILE *file = fopen("/proc/self/uid_map", "re");

	if (file && fscanf(file, "%llu %llu %llu", &inside, &outside, &count) != 3)
		count = 0;
	if (file)
		fclose(file);
	return inside == 0 && outside == 0 && count == UINT32_MAX;
}

/* Maps the container's ids: as root a range that nobody else has; else our own to its root, and those
 * that we may give (user_namespaces(7), "Defining user and group ID mappings"). Root that is root
 * only in a user namespace itself may have no such range: then first_id becomes 0. The host's own
 * root is never a container's. */
static int map_ids(pid_t pid, struct settings *settings)
{
	char users[64], groups[64];

	if (settings->first_id) {
		snprintf(users, sizeof(users), "0 %llu %llu\n",
			(unsigned long long)settings->first_id, (unsigned long long)CONTAINER_IDS);
		int result = put_maps(pid, users, users);
		settings->all_ids = result == 0;
		if (result == 0 || are_host_users())
			return result;
		boot_send(BOOT_LOG, -1, "the container has one user only, for its own ids cannot be "
			"mapped: %s", strerror(-result));
		settings->first_id = 0;
	}
	int given = subids_map(pid);
	settings->all_ids = given == 0;
	if (given != -ENOENT)
		return given;
	snprintf(users, sizeof(users), "0 %u 1\n", geteuid());
	snprintf(groups, sizeof(groups), "0 %u 1\n", getegid());
	int result = put(pid, "setgroups", "deny");
	return result < 0 ? result : put_maps(pid, users, groups);
}

/* The container's process: waits until it may go on, and dies with the one outside. */
static void begin_inside(struct settings *settings, int control, const int *ends)
{
	int fds[TALK_FDS_MAX];
	unsigned count = 0;
	char byte;

	close(ends[1]);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
		talk_receive_packet(ends[0], &byte, 1, fds, &count) <= 0)
		_exit(EXIT_FAILURE);
	settings->mapped_root = count > 0 ? fds[0] : -1;
	close(ends[0]);
	inside_main(settings, control, byte == 'a');
}

/* Makes the process with its namespaces. */
static pid_t make(struct settings *settings, int control, int *go)
{
	long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC |
		(settings->network ? 0 : CLONE_NEWNET) | SIGCHLD;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		boot_fail(-errno, "socketpair");
	long pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
	if (pid == 0)
		begin_inside(settings, control, ends);
	if (pid < 0)
		boot_fail(-errno, "the namespaces cannot be made (may this user make user namespaces? "
			"poolfs.conf(5), \"Containers\", says what to look at)");
	close(ends[0]);
	*go = ends[1];
	return (pid_t)pid;
}

/* Says how the container ended. */
static void tell_end(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		boot_send(BOOT_ENDED, -1, "the container was powered off");
	else if (WIFEXITED(status))
		boot_send(BOOT_ENDED, -1, "the container's agent ended with status %d",
			WEXITSTATUS(status));
	else
		boot_send(BOOT_ENDED, -1, "the container's agent was ended by signal %d (%s)",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
}

/* Waits for the end of the shim, or of the container. */
static int stay(pid_t pid, int watched)
{
	struct pollfd polled[] = { { .fd = 0 }, { .fd = watched, .events = POLLIN } };
	int status;

	while (poll(polled, 2, -1) < 0 && errno == EINTR)
		;
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	limits_remove();
	tell_end(status);
	return 0;
}

/* Lets the container's process go on, with what it could not make itself, and the word whether all
 * ids are mapped. */
static void let_go(const struct settings *settings, pid_t pid, int go)
{
	int mount = settings->root && settings->first_id ? idmap_make(settings->root, pid) : -1;

	if (talk_send_packet(go, settings->all_ids ? "a" : "1", 1, &mount, mount >= 0) < 0 ||
		chdir("/") < 0)
		boot_fail(-errno, "the container does not begin");
	if (mount >= 0)
		close(mount);
	close(go);
}

/* Makes the container. */
int main(int argc, char **argv)
{
	struct settings settings = { 0 };
	int go;

	/* The launcher wanted us to die with the shim; we have to clean up after it. */
	prctl(PR_SET_PDEATHSIG, 0);
	signal(SIGPIPE, SIG_IGN);
	if (parse(argc, argv, &settings) < 0)
		return 2;
	int control = receive_control();
	limits_make(&settings);
	pid_t pid = make(&settings, control, &go);
	close(control);
	int watched = (int)syscall(SYS_pidfd_open, pid, 0);
	int result = watched < 0 ? -errno : map_ids(pid, &settings);
	if (result < 0) {
		kill(pid, SIGKILL);
		limits_remove();
		boot_fail(result, "the container's users cannot be mapped");
	}
	limits_join(pid);
	boot_send(BOOT_STATUS, -1, "pid %d", (int)pid);
	let_go(&settings, pid, go);
	return stay(pid, watched);
}
