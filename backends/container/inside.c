/* SPDX-License-Identifier: MIT */
/* The container's first process, on its way from a fork of the host's to the agent. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/agent/agent.h"
#include "backends/container/boot.h"
#include "backends/container/parts.h"

/* Switches loopback on: the one interface of a network of its own. */
static void start_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		boot_send(BOOT_LOG, -1, "loopback: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* Makes the console's terminal, gives its master away, and shows its other end as /dev/console. */
static void make_console(char *tty, size_t size)
{
	struct winsize window = { .ws_col = 80, .ws_row = 24 };
	unsigned number;
	int fd, master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || unlockpt(master) < 0 || ioctl(master, TIOCGPTN, &number) < 0)
		boot_fail(-errno, "the console's terminal");
	snprintf(tty, size, "/dev/pts/%u", number);
	ioctl(master, TIOCSWINSZ, &window);
	if ((fd = open("/dev/console", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600)) >= 0)
		close(fd);
	if (mount(tty, "/dev/console", NULL, MS_BIND, NULL) < 0)
		boot_send(BOOT_LOG, -1, "/dev/console: %s", strerror(errno));
	boot_send(BOOT_CONSOLE, master, "%s", "");
	close(master);
}

/* Makes a directory, if it is not there, that is the login's. */
static void make_directory(const char *path, mode_t mode, const struct login *login)
{
	bool there = access(path, F_OK) == 0;
	int result = root_make_path(path, mode);

	if (result == 0 && !there && chown(path, login->uid, login->gid) < 0)
		result = -errno;
	if (result < 0)
		boot_fail(result, "%s", path);
}

/* Makes the login's home and the directory of files/, and opens that. */
static int open_files(const struct settings *settings, const struct login *login)
{
	make_directory(settings->home, 0700, login);
	make_directory(settings->files, 0755, login);
	int fd = open(settings->files, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		boot_fail(-errno, "files: %s", settings->files);
	return fd;
}

/* The agent must not be read or traced by what runs in the container: with the host's ids it could
 * be, and through /proc/1/exe our program's file be reached. Its command line tells of the host's
 * paths: in its place stands a name. */
static void hide(const struct settings *settings)
{
	snprintf(settings->line, settings->line_size, "poolfs-agent");
	memset(settings->line + strlen(settings->line), 0,
		settings->line_size - strlen(settings->line));
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NAME, "poolfs-agent") < 0)
		boot_fail(-errno, "prctl");
}

/* Lets go of the backend: from here on only the control socket matters. */
static void forget_boot(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i <= 2; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

/* Becomes the container. */
void inside_main(const struct settings *settings, int control, bool all_ids)
{
	char tty[64];

	if (setsid() < 0 || sethostname(settings->hostname, strlen(settings->hostname)) < 0)
		boot_fail(-errno, "the host name");
	if (!settings->network)
		start_loopback();
	root_make(settings, all_ids);
	hide(settings);
	make_console(tty, sizeof(tty));
	struct login login = login_find(settings, all_ids);
	struct agent agent = {
		.control = control,
		.files = open_files(settings, &login),
		.shell = settings->shell,
		.user = settings->user,
		.home = settings->home,
		.uid = login.uid,
		.gid = login.gid,
		.console = settings->console,
		.tty = tty,
	};
	if (access(settings->shell, X_OK) < 0)
		boot_fail(-errno, "shell: %s in the container", settings->shell);
	bounds_set(!settings->network);
	boot_send(BOOT_READY, -1, "%s", "");
	forget_boot();
	_exit(agent_serve(&agent));
}
