/* SPDX-License-Identifier: MIT */
#include "fs/workdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "backends/base/started.h"
#include "backends/base/text.h"
#include "backends/protocol/protocol.h"
#include "fs/mounts.h"

#define SOCKET_NAME "shim.sock"
/* What an earlier daemon left gets so long to end before it is killed. */
#define ORPHAN_MS 8000
/* And one that was killed gets so long to be gone. */
#define KILLED_MS 1000

/* The last part of a mount point's name, and a hash of all of it (FNV-1a). */
static char *mount_name(const char *mount_point)
{
	uint32_t hash = 2166136261u;
	const char *slash = strrchr(mount_point, '/');
	const char *last = slash && slash[1] ? slash + 1 : "mount";

	for (const char *c = mount_point; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	return memory_format("%.40s-%08x", last, hash);
}

/* Chooses by who we are. */
char *workdir_default(const char *mount_point)
{
	char *name = mount_name(mount_point), *path;
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		path = memory_format("/var/lib/poolfs/%s", name);
	else if (state && *state == '/')
		path = memory_format("%s/poolfs/%s", state, name);
	else
		path = memory_format("%s/.local/state/poolfs/%s", home ? home : "/tmp", name);
	free(name);
	return path;
}

/* mkdir -p. */
static int make_path(const char *path)
{
	char *copy = memory_string(path);
	int result = 0;

	for (char *slash = copy + 1; result == 0 && (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			result = -errno;
		*slash = '/';
	}
	if (result == 0 && mkdir(copy, 0700) < 0 && errno != EEXIST)
		result = -errno;
	free(copy);
	return result;
}

/* Takes the lock, or says who has it. */
static int take_lock(int workdir, const char *path, struct poolfs_err *err)
{
	char text[32] = "";
	int fd = openat(workdir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return poolfs_err_set(err, -errno, "%s/lock: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
		int pid = got > 0 ? atoi(text) : 0;

		close(fd);
		return poolfs_err_set(err, -EBUSY,
			"working directory %s: another poolfs (pid %d) uses it; end that one, or set "
			"another workdir in [poolfs]", path, pid);
	}
	int length = snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)length, 0) != length)
		log_warning("", "%s/lock: %s", path, strerror(errno));
	return fd;
}

/* Opens and locks. */
int workdir_open(const char *path, int *lock, struct poolfs_err *err)
{
	struct stat stat;
	int result = make_path(path);
	int fd = result < 0 ? result : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return poolfs_err_set(err, result < 0 ? result : -errno, "working directory %s: %s",
			path, strerror(result < 0 ? -result : errno));
	if (fstat(fd, &stat) == 0 && stat.st_uid != geteuid()) {
		close(fd);
		return poolfs_err_set(err, -EPERM,
			"working directory %s: belongs to another user; set workdir in [poolfs]", path);
	}
	fchmod(fd, 0700);
	*lock = take_lock(fd, path, err);
	if (*lock < 0) {
		close(fd);
		return *lock;
	}
	return fd;
}

/* Makes an instance's directory. */
int workdir_make(const char *path)
{
	if (mkdir(path, 0700) < 0)
		return -errno;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* Writes all or nothing. */
int workdir_write_file(int directory, const char *name, const void *data, size_t size)
{
	char temporary[64];
	int result = 0;

	snprintf(temporary, sizeof(temporary), "%s.tmp", name);
	int fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ssize_t wrote = write(fd, data, size);
	if (wrote != (ssize_t)size)
		result = wrote < 0 ? -errno : -ENOSPC;
	close(fd);
	if (result == 0 && renameat(directory, temporary, directory, name) < 0)
		result = -errno;
	if (result < 0)
		unlinkat(directory, temporary, 0);
	return result;
}

/* Opens it without waiting: to open a FIFO would take until somebody writes to it. */
int workdir_open_file(int directory, const char *name, off_t most)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat found;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && found.st_size <= most)
		return fd;
	close(fd);
	return -EPROTO;
}

/* Reads its end. */
void workdir_last_line(int directory, const char *name, char *line, size_t size)
{
	char words[512 + 1];
	int fd = workdir_open_file(directory, name, INT64_MAX);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = end > 512 ? end - 512 : 0;
	ssize_t count = end > 0 ? pread(fd, words, sizeof(words) - 1, from) : 0;

	while (count > 0 && words[count - 1] == '\n')
		count--;
	words[count > 0 ? count : 0] = '\0';
	char *newline = strrchr(words, '\n');
	text_escape(line, size, newline ? newline + 1 : words);
	if (fd >= 0)
		close(fd);
}

/* For nftw. */
static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
	remove(path);
	return 0;
}

/* Removes a directory tree; links in it are removed, not followed. What programs have mounted there, it may
 * be from the same filesystem, is not in it. */
void workdir_remove(const char *path, uint32_t id)
{
	char *name = memory_format("%s/%u", path, id), where[512];
	int result = mounts_detach(name, where, sizeof(where));

	if (result < 0)
		log_warning("", "%s is left, with what is mounted in it: %s: %s", name, where,
			strerror(-result));
	else
		nftw(name, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	free(name);
}

/* The socket's address by way of the descriptor, so that no path is longer than sun_path. */
static struct sockaddr_un address_of(int directory)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", directory,
		SOCKET_NAME);
	return address;
}

/* A fresh socket. */
static int make_socket(int flags)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	return fd < 0 ? -errno : fd;
}

/* Binds and listens. */
int workdir_listen(int directory)
{
	struct sockaddr_un address = address_of(directory);
	int fd = make_socket(0);

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
		int result = -errno;

		close(fd);
		return result;
	}
	return fd;
}

