/* SPDX-License-Identifier: MIT */
/*
 * Control groups (cgroups(7)): a new one for the container below the one that we are in, of version
 * 2 or, for each controller apart, of version 1. In version 2 a group that holds processes cannot
 * hand a controller on, so groups above are tried too; which of them we may change is for whoever
 * started us to say (with systemd: Delegate=).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdbool.h>
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
/* Where those of version 2 are; NULL: there is none yet. */
static char *chosen;

/* The path of the group that we are in, from the line "...:CONTROLLER[,...]:PATH" of
 * /proc/self/cgroup; version 2's line has no controller. NULL: there is none. */
static char *own_group(const char *controller)
{
	char *wanted = memory_format(",%s,", controller), *line = NULL, *path = NULL;
	FILE *file = fopen("/proc/self/cgroup", "re");
	size_t room = 0;

	while (file && !path && getline(&line, &room, file) > 0) {
		char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;

		if (!second)
			continue;
		char *names = memory_format(",%.*s,", (int)(second - first - 1), first + 1);
		second[1 + strcspn(second + 1, "\n")] = '\0';
		if (*controller ? strstr(names, wanted) != NULL : !strcmp(names, ",,"))
			path = memory_string(strcmp(second + 1, "/") ? second + 1 : "");
		free(names);
	}
	free(line);
	free(wanted);
	if (file)
		fclose(file);
	return path;
}

/* Where a version's hierarchy (of a controller, in version 1) is mounted. NULL: nowhere. */
static char *mount_point(const char *type, const char *controller)
{
	FILE *file = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;
	char *path = NULL;

	while (file && !path && (entry = getmntent(file)))
		if (!strcmp(entry->mnt_type, type) && (!*controller || hasmntopt(entry, controller)))
			path = memory_string(entry->mnt_dir);
	if (file)
		endmntent(file);
	return path;
}

/* Writes a value to a group's file. */
static int put(const char *group, const char *file, const char *value)
{
	char *path = memory_format("%s/%s", group, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int result = fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	free(path);
	return result;
}

/* Removes what others have left who were killed together with their shims: groups of processes that are not
 * there any more. The kernel keeps those in which something runs. */
static void sweep(const char *parent)
{
	DIR *directory = opendir(parent);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		int pid, length = 0;

		if (sscanf(entry->d_name, "poolfs-%d%n", &pid, &length) != 1 || entry->d_name[length] ||
			pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH)
			continue;
		unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
	}
	if (directory)
		closedir(directory);
}

/* Makes a group and sets the limit. The backend hears of it first: it removes what we, when we are
 * killed, cannot. */
static int make_group(const char *parent, const char *file, const char *value, char **out)
{
	char *group = memory_format("%s/poolfs-%d", parent, (int)getpid());

	sweep(parent);
	boot_send(BOOT_GROUP, -1, "%s", group);
	bool fresh = mkdir(group, 0755) == 0;
	int result = fresh || errno == EEXIST ? put(group, file, value) : -errno;
	if (result < 0) {
		/* One that was there is another limit's. */
		if (fresh)
			rmdir(group);
		free(group);
		return result;
	}
	*out = group;
	return 0;
}

/* Makes a group of version 2 in this one, if that can hand the controller on. */
static int make_below(const char *parent, const struct limit *limit, const char *value, char **out)
{
	char *enable = memory_format("+%s", limit->controller);
	int result = put(parent, "cgroup.subtree_control", enable);

	free(enable);
	return result < 0 ? result : make_group(parent, limit->file2, value, out);
}

/* Makes a group of version 2, as near to ours as can be. A process is in one group only: once there
 * is one, all further limits are set there. */
static int make_unified(const struct limit *limit, const char *value, char **out)
{
	char *top = mount_point("cgroup2", ""), *own = own_group("");
	char *parent = top && own ? memory_format("%s%s", top, own) : NULL;
	int result = -ENOENT;

	while (parent && !chosen) {
		char *slash = strrchr(parent, '/');

		result = make_below(parent, limit, value, out);
		if (result == 0)
			chosen = memory_string(parent);
		if (result == 0 || !strcmp(parent, top) || !slash)
			break;
		*slash = '\0';
	}
	if (!*out && chosen)
		result = make_below(chosen, limit, value, out);
	free(parent);
	free(own);
	free(top);
	return result;
}

/* Makes a group of version 1. */
static int make_legacy(const struct limit *limit, const char *value, char **out)
{
	char *top = mount_point("cgroup", limit->controller), *own = own_group(limit->controller);
	int result = -ENOENT;

	if (top && own) {
		char *parent = memory_format("%s%s", top, own);

		result = make_group(parent, limit->file1, value, out);
		if (result < 0)
			result = make_group(top, limit->file1, value, out);
		free(parent);
	}
	free(own);
	free(top);
	return result;
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
	for (size_t i = 0; i < LIMITS; i++) {
		int result = made[i] ? put(made[i], "cgroup.procs", number) : 0;

		if (result < 0)
			boot_send(BOOT_STATUS, -1, "%s not enforced: the control group takes no "
				"process (%s)", limits[i].key, strerror(-result));
	}
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
