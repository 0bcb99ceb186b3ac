/* SPDX-License-Identifier: MIT */
#include "fs/guestahead.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/base/memory.h"
#include "fs/kernel.h"

/* So many may be under way: far fewer than the shim takes requests, and handles. */
#define AHEAD_MAX 1024u

/* Room for one more. */
bool guest_ahead_may(const struct guest_queue *queue)
{
	return queue->eager && queue->mode == GUEST_UP && queue->ahead_count < AHEAD_MAX;
}

/* Enters it. */
void guest_ahead_begin(struct guest_op *op, struct guest_node *about)
{
	struct guest_queue *queue = op->queue;

	object_ref(&about->object);
	op->about = about;
	op->number = ++queue->ahead_last;
	about->ahead.count++;
	queue->ahead_count++;
	TAILQ_INSERT_TAIL(&queue->ahead, op, ahead);
}

/* Which errors only say that the guest did not get it. */
static int true_error(int error)
{
	return error == -EHOSTDOWN || error == -ENODEV || error == -EAGAIN ? -EIO : error;
}

/* Whose errors are the file's own; those of writes guestwrite.c counts. */
static const bool is_of_file[FILE_OPS] = {
	[FILE_SETATTR] = true, [FILE_SYMLINK] = true, [FILE_MKDIR] = true, [FILE_OPEN] = true,
};

/* Remembers an error where it is going to be asked for, and tells the instance. */
static void failed(struct guest_op *op, int error)
{
	struct guest_node *node = op->about;
	char path[FILES_PATH_MAX + 1];

	if (is_of_file[op->message.op]) {
		node->behind.error = error;
		node->behind.errors++;
	}
	if (node->parent)
		node->parent->ahead.error = error;
	if (op->name)
		op->node->ahead.error = error;
	node->ahead.known = false;
	/* Where it is, or was. */
	if (guest_node_path(node->parent ? node->parent : node, node->parent ? node->name : NULL, path) < 0)
		snprintf(path, sizeof(path), "%s", node->name ? node->name : "");
	op->queue->failed(op->queue->data, path, error);
}

/* Ends it. What the guest has made of it is asked for where that is not what was made up. */
void guest_ahead_end(struct guest_op *op, const struct file_reply *reply)
{
	struct guest_queue *queue = op->queue;
	struct guest_ahead *ahead = &op->about->ahead;
	int error = true_error(reply->error);

	TAILQ_REMOVE(&queue->ahead, op, ahead);
	queue->ahead_count--;
	ahead->count--;
	if (!error && op->message.op == FILE_WRITE && reply->count != op->message.data_size)
		error = -EIO;
	if (error)
		failed(op, error);
	else if (reply->attr.valid & FILE_ATTR_MODE)
		guest_ahead_seen(op, op->about, &reply->attr, false);
	else
		ahead->known &= ahead->count || ahead->told_after == ahead->begun;
	if (!ahead->count && ahead->told) {
		ahead->told = false;
		kernel_doubt_attr(object_node(&op->about->object, OBJECT_SELF));
	}
	queue->settled(queue->data);
}

/* Takes attributes, unless newer ones are known. named: of what its name leads to. false: these are not taken. */
static bool take(struct guest_ahead *ahead, const struct file_attr *attr, struct guest_moment asked, bool named)
{
	if (ahead->count || !(attr->valid & FILE_ATTR_MODE) || ahead->asked > asked.time)
		return false;
	ahead->attr = *attr;
	ahead->asked = asked.time;
	ahead->doubts = asked.doubts;
	if (named) {
		ahead->named = asked.time;
		ahead->named_doubts = asked.doubts;
	}
	ahead->told_after = ahead->begun;
	ahead->known = true;
	return true;
}

