/* SPDX-License-Identifier: MIT */
/* What poolfs-container is told on its command line. */
#ifndef CONTAINER_SETTINGS_H
#define CONTAINER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SETTINGS_BINDS_MAX 64
/* How many ids a container has that gets more than its root's. */
#define CONTAINER_IDS 65536u

struct settings {
	const char *hostname;
	const char *root;		/* a directory or an archive; NULL: the host's own tree */
	const char *binds[SETTINGS_BINDS_MAX + 1]; /* more of the host's directories; ended by NULL */
	const char *files;		/* the directory of files/, in the container */
	const char *shell;
	const char *user, *home;	/* the login that runs commands: its name or number, its home */
	bool network;			/* the host's */
	uint64_t disk;			/* bytes that the container may write */
	uint64_t memory, pids, cpus;	/* limits; 0: none */
	uint64_t first_id;		/* of the ids that are mapped, when we are root */
	bool all_ids;			/* CONTAINER_IDS are mapped, not only root's */
	const char *const *console;	/* ended by NULL */
	int mapped_root;		/* idmap_make's mount of root; -1: none */
	char *line;			/* the process's own command line, for /proc; none of the above */
	size_t line_size;
};

#endif
