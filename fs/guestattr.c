/* SPDX-License-Identifier: MIT */
/* Attributes of a guest's files, and of its filesystem. */
#include <errno.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/guestfile.h"
#include "fs/guestfs.h"
#include "fs/guestop.h"

/* The node of an object. */
static struct guest_node *node_of(struct object *object)
{
	return container_of(object, struct guest_node, object);
}

static void attr_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size);

/*
 * The guest has no such file any more, or another one. A getattr may have another way: when the node
 * was renamed while it was under way, its new path; when it is open, an open file. false: none.
 */
static bool getattr_again(struct guest_op *op)
{
	struct guest_node *node = op->node;
	char path[FILES_PATH_MAX + 1];

	if (op->message.op != FILE_GETATTR || op->message.handle || !node->parent)
		return false;
	if (!node->detached) {
		bool moved = guest_node_path(node, NULL, path) == 0 && strcmp(path, op->path) != 0;

		if (!moved && !guestfile_any(node, false))
			return false;
		if (!moved)
			guest_node_detach(node->parent, node->name);
	}
	struct guest_op *again = guestfs_start(op->request, node, FILE_GETATTR, attr_done);
	if (again)
		guest_op_send(again);
	return true;
}

/* The end of getattr and setattr. */
static void attr_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct stat stat;
	bool other = !reply->error && (reply->attr.mode & S_IFMT) != op->node->type;

	if ((other || reply->error == -ENOENT) && getattr_again(op))
		return;
	if (reply->error) {
		request_error(op->request, reply->error);
		return;
	}
	if (other) {
		/* Another file took the place: its node is a new one, found by the next look-up. */
		request_error(op->request, -ESTALE);
		return;
	}
	guest_node_stat(op->node, &reply->attr, &stat);
	request_attr(op->request, &stat,
		guest_cache_attr(&op->queue->cache, op->node, &reply->attr, op->asked));
}

/* Attributes. */
void guestfs_getattr(struct request *request, struct object *object)
{
	struct guest_op *op = guestfs_start(request, node_of(object), FILE_GETATTR, attr_done);

	if (op)
		guest_op_send(op);
}

/* A setattr by an open file, where the size changes and one is open to write: that needs neither the
 * right to write by path nor the path. Else by path. NULL: it was answered already. */
static struct guest_op *start_setattr(struct request *request, struct guest_node *node,
	unsigned which)
{
	uint64_t handle = which & TREE_SET_SIZE ? guestfile_any(node, true) : 0;

	if (!handle)
		return guestfs_start(request, node, FILE_SETATTR, attr_done);
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, FILE_SETATTR, attr_done);
	op->message.handle = handle;
	return op;
}

/* The second half of a setattr: what was not given is what it was. */
static void setattr_send(struct request *request, struct guest_node *node,
	const struct stat *attr, unsigned which, const struct file_attr *old)
{
	struct guest_op *op = start_setattr(request, node, which);

	if (!op)
		return;
	struct file_attr *new = &op->message.attr;
	if (which & TREE_SET_SIZE) {
		new->valid |= FILE_ATTR_SIZE;
		new->size = (uint64_t)attr->st_size;
	}
	if (which & TREE_SET_MODE) {
		new->valid |= FILE_ATTR_MODE;
		new->mode = attr->st_mode & 07777;
	}
	if (which & (TREE_SET_UID | TREE_SET_GID)) {
		new->valid |= FILE_ATTR_OWNER;
		new->uid = which & TREE_SET_UID ? attr->st_uid : old->uid;
		new->gid = which & TREE_SET_GID ? attr->st_gid : old->gid;
	}
	if (which & (TREE_SET_ATIME | TREE_SET_MTIME)) {
		new->valid |= FILE_ATTR_TIMES;
		new->atime = which & TREE_SET_ATIME ? attr->st_atim.tv_sec : old->atime;
		new->mtime = which & TREE_SET_MTIME ? attr->st_mtim.tv_sec : old->mtime;
	}
	guest_op_send(op);
}

/* The first half: the old attributes came. */
static void setattr_asked(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (reply->error)
		request_error(op->request, reply->error);
	else
		setattr_send(op->request, op->node, &op->attr, op->which, &reply->attr);
}

/* Changes attributes. SFTP sets uid with gid and atime with mtime only, so one alone asks first. */
void guestfs_setattr(struct request *request, struct object *object, const struct stat *attr,
	unsigned which)
{
	const struct guest_tree *tree = node_of(object)->tree;
	static const struct file_attr none;

	/* All files appear as this owner's: giving them to it changes nothing. */
	if (which & TREE_SET_UID && attr->st_uid == tree->uid)
		which &= ~TREE_SET_UID;
	if (which & TREE_SET_GID && attr->st_gid == tree->gid)
		which &= ~TREE_SET_GID;
	unsigned owner = which & (TREE_SET_UID | TREE_SET_GID);
	unsigned times = which & (TREE_SET_ATIME | TREE_SET_MTIME);
	if (which == 0) {
		guestfs_getattr(request, object);
		return;
	}
	bool whole_owner = !owner || owner == (TREE_SET_UID | TREE_SET_GID);
	bool whole_times = !times || times == (TREE_SET_ATIME | TREE_SET_MTIME);
	if (whole_owner && whole_times) {
		setattr_send(request, node_of(object), attr, which, &none);
		return;
	}
	struct guest_op *op = guestfs_start(request, node_of(object), FILE_GETATTR, setattr_asked);
	if (!op)
		return;
	op->attr = *attr;
	op->which = which;
	guest_op_send(op);
}

/* The end of statfs. */
static void statfs_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct statvfs result = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = FILES_NAME_MAX };
	struct file_statfs told;

	if (!reply->error && size == sizeof(told)) {
		memcpy(&told, data, sizeof(told));
		result.f_bsize = result.f_frsize = told.block_size;
		result.f_blocks = told.blocks;
		result.f_bfree = told.blocks_free;
		result.f_bavail = told.blocks_available;
		result.f_files = told.files;
		result.f_ffree = told.files_free;
	}
	/* A server without the extension: nothing is known, which is no error for df. */
	if (reply->error && reply->error != -ENOSYS)
		request_error(op->request, reply->error);
	else
		request_statfs(op->request, &result);
}

/* The guest's file system. */
void guestfs_statfs(struct request *request, struct object *object)
{
	struct guest_op *op = guestfs_start(request, node_of(object), FILE_STATFS, statfs_done);

	if (op)
		guest_op_send(op);
}
