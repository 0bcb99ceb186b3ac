/* SPDX-License-Identifier: MIT */
/* Attributes of a guest's files, and of its filesystem. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "fs/guestagain.h"
#include "fs/guestahead.h"
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

	if (op->message.op == FILE_SETATTR)
		guest_again_changed(op->node, op->message.attr.valid & FILE_ATTR_SIZE);
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
	if (op->message.op == FILE_SETATTR && !op->message.handle && !(op->message.attr.valid & FILE_ATTR_SIZE))
		op->queue->one_step = reply->count == 1;
	guest_ahead_seen(op, op->node, &reply->attr, op->message.attr.valid & FILE_ATTR_TIMES);
	guest_node_stat(op->node, &reply->attr, &stat);
	request_attr(op->request, &stat,
		guest_cache_attr(&op->queue->cache, op->node, &reply->attr, op->asked));
}

/* Answers with attributes that are made up until the guest's come. */
static void answer_ahead(struct request *request, struct guest_node *node)
{
	struct guest_cache *cache = &guestfs_queue(node)->cache;
	struct file_attr attr = *guest_ahead_attr(node);
	struct stat stat;

	guest_node_stat(node, &attr, &stat);
	request_attr(request, &stat, guest_cache_attr(cache, node, &attr, guest_cache_now(cache)));
}

/* Answers with attributes that the guest told a moment ago. The kernel asks for those before it changes an owner,
 * and gives files to those who have them. */
static bool answer_told(struct request *request, struct guest_node *node)
{
	struct guest_queue *queue = guestfs_queue(node);
	struct guest_moment asked;
	const struct file_attr *attr = guest_ahead_told(queue, node, &asked);
	struct stat stat;

	if (!attr || (attr->mode & S_IFMT) != node->type)
		return false;
	guest_node_stat(node, attr, &stat);
	request_attr(request, &stat, guest_cache_attr(&queue->cache, node, attr, asked));
	return true;
}

/* A request about the open file of that number, or by path where it is 0. NULL: it was answered already. */
static struct guest_op *start(struct request *request, struct guest_node *node, uint64_t handle,
	enum file_op what, guest_done *done)
{
	if (!handle)
		return guestfs_start(request, node, what, done);
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, what, done);
	op->message.handle = handle;
	return op;
}

/* A directory that was removed and is open, or somebody's working directory, is as it was: no path leads to it, and
 * the server has no handle for its attributes. */
static bool answer_removed(struct request *request, struct guest_node *node)
{
	struct guest_belief *belief = &node->belief;
	struct file_attr attr = { .valid = FILE_ATTR_MODE | FILE_ATTR_SIZE, .mode = belief->mode,
		.size = belief->size, .atime = belief->mtime, .mtime = belief->mtime };
	struct stat stat;

	if (!node->detached || node->type != S_IFDIR || !belief->seen)
		return false;
	guest_node_stat(node, &attr, &stat);
	request_attr(request, &stat, 0);
	return true;
}

/* Attributes: of the open file, where the kernel names one, as it does before it reads. */
void guestfs_getattr(struct request *request, struct object *object, struct handle *handle)
{
	struct guest_node *node = node_of(object);
	bool file = handle && node->type == S_IFREG;

	if (answer_removed(request, node))
		return;
	if (guest_ahead_attr(node)) {
		answer_ahead(request, node);
		return;
	}
	if (answer_told(request, node))
		return;
	struct guest_handle *making = guestfile_making(node);
	if (making && !file) {
		handle = &making->handle;
		file = true;
	}
	struct guest_op *op = start(request, node, file ? guestfile_of(handle)->id : 0, FILE_GETATTR,
		attr_done);

	if (!op)
		return;
	if (file) {
		op->handle = guestfile_of(handle);
		guest_again_send(op);
	} else {
		guest_op_send(op);
	}
}

/* Whether the mode allows to run it. */
static int may_run(mode_t mode)
{
	return mode & 0111 ? 0 : -EACCES;
}

/* The mode came. */
static void access_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	request_error(op->request, reply->error ? reply->error : may_run(reply->attr.mode));
}

/* access(2): whether a file can be run is seen from its mode, whoever asks, as by the kernel before it runs
 * one. Whether the login may read and write only an attempt can tell. */
void guestfs_access(struct request *request, struct object *object, int mask)
{
	struct guest_node *node = node_of(object);
	mode_t mode;

	if (!(mask & X_OK) || node->type != S_IFREG) {
		request_error(request, 0);
		return;
	}
	if (guest_cache_mode(node, &mode)) {
		request_error(request, may_run(mode));
		return;
	}
	struct guest_op *op = guestfs_start(request, node, FILE_GETATTR, access_done);
	if (op)
		guest_op_send(op);
}

/* The open file by which to change attributes: the one that the kernel names; for a size any that is open
 * to write, as that needs neither the right to write by path nor the path. 0: by path. */
