/* SPDX-License-Identifier: MIT */
/*
 * The container's root filesystem. Everything that can be written lies in one tmpfs, which ends
 * with the container's last process, so nothing has to be removed after it:
 *
 *	layers/NAME/upper	what is written over a directory of the host
 *	own/			/tmp and /run, where there is an image
 *	root/			what becomes "/"
 *
 * Without the key `root` the container gets the host's programs and nothing else of it: /usr, /etc,
 * and those of /bin, /sbin, /lib* that are directories of their own, each under a layer. All else
 * (/home, /root, /var, /tmp, /run, /srv, /opt) is the container's own and empty at first. With a
 * directory, that is "/", under one layer; an archive is unpacked.
 *
 * The ids of a container's users are not those of the host's: the host's files seem to be
 * nobody's, and only what any user of the host may read can be read.
 *
 * An image's links may lead anywhere, and until it is "/" they would lead to the host's files: what is made
 * in it is found by within.c.
 *
 * In a user namespace the order matters: the kernel takes a look at whose we are when a path of
 * the host is resolved, so that is done first, as the user who started us; then we become the
 * container's root, to whom the files that are made belong.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/container/boot.h"
#include "backends/container/parts.h"

/* Directories of the host's that a container without `root` gets. */
static const char *const host_names[] = { "usr", "etc", "bin", "sbin", "lib", "lib32", "lib64",
	"libx32" };
#define HOST_NAMES (sizeof(host_names) / sizeof(*host_names))

/* What can be installed without a package manager goes there. */
static const char *const usr_skeleton[] = { "local/bin", "local/sbin", "local/lib", "local/include",
	"local/share", "local/etc", "local/src", NULL };

static const struct {
	const char *path;
	mode_t mode;
} directories[] = {
	{ "proc", 0555 }, { "sys", 0555 }, { "dev", 0755 }, { "tmp", 01777 }, { "run", 0755 },
	{ "root", 0700 }, { "home", 0755 }, { "mnt", 0755 }, { "srv", 0755 }, { "opt", 0755 },
	{ "var", 0755 }, { "var/tmp", 01777 }, { "var/log", 0755 }, { "var/lib", 0755 },
	{ "var/cache", 0755 }, { "var/spool", 0755 },
};

static const char *const devices[] = { "null", "zero", "full", "random", "urandom", "tty" };

