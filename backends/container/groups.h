/* SPDX-License-Identifier: MIT */
/*
 * The control groups of a container, as the backend knows them. poolfs-container removes what it
 * made; this is for when it was killed. Loop's thread only.
 */
#ifndef CONTAINER_GROUPS_H
#define CONTAINER_GROUPS_H

#include <stdbool.h>
#include <sys/types.h>

#define GROUPS_MAX 16

/* All zero at first. */
struct groups {
	char *paths[GROUPS_MAX];
	unsigned count;
};

/* Notes a path, told by poolfs-container, whose number pid is. One that cannot be a group that it
 * made is ignored, and so are more than GROUPS_MAX. */
void groups_add(struct groups *groups, const char *path, pid_t pid);
/* Tries to remove them. Whether there is none left to remove: a group whose processes are just ending
 * cannot be removed yet. */
bool groups_remove(struct groups *groups);
/* Forgets them. */
void groups_done(struct groups *groups);

#endif
