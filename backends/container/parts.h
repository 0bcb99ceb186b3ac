/* SPDX-License-Identifier: MIT */
/*
 * The parts of poolfs-container. Inside: functions of the container's first process, in the order
 * of their calls; they end it by boot_fail. Outside: of the process that made it.
 */
#ifndef CONTAINER_PARTS_H
#define CONTAINER_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "backends/container/settings.h"

/* inside.c: becomes the container. Its mount namespace is new; the current directory is one that
 * nothing is in. all_ids: more ids than one are mapped. */
__attribute__((noreturn))
void inside_main(const struct settings *settings, int control, bool all_ids);

/* root.c: makes the root filesystem, and makes it the process's own. */
void root_make(const struct settings *settings, bool all_ids);
/* Makes a directory and those above it; those that are there stay. */
int root_make_path(const char *path, mode_t mode);

/* within.c: paths of the root filesystem, whose root is the current directory and whose links are the
 * image's: resolved as the container will, they lead nowhere else. Opens one, to look at only, or what
 * holds its last name, which may not be there yet; *name is in path, or "." behind a last slash. A
 * descriptor or a negative errno. */
int within_open(const char *path);
int within_parent(const char *path, const char **name);
/* Makes a directory and those above it, as root_make_path, and opens it likewise. */
int within_make(const char *path, mode_t mode);
/* A name under which system calls that know no descriptors find what was opened. */
#define WITHIN_NAME 64
void within_name(int fd, char name[WITHIN_NAME]);

/* login.c: finds the login of settings->user in the root filesystem, which is "/" by now. */
struct login {
	uid_t uid;
	gid_t gid;
};
struct login login_find(const struct settings *settings, bool all_ids);

/* subids.c, outside: maps our own id to the container's root, and its other ids to those that we may
 * give. -ENOENT: there are none, and nothing was mapped; other errors: the process is of no use. */
int subids_map(pid_t pid);

/* layers.c: mounts a host's directory at target, below a layer that takes what is written; where
 * the kernel cannot do that, read-only. skeleton: directories of the layer, ended by NULL. Target
 * and layers are relative to the current directory. */
struct layer {
	int lower;			/* the host's directory, opened with O_PATH */
	const char *name;		/* of the layer's own directory */
	const char *target;
	const char *const *skeleton;
};
void layers_mount(const struct layer *layer);
/* Binds the host's directory, with all that is mounted in it, at a directory, read-only. Both are opened
 * with O_PATH. 0 or a negative errno. */
int layers_bind(int lower, int target);

/* idmap.c, outside: a detached, read-only mount of a directory, whose owners are those of the user
 * namespace that the process is in: the host's 0 is its 0. A descriptor; -1 when it cannot be had
 * (told by boot_send), or path is no directory. */
int idmap_make(const char *path, pid_t pid);
/* Inside: attaches it at the directory target. 0 or a negative errno. */
int idmap_attach(int mount, const char *target);

/* bounds.c: gives up what a container's processes must not do; for all its children, for good. */
void bounds_set(bool own_network);

/* limits.c, outside: makes control groups for the limits and puts a process into them; what cannot
 * be limited is told by boot_send. */
void limits_make(const struct settings *settings);
void limits_join(pid_t pid);
/* Removes them, when nothing runs in them any more. */
void limits_remove(void);

#endif
