/* SPDX-License-Identifier: MIT */
#include "fs/guestfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/guestagain.h"
#include "fs/guestahead.h"
#include "fs/guestfile.h"
#include "fs/guestlist.h"
#include "fs/guestnext.h"
#include "fs/guestop.h"
#include "fs/instance.h"
#include "fs/kernel.h"
#include "fs/mount.h"

struct guestfs {
	struct instance *instance;
	struct guest_queue queue;
	struct guest_tree tree;
	struct guest_node *root;	/* NULL after guestfs_free */
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

/* Something that was answered ahead did not come true: nothing is believed. */
static void ahead_failed(void *data, const char *path, int error)
{
	struct guestfs *fs = data;

	if (!fs->root)
		return;
	guestfs_doubt(fs);
	instance_files_failed(fs->instance, path, error);
}

/* Something that was answered ahead ended. */
static void ahead_settled(void *data)
{
	struct guestfs *fs = data;

	if (fs->root)
		instance_files_settled(fs->instance, guest_ahead_oldest(&fs->queue));
}

/* What nobody has opened. */
void guestfs_close_ahead(struct guestfs *fs)
{
	guest_nexts_close(fs->queue.nexts);
}

/* What is under way. */
uint64_t guestfs_ahead(const struct guestfs *fs)
{
	return guest_ahead_newest(&fs->queue);
}

/* Makes the files of an instance. */
struct guestfs *guestfs_new(struct instance *instance)
{
	const struct poolfs_values *values = pool_config(instance->pool)->values;
	struct guestfs *fs = memory_new(sizeof(*fs));

	guest_queue_init(&fs->queue, instance->shim);
	fs->queue.cache.time = (uint64_t)poolfs_number(values, "cache") * 1000000;
	fs->instance = instance;
	fs->queue.eager = fs->queue.cache.eager =
		strcmp(poolfs_string(values, "files_mode"), "eager") == 0;
	fs->queue.flushes = pool_config(instance->pool)->facts.features & FACTS_FILES_FLUSHED;
	fs->queue.failed = ahead_failed;
	fs->queue.settled = ahead_settled;
	fs->queue.data = fs;
	fs->tree.guest_owners = strcmp(poolfs_string(values, "owner"), "guest") == 0;
	fs->tree.uid = instance->uid;
	fs->tree.gid = instance->gid;
	fs->tree.empty = tree_empty;
	LIST_INIT(&fs->tree.nodes);
	fs->root = guest_node_root(&fs->tree);
	if (!fs->root) {
		free(fs);
		return NULL;
	}
	fs->queue.looks = guest_looks_new(pool_mount(instance->pool)->loop);
	if (fs->queue.eager && fs->queue.cache.time)
		fs->queue.nexts = guest_nexts_new(pool_mount(instance->pool)->loop);
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
	guest_looks_free(fs->queue.looks);
	guest_nexts_free(fs->queue.nexts);
	fs->queue.looks = NULL;
	fs->queue.nexts = NULL;
	guest_tree_clear(&fs->tree);
	object_unref(&root->object);
}

/* What was told may be wrong by now. */
void guestfs_doubt(struct guestfs *fs)
{
	guest_cache_doubt(&fs->queue.cache, &fs->tree);
}

/* Ready. */
void guestfs_up(struct guestfs *fs)
{
	guestfs_doubt(fs);
	guest_queue_set(&fs->queue, GUEST_UP);
}

/* Not up yet: what is asked for waits. */
void guestfs_wait(struct guestfs *fs)
{
	guest_queue_set(&fs->queue, GUEST_WAITING);
}

/* Not up, and not about to be. */
void guestfs_down(struct guestfs *fs)
{
	guestfs_doubt(fs);
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
	if (op->message.op == FILE_LINK) {
		guest_node_twin(node, op->node);
		kernel_doubt_attr(object_node(&op->node->object, OBJECT_SELF));
	}
	*entry = (struct entry){ .node = object_node(&node->object, OBJECT_SELF) };
	guest_node_stat(node, attr, &entry->attr);
	guest_cache_entry(&op->queue->cache, node, attr, op->asked, entry);
	object_unref(&node->object);
	return true;
}

/* The name of an entry of a directory, which the kernel does not take as a look-up. */
void guestfs_named(struct guest_node *parent, const char *name, const struct file_attr *attr,
	struct entry *entry)
{
	struct guest_node key = { .tree = parent->tree };