/* Connects, at once: where the queue of the listening socket has no room, nobody takes anything from it. */
static int connect_shim(int directory)
{
	struct sockaddr_un address = address_of(directory);
	int fd = make_socket(SOCK_NONBLOCK);

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int result = -errno;

		close(fd);
		return result;
	}
	return fd;
}

/* What an earlier daemon left: one shim that may be alive. */
struct orphan {
	uint32_t id;
	int socket;	/* -1: nobody answers */
	int pid;	/* 0: not known */
	unsigned long long start;	/* of the process, as /proc tells it */
};

/* Asks a left-over shim to stop. */
static struct orphan orphan_stop(int workdir, uint32_t id)
{
	struct orphan orphan = { .id = id, .socket = -1 };
	struct {
		struct frame_header header;
		struct frame_hello hello;
		struct frame_header stop;
	} frames = { .header = { .size = sizeof(struct frame_hello), .type = FRAME_HELLO },
		.hello = { .version = PROTOCOL_VERSION, .pid = getpid() },
		.stop = { .type = FRAME_STOP } };
	char name[16], text[64] = "";

	snprintf(name, sizeof(name), "%u", id);
	int directory = openat(workdir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (directory < 0)
		return orphan;
	int fd = workdir_open_file(directory, "shim.pid", sizeof(text) - 1);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		sscanf(text, "%d %llu", &orphan.pid, &orphan.start);
	if (fd >= 0)
		close(fd);
	orphan.socket = connect_shim(directory);
	if (orphan.socket >= 0 &&
		send(orphan.socket, &frames, sizeof(frames), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_warning("", "shim %u: %s", id, strerror(errno));
	close(directory);
	return orphan;
}

/* Milliseconds of the monotonic clock. */
static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether the process is there, and still the one that was noted. */
static bool orphan_runs(const struct orphan *orphan)
{
	return orphan->pid > 1 && orphan->start && started_at(orphan->pid) == orphan->start;
}

/* Waits until the shim closed its end, or the time is over. */
static void orphan_hear(struct orphan *orphan, int64_t deadline)
{
	char buffer[4096];
	int64_t left;

	while (orphan->socket >= 0 && (left = deadline - now_ms()) > 0) {
		struct pollfd wait = { .fd = orphan->socket, .events = POLLIN };

		if (poll(&wait, 1, (int)left) > 0 &&
			recv(orphan->socket, buffer, sizeof(buffer), MSG_DONTWAIT) <= 0)
			break;
	}
	if (orphan->socket >= 0)
		close(orphan->socket);
}

/* Waits until its process is gone, or the time is over: only then is its directory free. */
static void orphan_watch(const struct orphan *orphan, int64_t deadline)
{
	static const struct timespec moment = { .tv_nsec = 10000000 };

	while (orphan_runs(orphan) && now_ms() < deadline)
		nanosleep(&moment, NULL);
}

/* Waits for a shim's end; kills one that takes too long, or that nobody can talk to. */
static void orphan_wait(struct orphan *orphan, int64_t deadline)
{
	orphan_hear(orphan, deadline);
	if (orphan->socket >= 0)
		orphan_watch(orphan, deadline);
	if (!orphan_runs(orphan))
		return;
	log_warning("", "shim %u (pid %d) does not stop and is killed", orphan->id, orphan->pid);
	kill(orphan->pid, SIGKILL);
	orphan_watch(orphan, now_ms() + KILLED_MS);
}

/* The numbers of the instance directories; free() them. */
static uint32_t *list_ids(int workdir, size_t *count)
{
	uint32_t *ids = NULL;
	int fd = openat(workdir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	*count = 0;
	while (dir && (entry = readdir(dir))) {
		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
			continue;
		ids = memory_grow(ids, (*count + 1) * sizeof(*ids));
		ids[(*count)++] = (uint32_t)strtoul(entry->d_name, NULL, 10);
	}
	if (dir)
		closedir(dir);
	return ids;
}

/* Looks for the sign. */
bool workdir_owes(int directory)
{
	return directory >= 0 && faccessat(directory, PROTOCOL_OWES_FILE, F_OK, 0) == 0;
}

/* Removes an orphan's directory, or keeps it for what is owed. */
static void orphan_remove(const struct orphan *orphan, int workdir, const char *path,
	struct workdir_left *left)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", orphan->id);
	int directory = openat(workdir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	bool owes = workdir_owes(directory) && !orphan_runs(orphan);
	if (directory >= 0)
		close(directory);
	if (owes)
		left->owing[left->owing_count++] = orphan->id;
	else
		workdir_remove(path, orphan->id);
}

/* Ends all at the same time, then waits for each. */
int workdir_clean(int workdir, const char *path, struct workdir_left *left)
{
	size_t count;
	uint32_t *ids = list_ids(workdir, &count);
	struct orphan *orphans = memory_new((count + 1) * sizeof(*orphans));
	int64_t deadline = now_ms() + ORPHAN_MS;

	*left = (struct workdir_left){ .next_id = 1,
		.owing = memory_new((count + 1) * sizeof(*left->owing)) };
	for (size_t i = 0; i < count; i++) {
		orphans[i] = orphan_stop(workdir, ids[i]);
		if (ids[i] >= left->next_id)
			left->next_id = ids[i] + 1;
	}
	for (size_t i = 0; i < count; i++) {
		orphan_wait(&orphans[i], deadline);
		orphan_remove(&orphans[i], workdir, path, left);
	}
	if (count > left->owing_count)
		log_info("", "removed %zu instances that an earlier poolfs left",
			count - left->owing_count);
	free(orphans);
	free(ids);
	return (int)count;
}
