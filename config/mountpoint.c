/* SPDX-License-Identifier: MIT */
#include "config/mountpoint.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/notation.h"

/* As many links as Linux follows in one path. */
#define LINKS_MAX 40

/* A path on its way to being resolved. */
struct walk {
	char done[2 * PATH_MAX];	/* without links; "" is the root */
	char *left;			/* what follows; owned */
	int links;
};

/* Puts the target of a link before what is left. */
static bool follow(struct walk *walk, const char *target)
{
	if (++walk->links > LINKS_MAX || strlen(target) + strlen(walk->left) >= PATH_MAX)
		return false;
	if (*target == '/')
		walk->done[0] = '\0';
	char *left = memory_format("%s/%s", target, walk->left);
	free(walk->left);
	walk->left = left;
	return true;
}

/* Takes one component off what is left and goes there; false: too many links, or too long. */
static bool step(struct walk *walk)
{
	char target[PATH_MAX], name[PATH_MAX];
	size_t skip = strspn(walk->left, "/"), length = strcspn(walk->left + skip, "/");
	size_t before = strlen(walk->done);

	if (length > NAME_MAX || before + 1 + length >= PATH_MAX)
		return false;
	memcpy(name, walk->left + skip, length);
	name[length] = '\0';
	memmove(walk->left, walk->left + skip + length, strlen(walk->left + skip + length) + 1);
	if (!length || strcmp(name, ".") == 0)
		return true;
	if (strcmp(name, "..") == 0) {
		char *last = strrchr(walk->done, '/');
		if (last)
			*last = '\0';
		return true;
	}
	sprintf(walk->done + before, "/%s", name);
	ssize_t size = readlink(walk->done, target, sizeof(target) - 1);
	if (size < 0)
		return true;
	target[size] = '\0';
	walk->done[before] = '\0';
	return follow(walk, target);
}

/* Resolves a mount point. */
char *mountpoint_resolve(const char *path)
{
	char here[PATH_MAX];
	struct walk walk = { .done = "" };

	if (*path != '/' && !getcwd(here, sizeof(here)))
		return NULL;
	walk.left = *path == '/' ? memory_string(path) : memory_format("%s/%s", here, path);
	while (walk.left[0]) {
		if (!step(&walk)) {
			free(walk.left);
			return NULL;
		}
	}
	free(walk.left);
	return memory_string(walk.done[0] ? walk.done : "/");
}

/* Resolves path up to where it meets the mount point. */
bool mountpoint_hides(const char *mount, const char *path)
{
	struct walk walk = { .done = "", .left = memory_string(path) };
	bool met = strcmp(mount, "/") == 0;

	while (!met && walk.left[0] && step(&walk))
		met = strcmp(walk.done, mount) == 0;
	free(walk.left);
	return met;
}
