/* SPDX-License-Identifier: MIT */
/*
 * What lies below an instance's files/: directories, files and links of the guest.
 * Operations are sent to the instance's shim as file requests (protocol/files.h) and
 * answered when its reply comes. While the instance boots they wait for it; when it is
 * not up they fail with EHOSTDOWN. Loop's thread only.
 *
 * A node here is a place in the guest's tree (parent and name), kept as long as the kernel
 * remembers it: requests carry the path that it has at the time. How long the kernel may believe
 * what it is told, guestcache.h says.
 */
#ifndef FS_GUESTFS_H
#define FS_GUESTFS_H

#include "fs/object.h"
#include "fs/request.h"
#include "fs/tree.h"

struct instance;
struct guestfs;

/* The files of one instance. The instance owns it and outlives it by reference. */
struct guestfs *guestfs_new(struct instance *instance);
/* The instance goes: every waiting operation is answered with ENODEV; nodes that the kernel
 * still knows answer so too. */
void guestfs_free(struct guestfs *guestfs);

/* The number of the newest operation that was answered and the guest has not done; 0: none. The instance hears
 * instance_files_settled when one ends. */
uint64_t guestfs_ahead(const struct guestfs *guestfs);

/* What was opened ahead of those who are going to open it is closed. */
void guestfs_close_ahead(struct guestfs *guestfs);

/* The guest's files may have changed: the kernel asks for everything anew. */
void guestfs_doubt(struct guestfs *guestfs);

/* The instance's state allows to send now: what waited is sent. */
void guestfs_up(struct guestfs *guestfs);
/* It does not boot any more and is not up: what waits or was sent is answered with EHOSTDOWN. */
void guestfs_wait(struct guestfs *fs);
void guestfs_down(struct guestfs *guestfs);
/* A reply came. Below 0: it broke the protocol. */
int guestfs_reply(struct guestfs *guestfs, uint64_t id, const void *payload, size_t size);
/* The root node's object for files/ itself; lives as long as the guestfs. */
struct object *guestfs_root(struct guestfs *guestfs);

/* Whether two nodes belong to one instance. */
bool guestfs_same(const struct object *one, const struct object *other);

/* The operations of tree.h for an object of type OBJECT_FILE. */
void guestfs_lookup(struct request *request, struct object *parent, const char *name);
void guestfs_forget(struct object *object, uint64_t count);
void guestfs_getattr(struct request *request, struct object *object, struct handle *handle);
void guestfs_access(struct request *request, struct object *object, int mask);
void guestfs_setattr(struct request *request, struct object *object, struct handle *handle,
	const struct stat *attr, unsigned which);
void guestfs_readlink(struct request *request, struct object *object);
void guestfs_mkdir(struct request *request, struct object *parent, const char *name, mode_t mode);
void guestfs_remove(struct request *request, struct object *parent, const char *name,
	bool directory);
void guestfs_symlink(struct request *request, const char *target, struct object *parent,
	const char *name);
void guestfs_link(struct request *request, struct object *object, struct object *parent,
	const char *name);
void guestfs_rename(struct request *request, struct object *parent, const char *name,
	struct object *new_parent, const char *new_name, unsigned flags);
void guestfs_create(struct request *request, struct object *parent, const char *name, mode_t mode,
	int flags);
void guestfs_mknod(struct request *request, struct object *parent, const char *name, mode_t mode);
void guestfs_open(struct request *request, struct object *object, int flags);
void guestfs_opendir(struct request *request, struct object *object);
void guestfs_statfs(struct request *request, struct object *object);
/* Of handles that open, create and opendir made: handle->control is NULL. */
void guestfs_read(struct request *request, struct handle *handle, uint64_t offset, size_t size);
void guestfs_write(struct request *request, struct handle *handle, const void *data, size_t size,
	uint64_t offset);
void guestfs_flush(struct request *request, struct handle *handle);
/* Also of a directory. */
void guestfs_fsync(struct request *request, struct handle *handle);
/* Both of one instance. */
void guestfs_copy(struct request *request, struct handle *from, uint64_t offset, struct handle *to,
	uint64_t to_offset, size_t size);
void guestfs_release(struct handle *handle);
void guestfs_readdir(struct request *request, struct handle *handle, uint64_t offset);

#endif
