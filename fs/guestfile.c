/* SPDX-License-Identifier: MIT */
#include "fs/guestfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/control.h"
#include "fs/guestagain.h"
#include "fs/guestahead.h"
#include "fs/guestfs.h"
#include "fs/guestnext.h"

/* What of open(2)'s flags concerns the guest. */
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC | O_APPEND | O_CREAT | O_EXCL)

/* A file of at most so many bytes may come with its open; all that are kept of one instance. */
#define WHOLE_MAX 65536u
#define WHOLE_ALL (8u * 1048576u)

/* The open file of a handle. */
struct guest_handle *guestfile_of(struct handle *handle)
{
	return container_of(handle, struct guest_handle, handle);
}

/* The node of an open file. */
struct guest_node *guestfile_node(struct handle *handle)
{
	return container_of(handle->object, struct guest_node, object);
}

/* A handle of the node, once the transport gave it a number. */
struct guest_handle *guestfile_new(struct guest_node *node, const struct file_reply *reply,
	int flags)
{
	struct guest_handle *file = memory_new(sizeof(*file));

	file->handle.object = object_ref(&node->object);
	file->handle.flags = file->flags = flags;
	file->id = reply->handle;
	file->connection = guestfs_queue(node)->connection;
	file->told_errors = file->refused = node->behind.errors;
	guest_again_opened(file, &reply->attr);
	LIST_INSERT_HEAD(&node->handles, file, entry);
	handle_opened(&file->handle);
	return file;
}

/* The connection over which it was opened is gone. */
bool guestfile_stale(const struct guest_handle *file)
{
	struct guest_node *node = guestfile_node((struct handle *)&file->handle);

	return file->connection != guestfs_queue(node)->connection;
}

/* Any open file of the node. */
uint64_t guestfile_any(struct guest_node *node, bool writable)
{
	const struct guest_handle *file;

	LIST_FOREACH(file, &node->handles, entry)
		if (file->id && !file->closed && !guestfile_stale(file) &&
			(!writable || (file->flags & O_ACCMODE) != O_RDONLY))
			return file->id;
	return 0;
}

/* That one, also by the name under which it is made. */
struct guest_handle *guestfile_making(struct guest_node *node)
{
	struct guest_handle *file;

	LIST_FOREACH(file, &node->handles, entry)
		if (file->making)
			return file;
	return node->maker ? guestfile_making(node->maker) : NULL;
}

/* This one. */
uint64_t guestfile_id(struct handle *handle)
{
	const struct guest_handle *file = guestfile_of(handle);

	return guestfile_stale(file) ? 0 : file->id;
}

/* A request about an open file. */
struct guest_op *guestfile_start(struct request *request, struct handle *handle, enum file_op what,
	guest_done *done)
{
	struct guest_node *node = guestfile_node(handle);
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, what, done);

	op->handle = guestfile_of(handle);
	op->message.handle = op->handle->id;
	return op;
}

/* Keeps the bytes of a small file that came with its open, as long as there is room for them. */
static void keep_whole(struct guest_handle *file, const struct guest_op *op,
	const struct file_reply *reply, const void *data, size_t size)
{
	if (!size || size != reply->attr.size || op->queue->whole_size + size > WHOLE_ALL)
		return;
	text_append(&file->page, data, size);
	file->asked = op->asked;
	op->queue->whole_size += size;
}

/* They are of no use any more. */
static void drop_whole(struct guest_handle *file)
{
	guestfs_queue(guestfile_node(&file->handle))->whole_size -= file->page.size;
	text_done(&file->page);
}

/* The file was changed from here: what came with its opens is old. */
void guestfile_changed(struct guest_node *node)
{
	struct guest_handle *file;

	LIST_FOREACH(file, &node->handles, entry)
		drop_whole(file);
}

/* Answers a read from the bytes that came with the open, while these are believed. They are read once,
 * then the kernel has them. */
static bool read_whole(struct request *request, struct guest_handle *file, uint64_t offset,
	size_t size)
{
	const struct guest_node *node = guestfile_node(&file->handle);

	if (!file->page.size)
		return false;
	if (node->linked || node->changed_at > file->asked.time || !guest_cache_fresh(&guestfs_queue(guestfile_node(&file->handle))->cache, file->asked)) {
		drop_whole(file);
		return false;
	}
	size_t there = offset < file->page.size ? file->page.size - (size_t)offset : 0;
	request_data(request, there ? file->page.data + offset : NULL, there < size ? there : size);
	if (size >= there)
		drop_whole(file);
	return true;
}

