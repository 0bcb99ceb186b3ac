/* SPDX-License-Identifier: MIT */
/*
 * The tree that the kernel sees. fuse.c turns each FUSE operation into one call here;
 * each call answers its request exactly once, now or later. Nodes below an instance's
 * files/ go to guestfs.c, everything else to the control files. Loop's thread only.
 */
#ifndef FS_TREE_H
#define FS_TREE_H

#include "fs/control.h"
#include "fs/request.h"

void tree_lookup(struct request *request, uint64_t parent, const char *name);
/* The kernel forgot `count` look-ups of a node. Wants no answer. */
void tree_forget(uint64_t node, uint64_t count);
void tree_getattr(struct request *request, uint64_t node);
/* which attributes a setattr changes */
#define TREE_SET_MODE  1u
#define TREE_SET_UID   2u
#define TREE_SET_GID   4u
#define TREE_SET_SIZE  8u
#define TREE_SET_ATIME 16u
#define TREE_SET_MTIME 32u
void tree_setattr(struct request *request, uint64_t node, const struct stat *attr, unsigned which);
void tree_readlink(struct request *request, uint64_t node);
void tree_mkdir(struct request *request, uint64_t parent, const char *name, mode_t mode);
void tree_rmdir(struct request *request, uint64_t parent, const char *name);
void tree_unlink(struct request *request, uint64_t parent, const char *name);
void tree_symlink(struct request *request, const char *target, uint64_t parent, const char *name);
void tree_link(struct request *request, uint64_t node, uint64_t parent, const char *name);
void tree_rename(struct request *request, uint64_t parent, const char *name, uint64_t new_parent,
	const char *new_name, unsigned flags);
void tree_create(struct request *request, uint64_t parent, const char *name, mode_t mode,
	int flags);
void tree_open(struct request *request, uint64_t node, int flags);
void tree_read(struct request *request, struct handle *handle, uint64_t offset, size_t size);
void tree_write(struct request *request, struct handle *handle, const void *data, size_t size,
	uint64_t offset, uint64_t owner);
void tree_flush(struct request *request, struct handle *handle, uint64_t owner);
void tree_fsync(struct request *request, struct handle *handle);
/* Also of directories. */
void tree_release(struct request *request, struct handle *handle);
/* poller may be NULL; owned by the tree. */
void tree_poll(struct request *request, struct handle *handle, struct poller *poller);
void tree_opendir(struct request *request, uint64_t node);
void tree_readdir(struct request *request, struct handle *handle, uint64_t offset);
void tree_statfs(struct request *request, uint64_t node);
/* The mount ended: frees what the kernel did not close. */
void tree_close_all(void);

/* How long the kernel may believe in names and attributes of control files. Names change only
 * through the kernel, but for forgotten runs; sizes change at any time. */
#define TREE_ENTRY_SECONDS 1.0
#define TREE_ATTR_SECONDS  0.0

#endif
