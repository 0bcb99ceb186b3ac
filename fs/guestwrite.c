/* SPDX-License-Identifier: MIT */
/*
 * Writing open files of a guest. A write is answered when it is on its way, up to a limit of bytes for a
 * file and for the instance; beyond it, when the guest has it. What was sent before another request
 * is done before it, as the protocol of SFTP demands of a server: a size, a read, a truncation or a
 * renaming finds what was written.
 *
 * What is appended at the guest's end is not answered before: others may append there too, and find
 * it in its place.
 *
 * A write that fails afterwards is an error of the file, which every open file that was there then tells:
 * its next write fails (or ends early, if the kernel made several of one), so does its next fsync, and
 * each close until then, as a child's that has it open too. fsync and close wait until nothing is
 * under way any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/guestagain.h"
#include "fs/guestahead.h"
#include "fs/guestfs.h"

/* Bytes that may be on their way with their writes answered: of one file, of an instance. */
#define BEHIND_FILE (8u * 1048576u)
#define BEHIND_ALL  (12u * 1048576u)
/* And how many writes: far fewer than the shim takes requests, as one that it refuses would be lost. */
#define BEHIND_COUNT 1024u

/* A close or fsync that waits until all is written. */
struct guest_wait {
	TAILQ_ENTRY(guest_wait) entry;
	struct request *request;
	struct guest_node *node;	/* referenced */
	bool sync;			/* an fsync: the error is told with it */
	struct guest_handle *file;	/* lives as long as its request */
};

/* The error of the open file's node, unless that many were told already; or 0. */
static int error_of(struct guest_handle *file, unsigned told)
{
	const struct guest_behind *behind = &guestfile_node(&file->handle)->behind;

	return told == behind->errors ? 0 : behind->error;
}

/* A write fails with it, once. */
static int refuse(struct guest_handle *file)
{
	int error = error_of(file, file->refused);

	file->refused = guestfile_node(&file->handle)->behind.errors;
	return error;
}

/* An fsync tells it: then no other call needs to. */
static int tell(struct guest_handle *file)
{
	int error = error_of(file, file->told_errors);

	file->refused = file->told_errors = guestfile_node(&file->handle)->behind.errors;
	return error;
}

/* Takes a wait off the list and frees it. */
static void wait_free(struct guest_wait *wait)
{
	TAILQ_REMOVE(&wait->node->behind.waiting, wait, entry);
	object_unref(&wait->node->object);
	free(wait);
}

/* The caller was interrupted. */
static void wait_interrupted(struct request *request, void *data)
{
	wait_free(data);
	request_error(request, -EINTR);
}

/* Nothing is under way any more: the answer to a close or fsync. */
static int outcome(struct guest_handle *file, bool sync)
{
	return sync ? tell(file) : error_of(file, file->told_errors);
}

/* Answers when nothing is under way any more, with the file's error if there is one. */
static void answer_when_written(struct request *request, struct guest_handle *file, bool sync)
{
	struct guest_node *node = guestfile_node(&file->handle);

	if (node->behind.count == 0) {
		request_error(request, outcome(file, sync));
		return;
	}
	struct guest_wait *wait = memory_new(sizeof(*wait));
	*wait = (struct guest_wait){ .request = request, .node = node, .sync = sync, .file = file };
	object_ref(&node->object);
	TAILQ_INSERT_TAIL(&node->behind.waiting, wait, entry);
	request_wait(request, wait_interrupted, wait);
}

/* All is written: answers those that waited for it. */
static void written(struct guest_node *node)
{
	struct guest_wait *wait;

	while (node->behind.count == 0 && (wait = TAILQ_FIRST(&node->behind.waiting))) {
		struct request *request = wait->request;
		int error = outcome(wait->file, wait->sync);

		wait_free(wait);
		request_error(request, error);
	}
}

/* The end of a write that was answered before. What is lost with the connection is an error of the
 * file's like another. */
static void behind_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct guest_behind *behind = &op->node->behind;
	int error = reply->error;

	if (!error && reply->count != op->message.data_size)
		error = -EIO;
	if (error == -EHOSTDOWN || error == -ENODEV || error == -EAGAIN)
		error = -EIO;
	behind->count--;
	behind->bytes -= op->message.data_size;
	op->queue->behind_bytes -= op->message.data_size;
	op->queue->behind_count--;
	if (error) {
		behind->error = error;
		behind->errors++;
	}
	written(op->node);
}

/* The end of a write that waited. */
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
 * that the guest's file has by then. The kernel also writes pages of shared memory through any open file:
 * they have their place, but then some other one is open to read and write. Such writes come without the
 * flags of an open file.
 */
static struct guest_handle *writer_of(struct guest_handle *file)
{
	struct guest_handle *other;
	bool pages = (file->handle.flags & O_ACCMODE) == O_RDONLY;

	if (pages && (file->flags & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND))
		LIST_FOREACH(other, &guestfile_node(&file->handle)->handles, entry)
			if ((other->flags & O_ACCMODE) == O_RDWR && !guestfile_stale(other))
				return other;
	return file;
}

