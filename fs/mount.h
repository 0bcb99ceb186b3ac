/* SPDX-License-Identifier: MIT */
/*
 * The mount: the top directory with its files (README, version, status, events), the
 * pools, and what all of them share. One per process. Loop's thread only.
 */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include "config/config.h"
#include "fs/control.h"
#include "fs/targets.h"

struct pool;
struct processes;
struct uv_loop_s;

struct mount {
	struct object object;
	struct uv_loop_s *loop;
	const struct config *config;
	const char *mount_point;	/* as the user gave it, for README */
	int workdir;			/* descriptor of the working directory */
	const char *workdir_path;
	const char *shim;		/* path of poolfs-shim */
	bool allow_other;
	bool foreground;		/* shims share our standard error */
	struct pool **pools;
	size_t pool_count;
	struct machine_list machines;	/* that pools lend */
	struct processes *processes;	/* those of the instances */
	struct stream events;
	unsigned shims;			/* shims that have not ended */
	void (*idle)(struct mount *mount); /* called when the last one ends; may be NULL */
	uint32_t next_id;		/* of the next instance's directory */
	struct timespec started;	/* of the wall clock */
	uint64_t began;			/* ns of the monotonic clock */
};

extern const struct directory mount_directory;

/* Makes the mount and its pools from the configuration; the caller has filled in loop .. next_id of
 * `plan`. The first object of the process: its directory is node 1. */
struct mount *mount_new(const struct mount *plan);
/* Begins to destroy every instance; idle is called when none is left, from the loop. */
void mount_stop(struct mount *mount);
/* After idle. */
void mount_free(struct mount *mount);

/* One more line in `events`: "TIME OBJECT text"; text is escaped here. */
void mount_event(struct mount *mount, const char *object, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A shim was started, or is gone with its directory. */
void mount_shim_started(struct mount *mount);
void mount_shim_gone(struct mount *mount);

#endif