/* The end of open. */
static void opened(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct guest_cache *cache = &op->queue->cache;
	unsigned how;

	if (reply->error || !reply->handle) {
		int error = reply->error ? reply->error : -EIO;
		bool misled = guest_cache_misled(cache, op->node, error);

		request_error(op->request, misled ? -ESTALE : error);
		return;
	}
	struct guest_handle *file = guestfile_new(op->node, reply, (int)op->message.flags);
	keep_whole(file, op, reply, data, size);
	guest_ahead_seen(op, op->node, &reply->attr, false);
	how = guest_cache_opened(cache, op->node, &reply->attr, op->asked);
	if ((op->message.flags & O_ACCMODE) == O_RDONLY)
		how |= REQUEST_NO_FLUSH;
	request_open(op->request, &file->handle, how);
}

/* Opens a file. What a small one holds comes along. */
void guestfs_open(struct request *request, struct object *object, int flags)
{
	struct guest_node *node = container_of(object, struct guest_node, object);
	bool small = !node->belief.seen || node->belief.size <= WHOLE_MAX;
	bool reads = (flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;

	if (!reads || !guest_next_open(request, node, opened)) {
		struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, FILE_OPEN, opened);

		op->message.flags = (uint32_t)(flags & OPEN_FLAGS);
		if (small && op->queue->cache.time && reads)
			op->message.length = WHOLE_MAX;
		if (guest_op_path(op, NULL) < 0)
			return;
		op->handle = guestfile_making(node);
		if (op->handle)
			guest_again_send(op);
		else
			guest_op_send(op);
	}
	if (small && reads)
		guest_next_ask(node, WHOLE_MAX);
}

/* What was answered ahead is made, or not. */
static void made_ahead(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct file_reply made = *reply;

	op->queue->making_count--;
	if (!made.error && !made.handle)
		made.error = -EIO;
	guestfs_made_ahead(guestfile_node(&op->handle->handle), op->node->tree, &made);
	guest_again_made(op->handle, &made);
}

/* Answers a create whose op is ready. */
static void create_ahead(struct guest_op *op)
{
	struct request *request = op->request;
	struct file_reply reply = { .attr = guest_ahead_new(op->node->tree, S_IFREG | op->message.attr.mode, 0) };
	struct entry entry;

	if (!guestfs_enter_ahead(op, &reply.attr, &entry))
		return;
	op->done = made_ahead;
	op->handle = guestfile_new(op->about, &reply, (int)op->message.flags);
	op->handle->making = true;
	op->queue->making_count++;
	request_create(request, &entry, &op->handle->handle, 0);
	guest_op_send(op);
}

/* The attributes of what create and mknod made. false: the request was answered with an error. */
static bool made(struct guest_op *op, const struct file_reply *reply, struct entry *entry)
{
	if (reply->error || !reply->handle) {
		request_error(op->request, reply->error ? reply->error : -EIO);
		return false;
	}
	/* The kernel would refuse what is no file, and tell of no close. */
	if (!S_ISREG(reply->attr.mode))
		request_error(op->request, -EIO);
	else if (guestfs_entry(op, op->node, op->name, &reply->attr, entry))
		return true;
	guest_queue_close(op->queue, reply->handle);
	return false;
}

/* The end of create. */
static void created(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct entry entry;

	if (!made(op, reply, &entry))
		return;
	struct guest_node *node = guest_node_find(op->node, op->name);
	guestfs_learn_login(node->tree, &reply->attr);
	guest_ahead_seen(op, node, &reply->attr, true);
	struct guest_handle *file = guestfile_new(node, reply, (int)op->message.flags);
	request_create(op->request, &entry, &file->handle, 0);
}

/* The end of mknod: nobody opened it. */
static void noded(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	struct entry entry;

	if (!made(op, reply, &entry))
		return;
	guest_queue_close(op->queue, reply->handle);
	request_entry(op->request, &entry);
}

