/* SPDX-License-Identifier: MIT */
/* The list is /proc/self/mountinfo (proc(5)): the third field is the device, the fifth the mount point, with
 * space, tab, newline and backslash as "\OOO". */
#include "fs/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"

/* Undoes the escapes, in place. */
static void unescape(char *text)
{
	char *out = text;

	for (; *text; out++) {
		unsigned byte;

		if (text[0] == '\\' && sscanf(text + 1, "%3o", &byte) == 1 && strlen(text) >= 4) {
			*out = (char)byte;
			text += 4;
		} else {
			*out = *text++;
		}
	}
	*out = '\0';
}

/* The mount point in a line, NULL: there is none. The line is changed; *device is a part of it. */
static char *mount_point(char *line, const char **device)
{
	char *rest = line, *words[5] = { NULL };

	for (int field = 0; field < 5 && rest; field++)
		words[field] = strsep(&rest, " ");
	if (!words[4] || !rest)
		return NULL;
	unescape(words[4]);
	*device = words[2];
	return words[4];
}

/* The newest mount below path: the last in the list; the caller frees it. NULL: there is none. */
static char *newest_below(const char *path, FILE *list)
{
	size_t length = strlen(path), room = 0;
	char *line = NULL, *found = NULL;
	const char *device;

	while (getline(&line, &room, list) > 0) {
		const char *point = mount_point(line, &device);

		if (!point || strncmp(point, path, length) != 0 || point[length] != '/')
			continue;
		free(found);
		found = memory_string(point);
	}
	free(line);
	return found;
}

/* Unmounts one after the other; each time the list is another one. */
int mounts_detach(const char *path, char *where, size_t size)
{
	int result = 0;

	snprintf(where, size, "%s", "");
	while (result == 0) {
		FILE *list = fopen("/proc/self/mountinfo", "re");

		if (!list)
			return -errno;
		char *point = newest_below(path, list);
		fclose(list);
		if (!point)
			return 0;
		if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			result = -errno;
		text_escape(where, size, point);
		free(point);
	}
	return result;
}

/* Calls look for each mount, the oldest first, until that is true. -1: the list cannot be read. */
static int each_mount(bool (*look)(void *data, const char *point, const char *device), void *data)
{
	FILE *list = fopen("/proc/self/mountinfo", "re");
	const char *device;
	char *line = NULL;
	size_t room = 0;
	int found = 0;

	if (!list)
		return -1;
	while (!found && getline(&line, &room, list) > 0) {
		const char *point = mount_point(line, &device);

		found = point && look(data, point, device);
	}
	free(line);
	fclose(list);
	return found;
}

/* What mounts_device looks for. */
struct place {
	const char *path;
	char device[MOUNTS_DEVICE];
};

/* Notes the device at the place. */
static bool look_at_place(void *data, const char *point, const char *device)
{
	struct place *place = data;

	if (!strcmp(point, place->path))
		snprintf(place->device, sizeof(place->device), "%s", device);
	return false;
}

/* The last one counts. */
bool mounts_device(const char *path, char device[MOUNTS_DEVICE])
{
	struct place place = { .path = path };

	each_mount(look_at_place, &place);
	memcpy(device, place.device, sizeof(place.device));
	return *device;
}

/* Whether it is that device. */
static bool look_at_device(void *data, const char *point, const char *device)
{
	return !strcmp(device, data);
}

/* Looks for it. */
bool mounts_has(const char *device)
{
	return each_mount(look_at_device, (void *)device) != 0;
}