/* Told. What was changed from here after the question was sent may be in the answer or not. */
void guest_ahead_seen(const struct guest_op *op, struct guest_node *node, const struct file_attr *attr,
	bool made)
{
	struct guest_ahead *ahead = &node->ahead;
	bool last = op->node == node && !op->name ? op->begun == ahead->begun
						  : node->changed_at <= op->asked.time;

	if (!last || !take(ahead, attr, op->asked, !op->message.handle))
		return;
	if (!made || !(attr->valid & FILE_ATTR_TIMES) || ahead->read > op->id)
		return;
	ahead->atime = attr->atime;
	ahead->atime_asked = op->asked.time;
	ahead->atime_doubts = op->asked.doubts;
}

/* Listed. */
void guest_ahead_listed(struct guest_node *node, const struct file_attr *attr, struct guest_moment asked)
{
	if (node->changed_at <= asked.time)
		take(&node->ahead, attr, asked, true);
}

/* As told. Of a file with several names a change by another one goes unnoticed. */
const struct file_attr *guest_ahead_told(const struct guest_queue *queue, const struct guest_node *node,
	struct guest_moment *asked)
{
	const struct guest_ahead *ahead = &node->ahead;
	bool last = ahead->known && ahead->told_after == ahead->begun && !ahead->count;

	*asked = (struct guest_moment){ ahead->asked, ahead->doubts };
	if (!last || node->linked || queue->mode != GUEST_UP)
		return NULL;
	return guest_cache_fresh(&queue->cache, *asked) ? &ahead->attr : NULL;
}

/* By its name. */
const struct file_attr *guest_ahead_named(const struct guest_queue *queue, const struct guest_node *node,
	struct guest_moment *asked)
{
	struct guest_moment named = { node->ahead.named, node->ahead.named_doubts };

	return guest_cache_fresh(&queue->cache, named) ? guest_ahead_told(queue, node, asked) : NULL;
}

/* The last access. */
bool guest_ahead_atime(const struct guest_queue *queue, const struct guest_node *node, int64_t *atime)
{
	const struct guest_ahead *ahead = &node->ahead;
	struct guest_moment asked = { ahead->atime_asked, ahead->atime_doubts };

	if (!asked.time || node->linked || !guest_cache_fresh(&queue->cache, asked))
		return false;
	*atime = ahead->atime;
	return true;
}

/* Made up. */
const struct file_attr *guest_ahead_attr(struct guest_node *node)
{
	struct guest_ahead *ahead = &node->ahead;

	if (!ahead->count || !ahead->known || node->linked)
		return NULL;
	ahead->told = true;
	return &ahead->attr;
}

/* A directory's may be old: nobody goes by its size. */
struct file_attr *guest_ahead_base(const struct guest_queue *queue, struct guest_node *node)
{
	struct guest_ahead *ahead = &node->ahead;
	struct guest_moment asked = { ahead->asked, ahead->doubts };
	bool fresh = ahead->count || node->type == S_IFDIR ||
		guest_cache_fresh(&queue->cache, asked);

	return ahead->known && fresh && !node->linked ? &ahead->attr : NULL;
}

/* Made now. */
struct file_attr guest_ahead_new(const struct guest_tree *tree, uint32_t mode, uint64_t size)
{
	int64_t now = time(NULL);

	return (struct file_attr){ .valid = FILE_ATTR_MODE | FILE_ATTR_SIZE | FILE_ATTR_TIMES |
			(tree->login_known ? FILE_ATTR_OWNER : 0),
		.mode = mode, .size = size, .atime = now, .mtime = now, .uid = tree->login_uid,
		.gid = tree->login_gid };
}

/* Longer, perhaps. */
void guest_ahead_wrote(struct guest_node *node, uint64_t end)
{
	struct file_attr *attr = &node->ahead.attr;

	if (attr->size < end)
		attr->size = end;
	attr->mtime = time(NULL);
}

/* The last. */
uint64_t guest_ahead_newest(const struct guest_queue *queue)
{
	return TAILQ_EMPTY(&queue->ahead) ? 0 : TAILQ_LAST(&queue->ahead, guest_op_list)->number;
}

/* The first. */
uint64_t guest_ahead_oldest(const struct guest_queue *queue)
{
	return TAILQ_EMPTY(&queue->ahead) ? UINT64_MAX : TAILQ_FIRST(&queue->ahead)->number;
}