/* Makes a file and opens it. */
static void create(struct request *request, struct object *parent, const char *name, mode_t mode,
	int flags, guest_done *done)
{
	struct guest_node *node = container_of(parent, struct guest_node, object);
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, FILE_OPEN, done);

	if (guest_op_path(op, name) < 0)
		return;
	op->message.flags = (uint32_t)((flags | O_CREAT) & OPEN_FLAGS);
	op->message.attr.valid = FILE_ATTR_MODE;
	op->message.attr.mode = mode & 01777;
	if (done == created && guestfs_may_make(op) && op->queue->making_count < GUEST_MAKING_MAX)
		create_ahead(op);
	else
		guest_op_send(op);
}

/* Creates and opens. */
void guestfs_create(struct request *request, struct object *parent, const char *name, mode_t mode,
	int flags)
{
	create(request, parent, name, mode, flags, created);
}

/* Creates. */
void guestfs_mknod(struct request *request, struct object *parent, const char *name, mode_t mode)
{
	create(request, parent, name, mode, O_WRONLY | O_EXCL, noded);
}

/* The end of a read. */
static void read_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (reply->error || size > op->message.length)
		request_error(op->request, reply->error ? reply->error : -EIO);
	else
		request_data(op->request, data, size);
	guest_again_used(op->handle);
}

/* Whether what the transport read ahead may serve the read: nothing may have changed the file since the
 * last one, as far as that is believed. */
static bool may_be_ahead(struct guest_handle *file)
{
	struct guest_node *node = guestfile_node(&file->handle);
	struct guest_cache *cache = &guestfs_queue(node)->cache;
	bool still = !file->last_read.time || (guest_cache_fresh(cache, file->last_read) &&
						      node->changed_at < file->last_read.time);

	file->last_read = guest_cache_now(cache);
	return still && cache->time && !node->linked && !guestfile_any(node, true) &&
	       !(file->handle.flags & O_DIRECT);
}

/* Reads. */
void guestfs_read(struct request *request, struct handle *handle, uint64_t offset, size_t size)
{
	if (read_whole(request, guestfile_of(handle), offset, size))
		return;
	struct guest_op *op = guestfile_start(request, handle, FILE_READ, read_done);

	op->message.offset = offset;
	op->message.length = size < FILES_DATA_MAX ? (uint32_t)size : FILES_DATA_MAX;
	op->message.flags = may_be_ahead(op->handle) ? FILES_AHEAD : 0;
	guest_again_send(op);
}

/* The end of a copy. */
static void copied(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (reply->error || reply->count > op->message.length)
		request_error(op->request, reply->error ? reply->error : -EIO);
	else
		request_written(op->request, reply->count);
	guest_again_changed(op->node, true);
}

/* Copies a part; the caller asks again for the rest. */
void guestfs_copy(struct request *request, struct handle *from, uint64_t offset, struct handle *to,
	uint64_t to_offset, size_t size)
{
	struct guest_op *op;

	/* By read and write then, which open what is lost again. */
	if (guestfile_stale(guestfile_of(from)) || guestfile_stale(guestfile_of(to)) ||
		guestfile_of(from)->making || guestfile_of(to)->making) {
		request_error(request, -EXDEV);
		return;
	}
	guestfile_changed(guestfile_node(to));
	op = guestfile_start(request, to, FILE_COPY, copied);
	op->message.handle = guestfile_of(from)->id;
	op->message.offset = offset;
	op->message.handle2 = guestfile_of(to)->id;
	op->message.offset2 = to_offset;
	op->message.length = size < FILES_COPY_MAX ? (uint32_t)size : FILES_COPY_MAX;
	guest_again_send(op);
}

/* The last close. */
void guestfs_release(struct handle *handle)
{
	struct guest_handle *file = guestfile_of(handle);

	handle_closed(handle);
	file->closed = true;
	if (!file->making)
		guestfile_end(file);
}

/* Nothing needs it any more. */
void guestfile_end(struct guest_handle *file)
{
	struct handle *handle = &file->handle;

	if (file->id && !guestfile_stale(file))
		guest_queue_close(guestfs_queue(guestfile_node(handle)), file->id);
	guest_again_closed(file);
	LIST_REMOVE(file, entry);
	if (guestfile_node(handle)->type == S_IFREG)
		drop_whole(file);
	text_done(&file->page);
	object_unref(handle->object);
	free(file);
}
