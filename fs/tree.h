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
/* handle: an open file of the node that the kernel names, or NULL. */
void tree_getattr(struct request *request, uint64_t node, struct handle *handle);
/* access(2), where the kernel does not check modes by itself. mask: R_OK, W_OK and X_OK, or 0. */
void tree_access(struct request *request, uint64_t node, int mask);
/* which attributes a setattr changes */
#define TREE_SET_MODE  1u
#define TREE_SET_UID   2u
#define TREE_SET_GID   4u
#define TREE_SET_SIZE  8u
#define TREE_SET_ATIME 16u
#define TREE_SET_MTIME 32u
void tree_setattr(struct request *request, uint64_t node, struct handle *handle,
	const struct stat *attr, unsigned which);
void tree_readlink(struct request *request, uint64_t node);
/* Regular files only, below files/. */
void tree_mknod(struct request *request, uint64_t parent, const char *name, mode_t mode);
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
void tree_fsyncdir(struct request *request, struct handle *handle);
/* copy_file_range(2): answered with how much was copied; EXDEV and EOPNOTSUPP let the kernel copy. */
void tree_copy(struct request *request, struct handle *from, uint64_t offset, struct handle *to,
	uint64_t to_offset, size_t size);
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
