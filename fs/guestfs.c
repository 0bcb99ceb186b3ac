/* SPDX-License-Identifier: MIT */
#include "fs/guestfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/guestfile.h"
#include "fs/guestop.h"
#include "fs/instance.h"

struct guestfs {
	struct guest_queue queue;
	struct guest_tree tree;
	struct guest_node *root;	/* NULL after guestfs_free */
	uid_t uid;
	gid_t gid;
};

/* The node of an object. */
static struct guest_node *node_of(struct object *object)
{
	return container_of(object, struct guest_node, object);
}

/* The files that a node is of. */
static struct guestfs *fs_of(struct object *object)
{
	return container_of(node_of(object)->tree, struct guestfs, tree);
}

/* The queue of a node, for guestfile.c. */
struct guest_queue *guestfs_queue(struct guest_node *node)
{
	return &container_of(node->tree, struct guestfs, tree)->queue;
}

/* The last node went: so does the rest. */
static void tree_empty(struct guest_tree *tree)
{
	free(container_of(tree, struct guestfs, tree));
}

/* Makes the files of an instance. */
struct guestfs *guestfs_new(struct instance *instance)
{
	struct guestfs *fs = memory_new(sizeof(*fs));

	guest_queue_init(&fs->queue, instance->shim);
	fs->uid = instance->uid;
	fs->gid = instance->gid;
	fs->tree.empty = tree_empty;
	LIST_INIT(&fs->tree.nodes);
	fs->root = guest_node_root(&fs->tree);
	if (!fs->root) {
		free(fs);
		return NULL;
	}
	return fs;
}

/* Ends it; open files keep what they need. */
void guestfs_free(struct guestfs *fs)
{
	if (!fs)
		return;
	struct guest_node *root = fs->root;
	guest_queue_set(&fs->queue, GUEST_GONE);
	fs->root = NULL;
	guest_tree_clear(&fs->tree);
	object_unref(&root->object);
}

/* Ready. */
void guestfs_up(struct guestfs *fs)
{
	guest_queue_set(&fs->queue, GUEST_UP);
}

/* Not up, and not about to be. */
void guestfs_down(struct guestfs *fs)
{
	guest_queue_set(&fs->queue, GUEST_DOWN);
}

/* A reply of the shim. */
int guestfs_reply(struct guestfs *fs, uint64_t id, const void *payload, size_t size)
{
	return guest_queue_reply(&fs->queue, id, payload, size);
}

/* The root. */
struct object *guestfs_root(struct guestfs *fs)
{
	return &fs->root->object;
}

/* One instance or two. */
bool guestfs_same(const struct object *one, const struct object *other)
{
	return fs_of((struct object *)one) == fs_of((struct object *)other);
}

/* Attributes for the kernel; every file belongs to who made the instance. */
static void stat_of(struct guest_node *node, const struct file_attr *attr, struct stat *stat)
{
	struct guestfs *fs = fs_of(&node->object);

	guest_node_stat(node, attr, stat);
	stat->st_uid = fs->uid;
	stat->st_gid = fs->gid;
}

/* Makes the entry of name in parent, counted as a look-up. false: it was answered with an error. */
bool guestfs_entry(struct guest_op *op, struct guest_node *parent, const char *name,
	const struct file_attr *attr, struct entry *entry)
{
	struct guest_node *node;

	if (!(attr->valid & FILE_ATTR_MODE) || !(node = guest_node_get(parent, name, attr))) {
		request_error(op->request, attr->valid & FILE_ATTR_MODE ? -ENFILE : -EIO);
		return false;
	}
	guest_node_count(node);
	*entry = (struct entry){ .node = object_node(&node->object, OBJECT_SELF) };
	stat_of(node, attr, &entry->attr);
	object_unref(&node->object);
	return true;
}

/* An entry of a directory that is listed: counts as a look-up only where the kernel takes it so. */
void guestfs_listed(struct guest_node *parent, const char *name, const struct file_attr *attr,
	bool counts, struct entry *entry)
{
	struct guest_node key = { .parent = parent, .ino = 0 }, *node = NULL;

	*entry = (struct entry){ 0 };
	if (counts && (attr->valid & FILE_ATTR_MODE))
		node = guest_node_get(parent, name, attr);
	if (!node) {
		guest_node_stat(&key, attr, &entry->attr);
		entry->attr.st_ino = guest_node_number(parent, name);
		return;
	}
	entry->node = object_node(&node->object, OBJECT_SELF);
	stat_of(node, attr, &entry->attr);
	guest_node_count(node);
	object_unref(&node->object);
}

/* The kernel did not get it. */
void guestfs_unlisted(uint64_t node)
{
	unsigned file;
	struct object *object = node ? object_find(node, &file) : NULL;

	if (object)
		guest_node_forget(node_of(object), 1);
}

/* The end of every request whose answer is an entry: lookup, mkdir, symlink, link. */
static void entry_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct entry entry;

	if (reply->error) {
		if (reply->error == -ENOENT && !op->other)
			guest_node_detach(op->node, op->name);
		request_error(op->request, reply->error);
		return;
	}
	struct guest_node *parent = op->other ? op->other : op->node;
	const char *name = op->new_name ? op->new_name : op->name;
	if (guestfs_entry(op, parent, name, &reply->attr, &entry))
		request_entry(op->request, &entry);
}

/* A request about name in the directory parent; NULL: it was answered already. */
static struct guest_op *start(struct request *request, struct object *parent, const char *name,
	enum file_op what, guest_done *done)
{
	struct guest_op *op = guest_op_new(&fs_of(parent)->queue, request, node_of(parent), what, done);