	*entry = (struct entry){ 0 };
	guest_node_stat(&key, attr, &entry->attr);
	entry->attr.st_ino = guest_node_number(parent, name);
}

/* An entry that it does take as one. */
void guestfs_listed(struct guest_node *node, const struct file_attr *attr, struct guest_moment asked,
	struct entry *entry)
{
	*entry = (struct entry){ .node = object_node(&node->object, OBJECT_SELF) };
	guest_node_stat(node, attr, &entry->attr);
	guest_cache_entry(&guestfs_queue(node)->cache, node, attr, asked, entry);
	guest_ahead_listed(node, attr, asked);
	guest_node_count(node);
}

/* The kernel did not get it. */
void guestfs_unlisted(uint64_t node)
{
	unsigned file;
	struct object *object = node ? object_find(node, &file) : NULL;

	if (object)
		guest_node_forget(node_of(object), 1);
}

/* There is none. That a name does not exist is an answer to a look-up. */
static void entry_failed(struct guest_op *op, int error)
{
	struct entry none = { 0 };

	if (error == -ENOENT)
		guest_node_detach(op->node, op->name);
	if (error == -ENOENT && op->message.op == FILE_GETATTR)
		none.entry_seconds = guest_cache_absent(&op->queue->cache, op->asked);
	if (none.entry_seconds > 0)
		request_entry(op->request, &none);
	else
		request_error(op->request, error);
}

/* The end of every request whose answer is an entry: lookup, mkdir, symlink. */
static void entry_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct entry entry;

	if (reply->error) {
		entry_failed(op, reply->error);
		return;
	}
	if (!guestfs_entry(op, op->node, op->name, &reply->attr, &entry))
		return;
	if (op->message.op == FILE_MKDIR)
		guestfs_learn_login(op->node->tree, &reply->attr);
	struct guest_node *node = guest_node_find(op->node, op->name);
	guest_ahead_seen(op, node, &reply->attr, op->message.op == FILE_MKDIR);
	if (op->message.op == FILE_MKDIR)
		guest_list_made(&op->queue->cache, node, op->asked);
	request_entry(op->request, &entry);
}

/* Whose it is. */
void guestfs_learn_login(struct guest_tree *tree, const struct file_attr *attr)
{
	if (!(attr->valid & FILE_ATTR_OWNER))
		return;
	tree->login_known = true;
	tree->login_uid = attr->uid;
	tree->login_gid = attr->gid;
}

/* Where owners are the guest's, that of something new must be known. */
bool guestfs_may_make(const struct guest_op *op)
{
	const struct guest_tree *tree = op->node->tree;

	return guest_ahead_may(op->queue) && !op->node->detached &&
	       (!tree->guest_owners || tree->login_known);
}

/* Its request was answered with the error. */
static void answered(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
}

/* Makes it up. */
bool guestfs_enter_ahead(struct guest_op *op, const struct file_attr *attr, struct entry *entry)
{
	struct guest_node *parent = op->other ? op->other : op->node;
	const char *name = op->other ? op->new_name : op->name;
	bool entered = guestfs_entry(op, parent, name, attr, entry);

	op->request = NULL;
	if (!entered) {
		op->done = answered;
		guest_op_fail(op, -ENFILE);
		return false;
	}
	struct guest_node *node = guest_node_find(parent, name);
	guest_ahead_begin(op, node);
	node->ahead.attr = *attr;
	node->ahead.known = node->ahead.told = true;
	return true;
}

/* It is there, or is not. */
void guestfs_made_ahead(struct guest_node *node, struct guest_tree *tree, const struct file_reply *reply)
{
	if (!reply->error)
		guestfs_learn_login(tree, &reply->attr);
	else if (!node->detached && node->parent)
		guest_node_detach(node->parent, node->name);
}

/* The end of mkdir and symlink that were answered. What was made may have another name by now, and its own may be
 * another one's. */
static void made_ahead(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	guestfs_made_ahead(op->about, op->node->tree, reply);
}

/* Sends what makes a directory or link, and answers it now where that may be. */
static void make(struct guest_op *op, uint32_t mode, uint64_t size)
{
	struct request *request = op->request;
	struct file_attr attr = guest_ahead_new(op->node->tree, mode, size);
	struct entry entry;

	if (!guestfs_may_make(op)) {
		guest_op_send(op);
		return;
	}
	if (!guestfs_enter_ahead(op, &attr, &entry))
		return;
	op->done = made_ahead;
	if (S_ISDIR(mode))
		guest_list_made(&op->queue->cache, op->about, op->asked);
	request_entry(request, &entry);
	guest_op_send(op);
}

/* A request about name in the directory parent. */
struct guest_op *guestfs_start_name(struct request *request, struct object *parent, const char *name,
	enum file_op what, guest_done *done)
{
	struct guest_op *op = guest_op_new(&fs_of(parent)->queue, request, node_of(parent), what, done);

	return guest_op_path(op, name) < 0 ? NULL : op;
}

/* Answers a look-up from what is known of the whole directory, or is about to be. Attributes that are older than
 * what the kernel was told already, or may be, are none. false: the guest has to be asked. The kernel asks for a
 * name that it believes when something is to replace it: where that is answered ahead, it may go on believing. */
