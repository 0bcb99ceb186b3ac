/* SPDX-License-Identifier: MIT */
#include "fs/guestfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/control.h"
#include "fs/guestagain.h"
#include "fs/guestfs.h"

/* The first offset of an entry of the guest. */
#define FIRST_OFFSET 2u

/* A directory with more entries than this is cut: the guest may list for ever. */
#define ENTRIES_MAX 4000000u

/* What of open(2)'s flags concerns the guest. */
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC | O_APPEND | O_CREAT | O_EXCL)

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
static struct guest_handle *file_new(struct guest_node *node, const struct file_reply *reply, int flags)
{
	struct guest_handle *file = memory_new(sizeof(*file));

	file->handle.object = object_ref(&node->object);
	file->handle.flags = file->flags = flags;
	file->id = reply->handle;
	file->connection = guestfs_queue(node)->connection;
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
		if (!guestfile_stale(file) && (!writable || (file->flags & O_ACCMODE) != O_RDONLY))
			return file->id;
	return 0;
}

/* This one. */
uint64_t guestfile_id(struct handle *handle)
{
	const struct guest_handle *file = guestfile_of(handle);

	return guestfile_stale(file) ? 0 : file->id;
}

/* A request about an open file. */
static struct guest_op *start(struct request *request, struct handle *handle, enum file_op what,
	guest_done *done)
{
	struct guest_node *node = guestfile_node(handle);
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, what, done);

	op->handle = guestfile_of(handle);
	op->message.handle = op->handle->id;
	return op;
}

/* The end of open and opendir. */
static void opened(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct guest_cache *cache = &op->queue->cache;
	unsigned how = 0;

	if (reply->error || !reply->handle) {
		int error = reply->error ? reply->error : -EIO;
		bool misled = guest_cache_misled(cache, op->node, error);

		request_error(op->request, misled ? -ESTALE : error);
		return;
	}
	struct guest_handle *file = file_new(op->node, reply, (int)op->message.flags);
	if (op->message.op == FILE_OPEN)
		how = guest_cache_opened(cache, op->node, &reply->attr, op->asked);
	request_open(op->request, &file->handle, how);
}

/* Opens a file or a directory. */
static void open_node(struct request *request, struct object *object, enum file_op what, int flags)
{
	struct guest_node *node = container_of(object, struct guest_node, object);
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, what, opened);

	op->message.flags = (uint32_t)(flags & OPEN_FLAGS);
	if (guest_op_path(op, NULL) == 0)
		guest_op_send(op);
}

/* Opens a file. */
void guestfs_open(struct request *request, struct object *object, int flags)
{
	open_node(request, object, FILE_OPEN, flags);
}

/* Opens a directory. */
void guestfs_opendir(struct request *request, struct object *object)
{
	open_node(request, object, FILE_OPENDIR, 0);
}

/* The attributes of what create and mknod made. false: the request was answered with an error. */
static bool made(struct guest_op *op, const struct file_reply *reply, struct entry *entry)
{
	if (reply->error || !reply->handle) {
		request_error(op->request, reply->error ? reply->error : -EIO);
		return false;
	}
	if (guestfs_entry(op, op->node, op->name, &reply->attr, entry))
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
	struct guest_handle *file = file_new(node, reply, (int)op->message.flags);
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

/* Reads. */
void guestfs_read(struct request *request, struct handle *handle, uint64_t offset, size_t size)
{
	struct guest_op *op = start(request, handle, FILE_READ, read_done);

	op->message.offset = offset;
	op->message.length = size < FILES_DATA_MAX ? (uint32_t)size : FILES_DATA_MAX;
	guest_again_send(op);
}

/* The end of a write. */
static void write_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (reply->error || reply->count > op->message.data_size)
		request_error(op->request, reply->error ? reply->error : -EIO);
	else
		request_written(op->request, reply->count);
	guest_again_changed(op->node, true);
}

/*
 * The open file to write through. What is opened to append and not to read is written at the end
 * that the guest's file has by then. The kernel also writes shared memory through any open file:
 * that has its place, but then some other one is open to read and write.
 */
static struct guest_handle *writer_of(struct guest_handle *file)
{
	struct guest_handle *other;

	if ((file->flags & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND))
		LIST_FOREACH(other, &guestfile_node(&file->handle)->handles, entry)
			if ((other->flags & O_ACCMODE) == O_RDWR && !guestfile_stale(other))
				return other;
	return file;
}

/* Writes. */
void guestfs_write(struct request *request, struct handle *handle, const void *data, size_t size,
	uint64_t offset)
{
	struct handle *writer = &writer_of(guestfile_of(handle))->handle;
	struct guest_op *op = start(request, writer, FILE_WRITE, write_done);

	op->message.offset = offset;
	op->message.data_size = size < FILES_DATA_MAX ? (uint32_t)size : FILES_DATA_MAX;
	op->data = memory_grow(NULL, op->message.data_size);
	memcpy(op->data, data, op->message.data_size);
	guest_again_send(op);
}

/* Every write was answered when the server had it: nothing is left to report at a close. */
void guestfs_flush(struct request *request, struct handle *handle)
{
	request_error(request, 0);
}

/* The end of an fsync. A server that cannot do it is no error of the writer's. */
static void fsync_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (!reply->error && op->handle)
		guest_again_synced(op->node, (unsigned)op->message.offset);
	request_error(op->request, reply->error == -ENOSYS ? 0 : reply->error);
}

/* Syncs a directory, by its path; nothing is left to do for one that was removed. */
static void sync_directory(struct request *request, struct guest_node *node)
{
	if (node->detached) {
		request_error(request, 0);
		return;
	}
	struct guest_op *op = guestfs_start(request, node, FILE_FSYNC, fsync_done);
	if (op)
		guest_op_send(op);
}