static uint64_t setattr_handle(struct guest_node *node, struct handle *handle, unsigned which)
{
	uint64_t id = handle ? guestfile_id(handle) : 0;

	return id || !(which & TREE_SET_SIZE) ? id : guestfile_any(node, true);
}

/* What a setattr asks for; what was not given is what it was. */
static void setattr_fill(struct file_attr *new, const struct stat *attr, unsigned which,
	const struct file_attr *old)
{
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
}

/* The end of a setattr that was answered: guestahead.c did all. */
static void changed_ahead(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
}

/* Makes the new attributes up, where that may be. */
static bool setattr_ahead(struct guest_op *op, const struct file_attr *new)
{
	struct file_attr *attr = guest_ahead_may(op->queue) ? guest_ahead_base(op->queue, op->node) : NULL;
	bool ordered = op->queue->one_step || op->message.handle || guestfile_making(op->node);

	if (!attr || !ordered)
		return false;
	if (new->valid & FILE_ATTR_SIZE) {
		attr->size = new->size;
		attr->mtime = time(NULL);
	}
	if (new->valid & FILE_ATTR_MODE)
		attr->mode = (attr->mode & S_IFMT) | (new->mode & 01777);
	if (new->valid & FILE_ATTR_OWNER) {
		attr->uid = new->uid;
		attr->gid = new->gid;
	}
	if (new->valid & FILE_ATTR_TIMES) {
		attr->atime = new->atime;
		attr->mtime = new->mtime;
	}
	return true;
}

/* Answers a setattr whose attributes were made up. */
static void answer_changed(struct guest_op *op)
{
	struct request *request = op->request;

	op->request = NULL;
	op->done = changed_ahead;
	guest_ahead_begin(op, op->node);
	answer_ahead(request, op->node);
}

/* The second half of a setattr, by the open file of that number or by path. */
static void setattr_send(struct request *request, struct guest_node *node, uint64_t handle,
	const struct file_attr *new)
{
	struct guest_handle *making = guestfile_making(node);
	struct guest_op *op = start(request, node, handle, FILE_SETATTR, attr_done);

	if (!op)
		return;
	op->message.attr = *new;
	if (setattr_ahead(op, new))
		answer_changed(op);
	guest_again_changed(node, new->valid & FILE_ATTR_SIZE);
	op->handle = making;
	if (making)
		guest_again_send(op);
	else
		guest_op_send(op);
}

/* The first half: the old attributes came. */
static void setattr_asked(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct file_attr new = { 0 };

	if (reply->error) {
		request_error(op->request, reply->error);
		return;
	}
	setattr_fill(&new, &op->attr, op->which, &reply->attr);
	setattr_send(op->request, op->node, op->message.handle, &new);
}

/* All files seem to be of one owner: giving them to it changes nothing, and nobody else can have
 * them. */
static bool may_own(const struct guest_tree *tree, const struct stat *attr, unsigned which)
{
	return (!(which & TREE_SET_UID) || attr->st_uid == tree->uid) &&
	       (!(which & TREE_SET_GID) || attr->st_gid == tree->gid);
}

/* Whether one half of a pair is to change: SFTP sets uid with gid and atime with mtime only. */
static bool is_half(unsigned which, unsigned one, unsigned other)
{
	return !(which & one) != !(which & other);
}

/*
 * What does not change, for a setattr that the guest needs not be asked for first: all of it while something
 * is answered ahead; nothing where nothing is left out; and the time of the last access, where it is known (who
 * unpacks an archive leaves that one out). The other time must be the guest's own. NULL: ask.
 */
static const struct file_attr *setattr_base(struct guest_node *node, unsigned which, struct file_attr *own)
{
	const struct guest_queue *queue = guestfs_queue(node);
	const struct file_attr *base = guest_ahead_may(queue) ? guest_ahead_base(queue, node) : NULL;

	if (base)
		return base;
	*own = (struct file_attr){ 0 };
	if (is_half(which, TREE_SET_UID, TREE_SET_GID))
		return NULL;
	if (!is_half(which, TREE_SET_ATIME, TREE_SET_MTIME))
		return own;
	return which & TREE_SET_MTIME && guest_ahead_atime(queue, node, &own->atime) ? own : NULL;
}

/* Changes attributes. */
void guestfs_setattr(struct request *request, struct object *object, struct handle *handle,
	const struct stat *attr, unsigned which)
{
	struct guest_node *node = node_of(object);
	struct file_attr own, new = { 0 };

	if (!node->tree->guest_owners && !may_own(node->tree, attr, which)) {
		request_error(request, -EPERM);
		return;
	}
	if (!node->tree->guest_owners)
		which &= ~(TREE_SET_UID | TREE_SET_GID);
	if (which == 0) {
		guestfs_getattr(request, object, handle);
		return;
	}
	uint64_t id = setattr_handle(node, handle, which);
	const struct file_attr *base = setattr_base(node, which, &own);
	if (base) {
		setattr_fill(&new, attr, which, base);
		setattr_send(request, node, id, &new);
		return;
	}
	struct guest_op *op = start(request, node, id, FILE_GETATTR, setattr_asked);
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