/* In /dev. */
static const struct {
	const char *name, *target;
} links[] = {
	{ "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
	{ "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },
};

/* What of the host is used, opened before we are another. -1: is not there. */
struct sources {
	int host[HOST_NAMES];
	int root;
	bool archive;
	int binds[SETTINGS_BINDS_MAX];
};

/* Makes a directory with all above it. */
int root_make_path(const char *path, mode_t mode)
{
	char part[PATH_MAX];

	for (size_t i = 1; path[i]; i++) {
		if (path[i] != '/' || i >= sizeof(part))
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	if (mkdir(path, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	return chmod(path, mode) < 0 ? -errno : 0;
}

/* Opens a directory of the host. A link is none: it is made anew. */
static int open_host(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/%s", name);
	return open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Opens what the key `root` names. */
static void open_root(const char *path, struct sources *sources)
{
	struct stat status;

	sources->root = open(path, O_PATH | O_CLOEXEC);
	if (sources->root < 0 || fstat(sources->root, &status) < 0)
		boot_fail(-errno, "root: %s", path);
	sources->archive = S_ISREG(status.st_mode);
	if (!sources->archive)
		return;
	close(sources->root);
	sources->root = open(path, O_RDONLY | O_CLOEXEC);
	if (sources->root < 0)
		boot_fail(-errno, "root: %s", path);
}

/* Opens all. */
static void open_sources(const struct settings *settings, struct sources *sources)
{
	for (size_t i = 0; i < HOST_NAMES && !settings->root; i++)
		sources->host[i] = open_host(host_names[i]);
	if (settings->root && settings->mapped_root < 0)
		open_root(settings->root, sources);
	for (size_t i = 0; settings->binds[i]; i++) {
		sources->binds[i] = open(settings->binds[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (sources->binds[i] < 0)
			boot_fail(-errno, "bind: %s", settings->binds[i]);
	}
}

/* Mounts the tmpfs on the current directory, and goes there. */
static void mount_space(const struct settings *settings)
{
	char here[PATH_MAX], options[128];

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		boot_fail(-errno, "the mounts cannot be made private");
	snprintf(options, sizeof(options), "mode=755,uid=0,gid=0,size=%llu",
		(unsigned long long)settings->disk);
	if (!getcwd(here, sizeof(here)) ||
		mount("poolfs", ".", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 || chdir(here) < 0)
		boot_fail(-errno, "a tmpfs cannot be mounted (do user namespaces work for this user? "
			"poolfs.conf(5), \"Containers\", says what to look at)");
}

/* Becomes the container's root. The kernel forgets at that whom we die with. */
static void become_root(bool all_ids)
{
	if (setresgid(0, 0, 0) < 0 || (all_ids && setgroups(0, NULL) < 0) || setresuid(0, 0, 0) < 0)
		boot_fail(-errno, "the container's root cannot be had");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Mounts the host's directories, and makes its links anew. */
static void make_host_tree(const struct sources *sources)
{
	char path[64], target[PATH_MAX], link[64];

	for (size_t i = 0; i < HOST_NAMES; i++) {
		snprintf(path, sizeof(path), "root/%s", host_names[i]);
		snprintf(link, sizeof(link), "/%s", host_names[i]);
		ssize_t size = readlink(link, target, sizeof(target) - 1);
		if (size > 0) {
			target[size] = '\0';
			if (symlink(target, path) < 0)
				boot_fail(-errno, "%s", link);
			continue;
		}
		if (sources->host[i] < 0)
			continue;
		int result = root_make_path(path, 0755);
		if (result < 0)
			boot_fail(result, "%s", link);
		layers_mount(&(struct layer){ .lower = sources->host[i], .name = host_names[i],
			.target = path, .skeleton = i == 0 ? usr_skeleton : NULL });
	}
}

/* Unpacks the archive. */
static void unpack(int archive, bool all_ids)
{
	char name[64];
	int status = 0;
	pid_t pid = fork();

	snprintf(name, sizeof(name), "/proc/self/fd/%d", archive);
	if (pid == 0) {
		int empty = open("/dev/null", O_RDONLY);

		fcntl(archive, F_SETFD, 0);
		dup2(empty, 0);
		execlp("tar", "tar", "-x", "-C", "root", "--numeric-owner",
			all_ids ? "--same-owner" : "--no-same-owner", "-f", name, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		boot_fail(-errno, "root: tar cannot be started");
	if (status != 0)
		boot_fail(-EIO, "root: the archive could not be unpacked (see the log)");
}

/* Attaches the directory whose owners are mapped, to find it as any other. */
static void attach_mapped(const struct settings *settings, struct sources *sources)
{
	int result = root_make_path("lower", 0755);

	if (result == 0)
		result = idmap_attach(settings->mapped_root, "lower");
	if (result == 0 && (sources->root = open("lower", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		result = -errno;
	if (result < 0)
		boot_fail(result, "root: %s", settings->root);
	close(settings->mapped_root);
}

/* Makes what is to be "/", of what was opened. Goes there. */
static void make_tree(const struct settings *settings, const struct sources *sources, bool all_ids)
{
	int result = root_make_path("root", 0755);

	if (result == 0 && mount("root", "root", NULL, MS_BIND, NULL) < 0)
		result = -errno;
	if (result < 0)
		boot_fail(result, "the root directory");
	if (!settings->root)
		make_host_tree(sources);
	else if (sources->archive)
		unpack(sources->root, all_ids);
	else
		layers_mount(&(struct layer){ .lower = sources->root, .name = "root",
			.target = "root" });
	if (chdir("root") < 0)
		boot_fail(-errno, "the root directory");
}

/* Makes the directories that every container has; what else the image has there stays. */
static void make_directories(void)
{
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
		const char *name;
		int parent = within_parent(directories[i].path, &name);

		if (parent >= 0 && mkdirat(parent, name, 0755) == 0)
			fchmodat(parent, name, directories[i].mode, 0);
		if (parent >= 0)
			close(parent);
	}
}

/* Mounts on a directory of the root filesystem. 0 or a negative errno. */
static int mount_within(const char *source, const char *target, const char *type, unsigned long flags,
	const char *options)
{
	char name[WITHIN_NAME];
	int fd = within_open(target), result = 0;

	if (fd < 0)
		return fd;
	within_name(fd, name);
	if (mount(source, name, type, flags, options) < 0)
		result = -errno;
	close(fd);
	return result;
}

/* Mounts one of the kernel's filesystems. */
static void mount_one(const char *type, const char *target, unsigned long flags,
	const char *options)
{
	int result = mount_within(type, target, type, MS_NOSUID | flags, options);

	if (result < 0)
		boot_fail(result, "%s cannot be mounted on /%s", type, target);
}

/* Binds one device in dev. One that this host lacks, or hides, is left out. */
static void bind_device(const char *name, int dev)
{
	char from[64], to[WITHIN_NAME];
	int fd = openat(dev, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	snprintf(from, sizeof(from), "/dev/%s", name);
	within_name(fd, to);
	if (fd < 0 || mount(from, to, NULL, MS_BIND, NULL) < 0)
		boot_send(BOOT_LOG, -1, "%s cannot be had: %s", from, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* Mounts what the kernel offers; /sys is left out, for it tells of the host. The group of terminals
 * is 5 on all distributions, if it is mapped. */
static void mount_kernel(bool all_ids)
{
	mount_one("proc", "proc", MS_NODEV | MS_NOEXEC, NULL);
	mount_one("tmpfs", "dev", MS_NOEXEC, "mode=755,size=64k");
	int dev = within_open("dev");
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		bind_device(devices[i], dev);
	if (mkdirat(dev, "pts", 0755) < 0 || mkdirat(dev, "shm", 0755) < 0)
		boot_fail(-errno, "/dev");
	mount_one("devpts", "dev/pts", MS_NOEXEC,
		all_ids ? "newinstance,ptmxmode=0666,mode=620,gid=5"
			: "newinstance,ptmxmode=0666,mode=620");
	mount_one("tmpfs", "dev/shm", MS_NODEV, "mode=1777,size=64m");
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		if (symlinkat(links[i].target, dev, links[i].name) < 0)
			boot_fail(-errno, "/dev/%s", links[i].name);
	close(dev);
}

/* What an image has in /tmp and /run is of another boot: empty ones stand in their place. */
static void empty_directories(void)
{
	static const struct {
		const char *own, *target;
		mode_t mode;
	} pairs[] = { { "../own/tmp", "tmp", 01777 }, { "../own/run", "run", 0755 } };

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		int result = root_make_path(pairs[i].own, pairs[i].mode);

		if (result == 0)
			result = mount_within(pairs[i].own, pairs[i].target, NULL, MS_BIND, NULL);
		if (result < 0)
			boot_fail(result, "/%s", pairs[i].target);
	}
}

/* Binds the further directories. */
static void bind_directories(const struct settings *settings, const struct sources *sources)
{
	for (size_t i = 0; settings->binds[i]; i++) {
		int target = within_make(settings->binds[i], 0755);
		int result = target < 0 ? target : layers_bind(sources->binds[i], target);

		if (result < 0)
			boot_fail(result, "bind: %s", settings->binds[i]);
		close(target);
	}
}

/* Writes a file of /etc anew; one that is the image's own and cannot be replaced stays. */
static void write_etc(const char *path, const char *text)
{
	const char *name;
	int parent = within_parent(path, &name), fd = -1;

	if (parent >= 0) {
		unlinkat(parent, name, 0);
		fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
		close(parent);
	}
	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		boot_send(BOOT_LOG, -1, "/%s: %s", path, strerror(errno));
	close(fd);
}

/* Writes the files that name the machine, and with the host's network its servers of names: on
 * many hosts the file is a link to /run. */
static void write_names(const struct settings *settings)
{
	char text[4096];
	int fd = settings->network ? open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC) : -1;
	ssize_t size = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (fd >= 0)
		close(fd);
	if (size > 0) {
		text[size] = '\0';
		write_etc("etc/resolv.conf", text);
	}
	snprintf(text, sizeof(text), "%s\n", settings->hostname);
	write_etc("etc/hostname", text);
	if (settings->network)
		return;
	snprintf(text, sizeof(text), "127.0.0.1 localhost %s\n::1 localhost\n", settings->hostname);
	write_etc("etc/hosts", text);
}

/* The current directory becomes "/" and the host's is let go: pivot_root(2), "pivot_root(., .)". */
static void enter(void)
{
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		boot_fail(-errno, "the root directory cannot be entered");
}

/* Closes what was opened: the agent's children must not have a way to the host. */
static void close_sources(const struct settings *settings, const struct sources *sources)
{
	for (size_t i = 0; i < HOST_NAMES && !settings->root; i++)
		if (sources->host[i] >= 0)
			close(sources->host[i]);
	if (sources->root >= 0)
		close(sources->root);
	for (size_t i = 0; settings->binds[i]; i++)
		close(sources->binds[i]);
}

/* Makes it. */
void root_make(const struct settings *settings, bool all_ids)
{
	struct sources sources = { .root = -1 };

	umask(022);
	open_sources(settings, &sources);
	mount_space(settings);
	become_root(all_ids);
	if (settings->mapped_root >= 0)
		attach_mapped(settings, &sources);
	make_tree(settings, &sources, all_ids);
	make_directories();
	mount_kernel(all_ids);
	if (settings->root)
		empty_directories();
	bind_directories(settings, &sources);
	write_names(settings);
	enter();
	close_sources(settings, &sources);
}
