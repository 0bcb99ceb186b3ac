/* SPDX-License-Identifier: MIT */
#include "fs/mount.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "fs/instance.h"
#include "fs/pool.h"
#include "fs/process.h"

/* How much of `events` is kept. */
#define EVENTS_LIMIT (4u * 1048576u)

/* The mount of an object of that type. */
static struct mount *mount_of(struct object *object)
{
	return container_of(object, struct mount, object);
}

/* README: enough to use the mount without a manual. */
static void readme_show(struct object *object, struct text *text)
{
	struct mount *mount = mount_of(object);
	const char *pool = mount->pool_count ? pool_name(mount->pools[0]) : "POOL";

	text_printf(text,
		"This is poolfs: pools of machines as directories.\n"
		"\n"
		"  cd %s/%s\n"
		"  mkdir a                              boot an instance named a\n"
		"  cat a/ready                          wait until it is up: the seconds it took\n"
		"  echo 'uname -a' >a/cmd               run a command in it\n"
		"  cat a/last/output a/last/exit        its output and its exit status (both wait)\n"
		"  cp FILE a/files/                     copy into it; and out again\n"
		"  tail -f a/console                    what its console shows\n"
		"  touch a/expose/80; cat a/expose/80   reach port 80 of the machine: at this address\n"
		"  touch a/forward/8080; cat a/forward/8080  let it reach port 8080 of this host\n"
		"  cat a/error                          why it failed, when it did\n"
		"  rmdir a                              destroy it\n"
		"\n"
		"Commands with a name of your own:\n"
		"  mkdir a/runs/build; echo 'make' >a/runs/build/cmd; cat a/runs/build/output\n"
		"\n"
		"status lists what there is; events is the log. poolfs(8) and FILESYSTEM.md\n"
		"describe every file.\n",
		mount->mount_point, pool);
}

/* version */
static void version_show(struct object *object, struct text *text)
{
	text_printf(text, "poolfs %s\n", POOLFS_VERSION);
}

/* status: a table for people. */
static void status_show(struct object *object, struct text *text)
{
	struct mount *mount = mount_of(object);

	text_printf(text, "%-32s %-8s %10s %6s\n", "INSTANCE", "STATE", "UPTIME", "RUNS");
	for (size_t i = 0; i < mount->pool_count; i++)
		pool_status_rows(mount->pools[i], text);
}

/* status.json: the same for programs. */
static void json_show(struct object *object, struct text *text)
{
	struct mount *mount = mount_of(object);
	json_t *pools = json_array();

	for (size_t i = 0; i < mount->pool_count; i++)
		json_array_append_new(pools, pool_json(mount->pools[i]));
	json_t *root = json_pack("{s:s, s:f, s:o}", "version", POOLFS_VERSION, "uptime_seconds",
		(double)(uv_hrtime() - mount->began) / 1e9, "pools", pools);
	char *dump = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	text_printf(text, "%s\n", dump);
	free(dump);
	json_decref(root);
}

/* events */
static struct stream *events_stream(struct object *object)
{
	return &mount_of(object)->events;
}

/* The owner of the top directory. */
static void mount_stat(struct object *object, struct stat *stat)
{
	stat->st_mode = S_IFDIR | 0755;
	stat->st_uid = getuid();
	stat->st_gid = getgid();
	stat->st_atim = stat->st_mtim = stat->st_ctim = mount_of(object)->started;
}

/* A pool by name. */
static struct object *mount_child(struct object *object, const char *name)
{
	struct mount *mount = mount_of(object);

	for (size_t i = 0; i < mount->pool_count; i++)
		if (strcmp(pool_name(mount->pools[i]), name) == 0)
			return pool_object(mount->pools[i]);
	return NULL;
}

/* All pools. */
static void mount_each(struct object *object, directory_add *add, void *data)
{
	struct mount *mount = mount_of(object);

	for (size_t i = 0; i < mount->pool_count; i++)
		add(data, pool_name(mount->pools[i]), pool_object(mount->pools[i]));
}

/* The top directory has no features. */
static uint32_t mount_features(struct object *object)
{
	return 0;
}

static const struct control mount_controls[] = {
	{ .name = "README", .mode = S_IFREG | 0444, .show = readme_show },
	{ .name = "version", .mode = S_IFREG | 0444, .show = version_show },
	{ .name = "status", .mode = S_IFREG | 0444, .show = status_show },
	{ .name = "status.json", .mode = S_IFREG | 0444, .show = json_show },
	{ .name = "events", .mode = S_IFREG | 0444, .stream = events_stream },
	{ .name = "events.follow", .mode = S_IFREG | 0444, .stream = events_stream,
	  .flags = CONTROL_WAITS | CONTROL_UNLISTED },
	{ 0 }
};

const struct directory mount_directory = {
	.controls = mount_controls,
	.stat = mount_stat,
	.child = mount_child,
	.each = mount_each,
	.features = mount_features,
};

/* The last reference went. */
static void mount_free_object(struct object *object)
{
	struct mount *mount = mount_of(object);

	stream_done(&mount->events);
	processes_free(mount->processes);
	free(mount->pools);
	free(mount);
}

/* Makes the mount. */
struct mount *mount_new(const struct mount *plan)
{
	struct mount *mount = memory_new(sizeof(*mount));

	*mount = *plan;
	object_init(&mount->object, OBJECT_MOUNT, mount_free_object);
	stream_init_memory(&mount->events, EVENTS_LIMIT);
	clock_gettime(CLOCK_REALTIME, &mount->started);
	mount->began = uv_hrtime();
	mount->processes = processes_new(mount->loop);
	mount->pool_count = mount->config->pool_count;
	mount->pools = memory_new(mount->pool_count * sizeof(*mount->pools));
	for (size_t i = 0; i < mount->pool_count; i++)
		mount->pools[i] = pool_new(mount, &mount->config->pools[i]);
	mount_event(mount, "-", "started: poolfs %s", POOLFS_VERSION);
	return mount;
}

/* Ends every instance. */
void mount_stop(struct mount *mount)
{
	mount_event(mount, "-", "stopping");
	stream_end(&mount->events);
	for (size_t i = 0; i < mount->pool_count; i++)
		pool_stop(mount->pools[i]);
	if (mount->shims == 0 && mount->idle)
		mount->idle(mount);
}

/* Frees all. */
void mount_free(struct mount *mount)
{
	for (size_t i = 0; i < mount->pool_count; i++)
		object_unref(pool_object(mount->pools[i]));
	object_unref(&mount->object);
}

/* Appends to `events`, and to the log. */
void mount_event(struct mount *mount, const char *object, const char *format, ...)
{
	char raw[1024], clean[2048], stamp[32];
	struct timespec now;
	struct tm tm;
	va_list args;

	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	text_escape(clean, sizeof(clean), raw);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);

	struct text line = { 0 };
	text_printf(&line, "%s.%03ldZ %s %s\n", stamp, now.tv_nsec / 1000000, object, clean);
	stream_append(&mount->events, line.data, line.size);
	text_done(&line);
	log_info(strcmp(object, "-") == 0 ? "" : object, "%s", raw);
}

/* Counts shims up. */
void mount_shim_started(struct mount *mount)
{
	mount->shims++;
}

/* Counts shims down. */
void mount_shim_gone(struct mount *mount)
{
	if (--mount->shims == 0 && mount->idle)
		mount->idle(mount);
}
