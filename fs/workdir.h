/* SPDX-License-Identifier: MIT */
/*
 * The working directory: where each instance has its directory, named by a number
 * (protocol.h lists what is in it). A lock keeps a second daemon out; what a daemon that was
 * killed left behind is ended and removed at the next start.
 */
#ifndef FS_WORKDIR_H
#define FS_WORKDIR_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

#include "backends/backend.h"

/*
 * The working directory for a mount point when the configuration names none:
 * /var/lib/poolfs/NAME for root, ~/.local/state/poolfs/NAME (or below XDG_STATE_HOME) otherwise,
 * where NAME is made of the mount point's path. free() it.
 */
char *workdir_default(const char *mount_point);

/*
 * Makes (mode 0700) and locks the directory. Returns a descriptor of it; the lock lasts as long as
 * this process or *lock. -EBUSY: another daemon has it; err names its pid.
 */
int workdir_open(const char *path, int *lock, struct poolfs_err *err);

/* What an earlier daemon left, and what is left of that. */
struct workdir_left {
	uint32_t next_id;	/* larger than every number in use */
	uint32_t *owing;	/* numbers of directories that owe something; free() them */
	size_t owing_count;
};

/* Ends the shims that an earlier daemon left and removes their directories, but for those that still owe
 * something. Waits for them, 8 s at most. Returns how many there were. */
int workdir_clean(int workdir, const char *path, struct workdir_left *left);
/* Whether something of a machine is to be ended that its shim has not ended (PROTOCOL_OWES_FILE); directory: a
 * descriptor of the instance's, -1: none. */
bool workdir_owes(int directory);

/* Makes an instance's directory; a descriptor or a negative errno. Any thread, as the next two. */
int workdir_make(const char *path);
/* Writes a file by a temporary name, synced and renamed. */
int workdir_write_file(int directory, const char *name, const void *data, size_t size);
/* Removes instance number id's directory and all that is in it. Any thread. */
void workdir_remove(const char *path, uint32_t id);

/* The shim's socket in an instance's directory: bound, and listening. The path may be of any length. A
 * descriptor or a negative errno. */
int workdir_listen(int directory);

/* Opens a file to read that a shim, or another process, wrote in its directory, and does not wait: a
 * descriptor, -EPROTO when it is no regular file of at most so many bytes, or another negative errno. */
int workdir_open_file(int directory, const char *name, off_t most);
/* The last line of a file in a directory, which some process wrote: up to 512 bytes of it, escaped; "": there is
 * none. line has room for size bytes, with the NUL. */
void workdir_last_line(int directory, const char *name, char *line, size_t size);

#endif