	return guest_op_path(op, name) < 0 ? NULL : op;
}

/* Looks a name up. */
void guestfs_lookup(struct request *request, struct object *parent, const char *name)
{
	struct guest_op *op = start(request, parent, name, FILE_GETATTR, entry_done);

	if (op)
		guest_op_send(op);
}

/* The kernel forgets; the root stays. */
void guestfs_forget(struct object *object, uint64_t count)
{
	guest_node_forget(node_of(object), count);
}

/* The end of getattr and setattr. */
static void attr_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct stat stat;

	if (reply->error) {
		request_error(op->request, reply->error);
		return;
	}
	if ((reply->attr.mode & S_IFMT) != op->node->type) {
		/* Another file took the place: its node is a new one, found by the next look-up. */
		request_error(op->request, -ESTALE);
		return;
	}
	stat_of(op->node, &reply->attr, &stat);
	request_attr(op->request, &stat, 0);
}

/* A request about the node itself, by its path; attributes of what has no path any more are those of
 * an open file of it. NULL: it was answered already. */
static struct guest_op *start_self(struct request *request, struct object *object,
	enum file_op what, guest_done *done)
{
	struct guest_node *node = node_of(object);
	struct guest_op *op = guest_op_new(&fs_of(object)->queue, request, node, what, done);

	if (node->detached && (what == FILE_GETATTR || what == FILE_SETATTR)) {
		op->message.handle = guestfile_any(node);
		if (op->message.handle)
			return op;
	}
	return guest_op_path(op, NULL) < 0 ? NULL : op;
}

/* Attributes. */
void guestfs_getattr(struct request *request, struct object *object)
{
	struct guest_op *op = start_self(request, object, FILE_GETATTR, attr_done);

	if (op)
		guest_op_send(op);
}

/* The second half of a setattr: what was not given is what it was. */
static void setattr_send(struct request *request, struct guest_node *node,
	const struct stat *attr, unsigned which, const struct file_attr *old)
{
	struct guest_op *op = start_self(request, &node->object, FILE_SETATTR, attr_done);

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
	struct guestfs *fs = fs_of(object);
	static const struct file_attr none;

	/* All files appear as this owner's: giving them to it changes nothing. */
	if (which & TREE_SET_UID && attr->st_uid == fs->uid)
		which &= ~TREE_SET_UID;
	if (which & TREE_SET_GID && attr->st_gid == fs->gid)
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
	struct guest_op *op = start_self(request, object, FILE_GETATTR, setattr_asked);
	if (!op)
		return;
	op->attr = *attr;
	op->which = which;
	guest_op_send(op);
}

/* The end of readlink. */
static void link_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	char target[FILES_PATH_MAX + 1];

	if (reply->error || size == 0 || size > FILES_PATH_MAX || memchr(data, '\0', size)) {
		request_error(op->request, reply->error ? reply->error : -EIO);
		return;
	}
	memcpy(target, data, size);
	target[size] = '\0';
	request_link(op->request, target);
}

/* Reads a link. */
void guestfs_readlink(struct request *request, struct object *object)
{
	struct guest_op *op = start_self(request, object, FILE_READLINK, link_done);

	if (op)
		guest_op_send(op);
}

/* Makes a directory. */
void guestfs_mkdir(struct request *request, struct object *parent, const char *name, mode_t mode)
{
	struct guest_op *op = start(request, parent, name, FILE_MKDIR, entry_done);

	if (!op)
		return;
	op->message.attr.valid = FILE_ATTR_MODE;
	op->message.attr.mode = mode & 0777;
	guest_op_send(op);
}

/* The end of unlink and rmdir. */
static void removed(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (!reply->error)
		guest_node_detach(op->node, op->name);
	request_error(op->request, reply->error);
}

/* Removes a name. */
void guestfs_remove(struct request *request, struct object *parent, const char *name,
	bool directory)
{
	struct guest_op *op = start(request, parent, name, directory ? FILE_RMDIR : FILE_UNLINK,
		removed);

	if (op)
		guest_op_send(op);
}

/* Makes a symbolic link. */
void guestfs_symlink(struct request *request, const char *target, struct object *parent,
	const char *name)
{
	struct guest_op *op = start(request, parent, name, FILE_SYMLINK, entry_done);

	if (!op)
		return;
	if (strlen(target) > FILES_PATH_MAX) {
		guest_op_fail(op, -ENAMETOOLONG);
		return;
	}
	op->path2 = memory_string(target);
	guest_op_send(op);
}

/* Makes a hard link. */
void guestfs_link(struct request *request, struct object *object, struct object *parent,
	const char *name)
{
	struct guest_op *op = start_self(request, object, FILE_LINK, entry_done);

	if (op && guest_op_path2(op, node_of(parent), name) == 0)
		guest_op_send(op);
}

/* The end of a rename. */
static void renamed(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (!reply->error)
		guest_node_move(op->node, op->name, op->other, op->new_name);
	request_error(op->request, reply->error);
}

/* Renames. */
void guestfs_rename(struct request *request, struct object *parent, const char *name,
	struct object *new_parent, const char *new_name, unsigned flags)
{
	struct guest_op *op;

	if (flags & ~RENAME_NOREPLACE) {
		request_error(request, -EINVAL);
		return;
	}
	op = start(request, parent, name, FILE_RENAME, renamed);
	if (!op || guest_op_path2(op, node_of(new_parent), new_name) < 0)
		return;
	op->message.flags = flags;
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
	struct guest_op *op = start_self(request, object, FILE_STATFS, statfs_done);

	if (op)
		guest_op_send(op);
}
