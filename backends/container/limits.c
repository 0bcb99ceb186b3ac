/* SPDX-License-Identifier: MIT */
/*
 * Control groups (cgroups(7)): a new one for the container below the one that we are in, of version
 * 2 or, for each controller apart, of version 1. In version 2 a group that holds processes cannot
 * hand a controller on, so groups above are tried too; which of them we may change is for whoever
 * started us to say (with systemd: Delegate=).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/container/boot.h"
#include "backends/container/parts.h"

/* What can be limited: the files of both versions, and how the number is written to them. */
static const struct limit {
	const char *controller;
	const char *key;		/* in the instance's status */
	const char *file2, *file1;
	const char *format2, *format1;
	uint64_t scale;
} limits[] = {
	{ "memory", "memory_limit", "memory.max", "memory.limit_in_bytes", "%llu", "%llu", 1 },
	{ "pids", "pids_limit", "pids.max", "pids.max", "%llu", "%llu", 1 },
	{ "cpu", "cpus_limit", "cpu.max", "cpu.cfs_quota_us", "%llu 100000", "%llu", 100000 },
};
#define LIMITS (sizeof(limits) / sizeof(*limits))

/* The groups that were made; one directory may serve several limits. */
static char *made[LIMITS];

/* Reads the value of one line "...:CONTROLLER[,...]:PATH" of /proc/self/cgroup: the group's path;
 * version 2's line has no controller. */
static bool own_group(const char *controller, char *path, size_t size)
{
	char line[PATH_MAX + 256], names[256];
	FILE *file = fopen("/proc/self/cgroup", "re");
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;

		if (!second)
			continue;
		snprintf(names, sizeof(names), ",%.*s,", (int)(second - first - 1), first + 1);
		char *wanted = memory_format(",%s,", controller);
		found = *controller ? strstr(names, wanted) != NULL : !strcmp(names, ",,");
		free(wanted);
		second[1 + strcspn(second + 1, "\n")] = '\0';
		if (found)
			snprintf(path, size, "%s", second + 1);
	}
	if (file)
		fclose(file);
	return found;
}

/* Where a version's hierarchy (of a controller, in version 1) is mounted. */
static bool mount_point(const char *type, const char *controller, char *path, size_t size)
{
	char line[PATH_MAX + 1024], where[PATH_MAX], kind[64], options[512], name[300];
	FILE *file = fopen("/proc/self/mounts", "re");
	bool found = false;

	snprintf(name, sizeof(name), ",%s,", controller);
	while (file && !found && fgets(line, sizeof(line), file)) {
		char all[516];

		if (sscanf(line, "%*s %4095s %63s %511s", where, kind, options) != 3 ||
			strcmp(kind, type))
			continue;
		snprintf(all, sizeof(all), ",%s,", options);
		found = !*controller || strstr(all, name);
		if (found)
			snprintf(path, size, "%s", where);
	}
	if (file)
		fclose(file);
	return found;
}

/* Writes a value to a group's file. */
static int put(const char *group, const char *file, const char *value)
{
	char path[2 * PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int result = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return result;
}

/* Makes a group and sets the limit. */
static int make_group(const char *parent, const char *file, const char *value, char **out)
{
	char *group = memory_format("%s/poolfs-%d", parent, (int)getpid());
	int result = mkdir(group, 0755) < 0 && errno != EEXIST ? -errno : put(group, file, value);

	if (result < 0) {
		rmdir(group);
		free(group);
		return result;
	}
	*out = group;
	return 0;
}

/* Makes a group of version 2, as near to ours as can be. */
static int make_unified(const struct limit *limit, const char *value, char **out)
{
	char top[PATH_MAX], own[PATH_MAX], parent[2 * PATH_MAX], enable[64];
	int result = -ENOENT;

	if (!own_group("", own, sizeof(own)) || !mount_point("cgroup2", "", top, sizeof(top)))
		return -ENOENT;
	snprintf(enable, sizeof(enable), "+%s", limit->controller);
	for (;;) {
		snprintf(parent, sizeof(parent), "%s%s", top, strcmp(own, "/") ? own : "");
		result = put(parent, "cgroup.subtree_control", enable);
		if (result == 0)
			result = make_group(parent, limit->file2, value, out);
		char *slash = strrchr(own, '/');
		if (result == 0 || !slash || !own[1])
			return result;
		slash[slash == own] = '\0';
	}
}

/* Makes a group of version 1. */
static int make_legacy(const struct limit *limit, const char *value, char **out)
{
	char top[PATH_MAX], own[PATH_MAX], parent[2 * PATH_MAX];

	if (!own_group(limit->controller, own, sizeof(own)) ||
		!mount_point("cgroup", limit->controller, top, sizeof(top)))
		return -ENOENT;
	snprintf(parent, sizeof(parent), "%s%s", top, strcmp(own, "/") ? own : "");
	int result = make_group(parent, limit->file1, value, out);
	if (result == 0)
		return 0;
	return make_group(top, limit->file1, value, out);
}

/* Makes one limit. */
static void make_limit(const struct limit *limit, uint64_t number, char **out)
{
	unsigned long long scaled = number * limit->scale;
	char value2[64], value1[64];

	if (number == 0)
		return;
	/* The table's formats take one number each. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(value2, sizeof(value2), limit->format2, scaled);
	snprintf(value1, sizeof(value1), limit->format1, scaled);
#pragma GCC diagnostic pop
	int result = make_legacy(limit, value1, out);
	if (result < 0)
		result = make_unified(limit, value2, out);
	if (result == 0)
		boot_send(BOOT_STATUS, -1, "%s %llu", limit->key, (unsigned long long)number);
	else
		boot_send(BOOT_STATUS, -1, "%s not enforced: no control group can be made (%s)",
			limit->key, strerror(-result));
}

/* Makes all. */
void limits_make(const struct settings *settings)
{
	uint64_t numbers[LIMITS] = { settings->memory, settings->pids, settings->cpus };

	for (size_t i = 0; i < LIMITS; i++)
		make_limit(&limits[i], numbers[i], &made[i]);
}

/* Puts a process into them. */
void limits_join(pid_t pid)
{
	char number[32];

	snprintf(number, sizeof(number), "%d", (int)pid);
	for (size_t i = 0; i < LIMITS; i++)
		if (made[i] && put(made[i], "cgroup.procs", number) < 0)
			boot_send(BOOT_STATUS, -1, "%s not enforced: the control group takes no "
				"process (%s)", limits[i].key, strerror(errno));
}

/* Removes them. */
void limits_remove(void)
{
	for (size_t i = 0; i < LIMITS; i++) {
		if (made[i])
			rmdir(made[i]);
		free(made[i]);
		made[i] = NULL;
	}
}
