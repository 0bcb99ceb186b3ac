/* SPDX-License-Identifier: MIT */
/* The list is /proc/self/mountinfo (proc(5)): the fifth field is the mount point, with space, tab,
 * newline and backslash as "\OOO". */
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

/* The mount point in a line, NULL: there is none. The line is changed. */
static char *mount_point(char *line)
{
	char *rest = line, *word = NULL;

	for (int field = 0; field < 5 && rest; field++)
		word = strsep(&rest, " ");
	if (!word || !rest)
		return NULL;
	unescape(word);
	return word;
}

/* The newest mount below path: the last in the list; the caller frees it. NULL: there is none. */
static char *newest_below(const char *path, FILE *list)
{
	size_t length = strlen(path), room = 0;
	char *line = NULL, *found = NULL;

	while (getline(&line, &room, list) > 0) {
		const char *point = mount_point(line);

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
