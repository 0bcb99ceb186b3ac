/* SPDX-License-Identifier: MIT */
/*
 * Removing and renaming a guest's files, and hard links to them. Where the pool is eager, they are answered ahead
 * (guestahead.h) when the guest can be expected to do them:
 *
 * - What is removed or renamed is believed to be there, as the kernel has just looked it up; a directory that is
 *   removed or replaced is known to be empty.
 * - The guest has shown that it renames in one step, and that it makes hard links.
 * - Both directories are on one filesystem, as far as can be seen from here: mv copies where they are not.
 * - RENAME_NOREPLACE: the new name is known to be absent from all that is known of its directory. To be
 *   looked up just before is not enough, as that is all that its caller could do by itself.
 *
 * Else they wait for the guest.
 */
#include <errno.h>
#include <stdio.h>

#include "fs/guestahead.h"
#include "fs/guestfile.h"
#include "fs/guestfs.h"
#include "fs/guestlist.h"

/* The node of an object. */
static struct guest_node *node_of(struct object *object)
{
	return container_of(object, struct guest_node, object);
}

/* Whether the node may go, as what is removed or replaced. */
static bool may_go(struct guest_op *op, struct guest_node *node)
{
	return node->type != S_IFDIR || guest_list_empty(&op->queue->cache, node);
}

/* The end of what was answered; guestahead.c has told what failed. */
static void done_ahead(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
}

/* The op is answered ahead by the caller; it takes op->name away, which is node's. */
static void take_name(struct guest_op *op, struct guest_node *node, guest_done *done)
{
	op->request = NULL;
	op->done = done;
	guest_ahead_begin(op, node);
	guest_list_gone(op->node, op->name, op->number);
}

/* The end of unlink and rmdir. */
static void removed(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (!reply->error)
		guest_node_detach(op->node, op->name);
	request_error(op->request, reply->error);
}

/* Answers a removal, if that may be. */
static void remove_ahead(struct guest_op *op)
{
	struct guest_node *node = guest_node_find(op->node, op->name);
	struct request *request = op->request;

	if (!node || !guest_ahead_may(op->queue) || !may_go(op, node) ||
		(node->type == S_IFDIR) != (op->message.op == FILE_RMDIR))
		return;
	take_name(op, node, done_ahead);
	guest_node_detach(op->node, op->name);
	request_error(request, 0);
}

/* Removes a name. */
void guestfs_remove(struct request *request, struct object *parent, const char *name,
	bool directory)
{
	struct guest_op *op = guestfs_start_name(request, parent, name,
		directory ? FILE_RMDIR : FILE_UNLINK, removed);

	if (!op)
		return;
	remove_ahead(op);
	guest_op_send(op);
}

/* The last directory above node, or node itself, that was there before anything was made here. */
static const struct guest_node *old_directory(const struct guest_node *node)
{
	while (node->made_here && node->parent)
		node = node->parent;
	return node;
}

/* The end of a link. */
static void linked(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	struct entry entry;

	if (reply->error) {
		request_error(op->request, reply->error);
		return;
	}
	op->queue->links = true;
	if (guestfs_entry(op, op->other, op->new_name, &reply->attr, &entry))
		request_entry(op->request, &entry);
}

/* The end of a link that was answered: it is there, or is not. */
static void linked_ahead(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	if (reply->error && guest_node_find(op->other, op->new_name) == op->about)
		guest_node_detach(op->other, op->new_name);
}

/* Answers a link, if that may be. false: it was answered with an error, and op is freed. Who asks for the
 * file by its new name waits, as by the old one, until it is made. */
static bool link_ahead(struct guest_op *op)
{
	const struct file_attr *base = guest_ahead_base(op->queue, op->node);
	struct guest_handle *making = guestfile_making(op->node);
	struct request *request = op->request;
	struct entry entry;

	if (!base || !op->queue->links || !guest_ahead_may(op->queue) || op->node->type != S_IFREG ||
		old_directory(op->node->parent) != old_directory(op->other))
		return true;
	struct file_attr attr = *base;
	if (!guestfs_enter_ahead(op, &attr, &entry))
		return false;
	op->done = linked_ahead;
	if (making)
		guest_node_made_as(op->about, guestfile_node(&making->handle));
	request_entry(request, &entry);
	return true;
}

/* Makes a hard link. */
void guestfs_link(struct request *request, struct object *object, struct object *parent,
	const char *name)
{
	struct guest_op *op = guestfs_start(request, node_of(object), FILE_LINK, linked);

	if (op && guest_op_path2(op, node_of(parent), name) == 0 && link_ahead(op))
		guest_op_send(op);
}

/* The end of a rename. */
static void renamed(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (!reply->error) {
		op->queue->renames = reply->count == 1;
		guest_node_move(op->node, op->name, op->other, op->new_name);
	}
	request_error(op->request, reply->error);
}

/* The end of one that was answered. What the guest refused has its old name again, if nobody took that; after a
 * loss it may have either. */
static void renamed_ahead(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	bool refused = reply->error && op->queue->mode == GUEST_UP;

	if (refused && guest_node_find(op->other, op->new_name) == op->about &&
		!guest_node_find(op->node, op->name))
		guest_node_move(op->other, op->new_name, op->node, op->name);
}

/* Whether nothing stands in the way that the guest could have another opinion about. */
static bool may_replace(struct guest_op *op, const struct guest_node *node)
{
	struct guest_node *target = guest_node_find(op->other, op->new_name);
	struct guest_moment asked;
	struct file_attr attr;

	if (target) /* two links to one file: the guest does nothing */
		return target != node && !op->message.flags && may_go(op, target) &&
		       !(target->linked && node->linked);
	return !op->message.flags || guest_list_find(&op->queue->cache, op->other, op->new_name, &attr,
		&asked) == GUEST_ABSENT;
}

/* Answers a renaming, if that may be. */
static void rename_ahead(struct guest_op *op)
{
	struct guest_node *node = guest_node_find(op->node, op->name);
	struct request *request = op->request;

	if (!node || !op->queue->renames || !guest_ahead_may(op->queue) ||
		old_directory(op->node) != old_directory(op->other) || !may_replace(op, node))
		return;
	/* While it is under way, attributes that are too old must not be made up from. */
	node->ahead.known = guest_ahead_base(op->queue, node) != NULL;
	take_name(op, node, renamed_ahead);
	guest_node_move(op->node, op->name, op->other, op->new_name);
	request_error(request, 0);
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
	op = guestfs_start_name(request, parent, name, FILE_RENAME, renamed);
	if (!op || guest_op_path2(op, node_of(new_parent), new_name) < 0)
		return;
	op->message.flags = flags;
	rename_ahead(op);
	guest_op_send(op);
}