/* Syncs. */
void guestfs_fsync(struct request *request, struct handle *handle)
{
	struct guest_node *node = guestfile_node(handle);
	int error = node->type == S_IFDIR ? 0 : guest_again_sync(guestfile_of(handle));

	if (error) {
		request_error(request, error);
	} else if (node->type == S_IFDIR) {
		sync_directory(request, node);
	} else {
		struct guest_op *op = start(request, handle, FILE_FSYNC, fsync_done);

		op->message.offset = node->changes;
		guest_again_send(op);
	}
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
	if (guestfile_stale(guestfile_of(from)) || guestfile_stale(guestfile_of(to))) {
		request_error(request, -EXDEV);
		return;
	}
	op = start(request, to, FILE_COPY, copied);
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

	if (!guestfile_stale(file))
		guest_queue_close(guestfs_queue(guestfile_node(handle)), file->id);
	guest_again_closed(file);
	LIST_REMOVE(file, entry);
	handle_closed(handle);
	text_done(&file->page);
	object_unref(handle->object);
	free(file);
}

/* Counts a page's entries, and so checks it. Below 0: it is malformed. */
static int count_entries(const void *data, size_t size)
{
	const struct file_entry *entry;
	const char *name;
	size_t position = 0;
	int count = 0, result;

	while ((result = files_entry_next(data, size, &position, &entry, &name)) == 1)
		count++;
	return result < 0 ? result : count;
}

/* Answers with the page's entries from offset on. */
static void answer_page(struct request *request, struct guest_handle *file, uint64_t offset)
{
	struct guest_node *node = guestfile_node(&file->handle);
	const struct file_entry *found;
	const char *raw;
	char name[FILES_NAME_MAX + 1];
	size_t position = 0;
	struct entry entry;

	for (uint64_t at = file->first_entry; at < file->first_entry + file->count; at++) {
		files_entry_next(file->page.data, file->page.size, &position, &found, &raw);
		if (at < offset)
			continue;
		memcpy(name, raw, found->name_size);
		name[found->name_size] = '\0';
		guestfs_listed(node, name, &found->attr,
			request_dir_counts(request) ? &file->asked : NULL, &entry);
		if (!request_dir_add(request, name, &entry, at + 1)) {
			guestfs_unlisted(entry.node);
			break;
		}
	}
	request_dir_done(request);
}

/* The end of a readdir: the next page, from which the request goes on. */
static void page_read(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct guest_handle *file = op->handle;
	int count = reply->error ? reply->error : count_entries(data, size);

	/* The page may have been on its way when the caller was interrupted. */
	file->lost |= reply->error == -EINTR;
	if (count < 0) {
		request_error(op->request, count == -EPROTO ? -EIO : count);
		return;
	}
	text_consume(&file->page, file->page.size);
	text_append(&file->page, data, size);
	file->asked = op->asked;
	file->first_entry += file->count;
	file->count = (uint64_t)count;
	file->at_end = count == 0 || file->first_entry + file->count >= ENTRIES_MAX;
	guestfs_readdir(op->request, &file->handle, op->message.offset);
}

/* The transport opened the directory anew. */
static void reopened(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct guest_handle *file = op->handle;

	if (reply->error || !reply->handle) {
		request_error(op->request, reply->error ? reply->error : -EIO);
		return;
	}
	if (!guestfile_stale(file))
		guest_queue_close(op->queue, file->id);
	file->id = reply->handle;
	file->connection = op->queue->connection;
	file->first_entry = file->count = 0;
	file->at_end = file->lost = false;
	guestfs_readdir(op->request, &file->handle, op->message.offset);
}

/* "." and "..", as every directory begins. */
static void answer_dots(struct request *request, struct guest_node *node, uint64_t offset)
{
	struct entry self = { .attr = { .st_mode = S_IFDIR, .st_ino = node->ino } };
	struct entry up = self;

	up.attr.st_ino = node->parent ? node->parent->ino : node->ino;
	if (offset == 0 && !request_dir_add(request, ".", &self, 1))
		offset = FIRST_OFFSET;
	if (offset <= 1)
		request_dir_add(request, "..", &up, FIRST_OFFSET);
	request_dir_done(request);
}

/* Opens the directory anew, to list it from its beginning up to where the request goes on. */
static void reopen(struct request *request, struct guest_handle *file, uint64_t offset)
{
	struct guest_node *node = guestfile_node(&file->handle);
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, FILE_OPENDIR, reopened);

	op->message.offset = offset;
	op->handle = file;
	if (guest_op_path(op, NULL) == 0)
		guest_op_send(op);
}

/* Lists: from the page at hand, or from the next one. A rewinddir(3) must see new names, a seekdir(3)
 * back may want a page that is gone, and a lost connection took the open directory with it. */
void guestfs_readdir(struct request *request, struct handle *handle, uint64_t offset)
{
	struct guest_handle *file = guestfile_of(handle);
	struct guest_op *op;

	if (file->first_entry == 0)
		file->first_entry = FIRST_OFFSET;
	bool back = offset < FIRST_OFFSET ? file->first_entry + file->count > FIRST_OFFSET
					  : offset < file->first_entry;
	if (back || file->lost || guestfile_stale(file)) {
		reopen(request, file, offset);
	} else if (offset < FIRST_OFFSET) {
		answer_dots(request, guestfile_node(handle), offset);
	} else if (offset < file->first_entry + file->count) {
		answer_page(request, file, offset);
	} else if (file->at_end) {
		request_dir_done(request);
	} else {
		op = start(request, handle, FILE_READDIR, page_read);
		op->message.offset = offset;
		guest_again_send(op);
	}
}