static bool lookup_known(struct request *request, struct guest_node *parent, const char *name)
{
	struct guest_queue *queue = guestfs_queue(parent);
	struct guest_moment asked = { 0 }, told_at;
	const struct file_attr *told;
	struct file_attr attr;
	enum guest_known known = guest_list_find(&queue->cache, parent, name, &attr, &asked);
	struct guest_node *node = guest_node_find(parent, name);
	struct guest_op op = { .queue = queue, .request = request, .node = parent, .name = (char *)name,
		.asked = asked, .message.op = FILE_GETATTR };
	struct file_reply reply = { .error = known == GUEST_ABSENT ? -ENOENT : 0, .attr = attr };

	if (node && guest_ahead_attr(node)) {
		known = GUEST_THERE;
		op.asked = guest_cache_now(&queue->cache);
		reply = (struct file_reply){ .attr = *guest_ahead_attr(node) };
	} else if (node && queue->eager && (told = guest_ahead_named(queue, node, &told_at))) {
		known = GUEST_THERE;
		op.asked = told_at;
		reply = (struct file_reply){ .attr = *told };
	} else if (node && (node->linked || node->belief.asked > asked.time || node->changed_at > asked.time)) {
		return false;
	}
	if (known == GUEST_UNKNOWN || parent->detached || queue->mode != GUEST_UP)
		return false;
	entry_done(&op, &reply, NULL, 0);
	return true;
}

/* The end of a look-up. Names that are not there say nothing about whether others are going to be
 * asked for: somebody may be making them. In a directory that was made here, that is what the list is
 * good for. */
static void looked_up(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	bool there = !reply->error || (reply->error == -ENOENT && (op->node->made_here ||
							   op->queue->eager));

	entry_done(op, reply, data, size);
	if (there && !op->node->detached &&
		guest_list_missed(&op->queue->cache, op->node))
		guestdir_learn(op->node);
}

/* Looks a name up. When many of one directory are, all of them are asked for. */
void guestfs_lookup(struct request *request, struct object *parent, const char *name)
{
	if (lookup_known(request, node_of(parent), name))
		return;
	struct guest_op *op = guestfs_start_name(request, parent, name, FILE_GETATTR, looked_up);

	if (op)
		guest_op_send(op);
}

/* The kernel forgets; the root stays. */
void guestfs_forget(struct object *object, uint64_t count)
{
	guest_node_forget(node_of(object), count);
}

/* A request about the node itself, by its path; attributes of what has no path any more are those of
 * an open file of it. NULL: it was answered already. */
struct guest_op *guestfs_start(struct request *request, struct guest_node *node, enum file_op what,
	guest_done *done)
{
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, what, done);

	if (node->detached && (what == FILE_GETATTR || what == FILE_SETATTR)) {
		op->message.handle = guestfile_any(node, false);
		if (op->message.handle)
			return op;
	}
	return guest_op_path(op, NULL) < 0 ? NULL : op;
}

/* The end of readlink. */
static void link_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	char target[FILES_PATH_MAX + 1];

	if (reply->error || size == 0 || size > FILES_PATH_MAX || memchr(data, '\0', size)) {
		int error = reply->error ? reply->error : -EIO;
		bool misled = guest_cache_misled(&op->queue->cache, op->node, error);

		request_error(op->request, misled ? -ESTALE : error);
		return;
	}
	op->node->belief.misled = false;
	memcpy(target, data, size);
	target[size] = '\0';
	request_link(op->request, target);
}

/* Reads a link. */
void guestfs_readlink(struct request *request, struct object *object)
{
	struct guest_op *op = guestfs_start(request, node_of(object), FILE_READLINK, link_done);

	if (op)
		guest_op_send(op);
}

/* Makes a directory. */
void guestfs_mkdir(struct request *request, struct object *parent, const char *name, mode_t mode)
{
	struct guest_op *op = guestfs_start_name(request, parent, name, FILE_MKDIR, entry_done);

	if (!op)
		return;
	op->message.attr.valid = FILE_ATTR_MODE;
	op->message.attr.mode = mode & 01777;
	make(op, S_IFDIR | (mode & 01777), 4096);
}

/* Makes a symbolic link. */
void guestfs_symlink(struct request *request, const char *target, struct object *parent,
	const char *name)
{
	struct guest_op *op = guestfs_start_name(request, parent, name, FILE_SYMLINK, entry_done);

	if (!op)
		return;
	if (strlen(target) > FILES_PATH_MAX) {
		guest_op_fail(op, -ENAMETOOLONG);
		return;
	}
	op->path2 = memory_string(target);
	make(op, S_IFLNK | 0777, strlen(target));
}
