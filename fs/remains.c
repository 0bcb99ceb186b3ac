/* SPDX-License-Identifier: MIT */
#include "fs/remains.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "backends/protocol/protocol.h"
#include "fs/mount.h"
#include "fs/object.h"
#include "fs/process.h"
#include "fs/workdir.h"

/* What it prints on standard error: its last line is the reason of a failure. */
#define STDERR_FILE "clean.stderr"

/* Of what an earlier daemon left the keys are not known here: a limit beyond any that they may set, in
 * milliseconds. */
#define LEFT_MS 3700000u

/* No instance.json is longer, in bytes. */
#define DESCRIPTION_MAX 1048576

struct remains {
	struct process process;
	uv_timer_t limit;
	int directory;			/* descriptor of the instance's */
	char *path, *name;
	char *argv[4];
	int err;			/* its standard error; -1: none */
	bool running;
	void (*done)(void *data, const char *reason);
	void *data;
};

/* libuv is done with the timer. */
static void timer_closed(uv_handle_t *handle)
{
	struct remains *remains = handle->data;

	close(remains->directory);
	free(remains->path);
	free(remains->name);
	free(remains);
}

/* It is over. */
static void finish(struct remains *remains, const char *reason)
{
	remains->done(remains->data, reason);
	uv_close((uv_handle_t *)&remains->limit, timer_closed);
}

/* It takes too long; a moment ago it should have given up by itself. */
static void limit_reached(uv_timer_t *timer)
{
	struct remains *remains = timer->data;

	log_warning(remains->name, "what ends its remains does not end and is killed");
	if (remains->running)
		process_kill(&remains->process, SIGKILL);
}

/* In a worker: makes the file of its messages. There is none on a full disk, or where something else bears its
 * name: the directory was the shim's. */
static int prepare(struct process *process)
{
	struct remains *remains = container_of(process, struct remains, process);

	remains->err = openat(remains->directory, STDERR_FILE,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	process->plan.fds[STDERR_FILENO] = remains->err;
	return 0;
}

/* It runs, or does not. */
static void started(struct process *process, int result)
{
	struct remains *remains = container_of(process, struct remains, process);
	char reason[256];

	if (remains->err >= 0)
		close(remains->err);
	remains->running = result == 0;
	if (result == 0)
		return;
	snprintf(reason, sizeof(reason), "its process cannot be started: %s", strerror(-result));
	finish(remains, reason);
}

/* It ended. */
static void exited(struct process *process, int status, int signal)
{
	struct remains *remains = container_of(process, struct remains, process);
	char words[1024], reason[1024 + 64];

	remains->running = false;
	uv_timer_stop(&remains->limit);
	if (signal == 0 && status == 0) {
		finish(remains, NULL);
		return;
	}
	workdir_last_line(remains->directory, STDERR_FILE, words, sizeof(words));
	if (!signal && *words)
		snprintf(reason, sizeof(reason), "%s", words);
	else
		snprintf(reason, sizeof(reason), "its process %s %d%s%s",
			signal ? "was killed by signal" : "ended with status", signal ? signal : status,
			*words ? ": " : "", words);
	finish(remains, reason);
}

/* Begins. */
struct remains *remains_clean(struct mount *mount, const char *path, int directory, const char *name,
	uint64_t limit_ms, void (*done)(void *data, const char *reason), void *data)
{
	struct remains *remains = memory_new(sizeof(*remains));
	struct process_plan plan = { .file = mount->shim, .argv = remains->argv,
		.fds = PROCESS_FDS_NONE, .prepare = prepare, .started = started, .exited = exited };

	remains->directory = fcntl(directory, F_DUPFD_CLOEXEC, 3);
	remains->path = memory_string(path);
	remains->name = memory_string(name);
	remains->argv[0] = (char *)mount->shim;
	remains->argv[1] = "--clean";
	remains->argv[2] = remains->path;
	remains->err = -1;
	remains->done = done;
	remains->data = data;
	uv_timer_init(mount->loop, &remains->limit);
	remains->limit.data = remains;
	uv_timer_start(&remains->limit, limit_reached, limit_ms, 0);
	process_start(&remains->process, mount->processes, &plan);
	return remains;
}

/* ---- What an earlier daemon left -------------------------------------------------- */

struct left {
	struct mount *mount;
	uint32_t id;
	char *name;			/* POOL/NAME */
	uv_work_t removal;
};

/* The directory is gone. */
static void removed(uv_work_t *work, int status)
{
	struct left *left = container_of(work, struct left, removal);
	struct mount *mount = left->mount;

	free(left->name);
	free(left);
	mount_shim_gone(mount);
}

/* In a worker: removes it. */
static void remove_directory(uv_work_t *work)
{
	struct left *left = container_of(work, struct left, removal);

	workdir_remove(left->mount->workdir_path, left->id);
}

/* It is ended, or not. */
static void left_done(void *data, const char *reason)
{
	struct left *left = data;

	mount_event(left->mount, left->name, "destroy %s%s", reason ? "failed " : "done",
		reason ? reason : "");
	uv_queue_work(left->mount->loop, &left->removal, remove_directory, removed);
}

/* The instance's name, by its description. */
static char *name_of(int directory)
{
	int fd = workdir_open_file(directory, "instance.json", DESCRIPTION_MAX);
	json_t *root = fd >= 0 ? json_loadfd(fd, 0, NULL) : NULL;
	const char *pool = "?", *name = "?";

	json_unpack(root, "{s:s, s:s}", "pool", &pool, "name", &name);
	char *text = memory_format("%s/%s", pool, name);
	json_decref(root);
	if (fd >= 0)
		close(fd);
	return text;
}

/* Begins with one. */
static void begin_left(struct mount *mount, uint32_t id)
{
	char *path = memory_format("%s/%u", mount->workdir_path, id);
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (directory >= 0) {
		struct left *left = memory_new(sizeof(*left));

		*left = (struct left){ .mount = mount, .id = id, .name = name_of(directory) };
		mount_event(mount, left->name, "destroy begins: an earlier poolfs left it");
		mount_shim_started(mount);
		remains_clean(mount, path, directory, left->name, LEFT_MS, left_done, left);
		close(directory);
	}
	free(path);
}

/* Begins with all. */
void remains_left(struct mount *mount, const uint32_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		begin_left(mount, ids[i]);
}