/* Whether a write may be answered before the guest has it. */
static bool may_be_behind(struct guest_handle *file, struct guest_handle *writer,
	const struct guest_queue *queue, size_t size)
{
	bool append = (writer->flags & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND);

	return queue->mode == GUEST_UP && !guestfile_stale(writer) && !append &&
		!(file->handle.flags & (O_SYNC | O_DSYNC | O_DIRECT)) &&
		guestfile_node(&file->handle)->behind.bytes + size <= BEHIND_FILE &&
		queue->behind_bytes + size <= BEHIND_ALL && queue->behind_count < BEHIND_COUNT;
}

/* Answers a write; its end is going to be an event of the node, not of the open file. */
static void answer_ahead(struct guest_op *op)
{
	struct request *request = op->request;
	size_t size = op->message.data_size;

	op->request = NULL;
	op->done = behind_done;
	op->handle = NULL;
	op->node->behind.count++;
	op->node->behind.bytes += size;
	op->queue->behind_bytes += size;
	op->queue->behind_count++;
	if (op->queue->eager) {
		guest_ahead_begin(op, op->node);
		guest_ahead_wrote(op->node, op->message.offset + size);
	}
	request_written(request, size);
}

/* Writes. */
void guestfs_write(struct request *request, struct handle *handle, const void *data, size_t size,
	uint64_t offset)
{
	struct guest_handle *file = guestfile_of(handle), *writer = writer_of(file);
	struct guest_node *node = guestfile_node(handle);
	int error = refuse(file);

	if (error) {
		request_error(request, error);
		return;
	}
	guestfile_changed(node);
	struct guest_op *op = guestfile_start(request, &writer->handle, FILE_WRITE, write_done);

	op->message.offset = offset;
	op->message.data_size = size < FILES_DATA_MAX ? (uint32_t)size : FILES_DATA_MAX;
	op->borrowed = data;
	if (!may_be_behind(file, writer, op->queue, op->message.data_size)) {
		guest_again_send(op);
		return;
	}
	/* The data are the kernel's request, which libfuse keeps until we return. */
	answer_ahead(op);
	if (writer->making) {
		op->handle = writer;
		guest_again_send(op);
		return;
	}
	guest_again_changed(node, true);
	guest_op_send(op);
}

/* What was written has been brought to the machine, or not. */
static void flushed(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	if (reply->error || !op->handle)
		request_error(op->request, reply->error);
	else
		answer_when_written(op->request, op->handle, false);
}

/* A close by one of those who have the file open. */
void guestfs_flush(struct request *request, struct handle *handle)
{
	struct guest_handle *file = guestfile_of(handle);

	if (guestfs_queue(guestfile_node(handle))->flushes && !guestfile_stale(file)) {
		struct guest_op *op = guestfile_start(request, handle, FILE_FSYNC, flushed);

		op->message.flags = FILES_FLUSH;
		guest_again_send(op);
		return;
	}
	if (guestfs_queue(guestfile_node(handle))->eager)
		request_error(request, error_of(file, file->told_errors));
	else
		answer_when_written(request, file, false);
}

/* The end of an fsync. A server that cannot do it is no error of the writer's. */
static void fsync_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	int error = reply->error == -ENOSYS ? 0 : reply->error;

	if (!reply->error && op->handle)
		guest_again_synced(op->node, (unsigned)op->message.offset);
	if (error && op->handle)
		tell(op->handle);
	if (error || !op->handle)
		request_error(op->request, error);
	else
		answer_when_written(op->request, op->handle, true);
}

/* What failed in a directory is told once. */
static void sync_told(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	int error = reply->error == -ENOSYS ? 0 : reply->error;

	if (op->node->ahead.error)
		error = op->node->ahead.error;
	op->node->ahead.error = 0;
	request_error(op->request, error);
}

/* A directory is synced. Where the server cannot do it, its answer did not wait for what was sent before: that of
 * another request does. */
static void directory_synced(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	if (reply->error != -ENOSYS || !op->queue->eager) {
		sync_told(op, reply, data, size);
		return;
	}
	struct guest_op *fence = guestfs_start(op->request, op->node, FILE_GETATTR, sync_told);
	if (fence)
		guest_op_send(fence);
}

/* Syncs a directory, by its path; nothing is left to do for one that was removed. */
static void sync_directory(struct request *request, struct guest_node *node)
{
	if (node->detached) {
		request_error(request, 0);
		return;
	}
	struct guest_op *op = guestfs_start(request, node, FILE_FSYNC, directory_synced);
	if (op)
		guest_op_send(op);
}

/* Syncs. What was written goes before it. */
void guestfs_fsync(struct request *request, struct handle *handle)
{
	struct guest_node *node = guestfile_node(handle);
	int error = node->type == S_IFDIR ? 0 : guest_again_sync(guestfile_of(handle));

	if (!error && node->type == S_IFREG && guestfs_queue(node)->eager)
		error = error_of(guestfile_of(handle), guestfile_of(handle)->told_errors);
	if (error) {
		tell(guestfile_of(handle));
		request_error(request, error);
	} else if (node->type == S_IFDIR) {
		sync_directory(request, node);
	} else {
		struct guest_op *op = guestfile_start(request, handle, FILE_FSYNC, fsync_done);

		op->message.offset = node->changes;
		guest_again_send(op);
	}
}

