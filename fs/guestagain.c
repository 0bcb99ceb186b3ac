/* SPDX-License-Identifier: MIT */
#include "fs/guestagain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <uv.h>

#include "backends/base/memory.h"

/* An open file that was left alone for so long is looked at. */
#define LOOK_NS 500000000u
#define LOOK_MS (LOOK_NS / 1000000u)

struct guest_looks {
	uv_timer_t timer;
	TAILQ_HEAD(, guest_handle) files;	/* used since the last look at them */
};

/* Numbers of connections from 1 on: 0 is none. */
static unsigned connection_of(struct guest_node *node)
{
	return guestfs_queue(node)->connection + 1;
}

/* Makes the clock. */
struct guest_looks *guest_looks_new(struct uv_loop_s *loop)
{
	struct guest_looks *looks = memory_new(sizeof(*looks));

	uv_timer_init(loop, &looks->timer);
	looks->timer.data = looks;
	TAILQ_INIT(&looks->files);
	return looks;
}

/* libuv is done with it. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Out of the list. */
static void unlist(struct guest_looks *looks, struct guest_handle *file)
{
	TAILQ_REMOVE(&looks->files, file, look);
	file->listed = false;
}

/* Frees it; files that are open still are not looked at any more. */
void guest_looks_free(struct guest_looks *looks)
{
	struct guest_handle *file;

	if (!looks)
		return;
	while ((file = TAILQ_FIRST(&looks->files)))
		unlist(looks, file);
	uv_close((uv_handle_t *)&looks->timer, timer_closed);
}

/* The look's answer. */
static void looked(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	struct guest_handle *file = op->handle;

	if (!file)
		return;
	file->looking = NULL;
	if (reply->error || file->look_changes != op->node->changes)
		return;
	file->seen = reply->attr;
	file->known = true;
}

/* Looks at an open file. */
static void look(struct guest_handle *file)
{
	struct guest_node *node = guestfile_node(&file->handle);
	struct guest_op *op = guest_op_new(guestfs_queue(node), NULL, node, FILE_GETATTR, looked);

	op->handle = file;
	op->message.handle = file->id;
	file->looking = op;
	file->look_changes = node->changes;
	guest_op_send(op);
}

/* Looks at those that were left alone. */
static void look_at_all(uv_timer_t *timer)
{
	struct guest_looks *looks = timer->data;
	struct guest_handle *file;
	uint64_t now = uv_hrtime();

	while ((file = TAILQ_FIRST(&looks->files)) && now - file->used >= LOOK_NS) {
		unlist(looks, file);
		if (!guestfile_stale(file) && !file->looking)
			look(file);
	}
	if (file)
		uv_timer_start(timer, look_at_all, LOOK_MS, 0);
}

/* Used now: to the end of the list. */
void guest_again_used(struct guest_handle *file)
{
	struct guest_looks *looks = guestfs_queue(guestfile_node(&file->handle))->looks;

	if (!looks || guestfile_stale(file))
		return;
	if (file->listed)
		unlist(looks, file);
	if (!uv_is_active((uv_handle_t *)&looks->timer))
		uv_timer_start(&looks->timer, look_at_all, LOOK_MS, 0);
	file->used = uv_hrtime();
	file->listed = true;
	TAILQ_INSERT_TAIL(&looks->files, file, look);
}

/* Opened, for the first time. */
void guest_again_opened(struct guest_handle *file, const struct file_attr *attr)
{
	file->first = connection_of(guestfile_node(&file->handle));
	file->seen = *attr;
	file->known = true;
	TAILQ_INIT(&file->waiting);
}

/* All open files of it are to be looked at. */
void guest_again_changed(struct guest_node *node, bool data)
{
	unsigned connection = connection_of(node);
	struct guest_handle *file;

	if (guestfs_queue(node)->mode != GUEST_UP)
		return;
	node->changes++;
	LIST_FOREACH(file, &node->handles, entry) {
		if (guestfile_stale(file))
			continue;
		file->known = false;
		if (!file->making)
			guest_again_used(file);
	}
	if (!data)
		return;
	if (node->unsynced && node->unsynced != connection)
		node->unsynced_before = node->unsynced;
	node->unsynced = connection;
}

/* Whether what was found by the path is the file that was open. */
static bool is_same(const struct guest_handle *file, const struct file_attr *found)
{
	const struct file_attr *seen = &file->seen;

	return file->known && S_ISREG(found->mode) && found->valid == seen->valid &&
	       found->size == seen->size && found->mtime == seen->mtime && found->uid == seen->uid &&
	       found->gid == seen->gid;
}

/* Whether an error of the new open says that the file is not there, or not for us. */
static bool is_final(int error)
{
	static const int errors[] = { -ESTALE, -ENOENT, -ENOTDIR, -EISDIR, -ELOOP, -ENXIO, -EACCES, -EPERM };

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (error == errors[i])
			return true;
	return false;
}

/* Sends. */
static void send_now(struct guest_op *op)
{
	if (op->message.op == FILE_WRITE || op->message.op == FILE_COPY)
		guest_again_changed(op->node, true);
	guest_op_send(op);
}

/* Lets go on, or fail, who waited. */
static void release_waiting(struct guest_handle *file, int error)
{
	struct guest_op *op;

	while ((op = TAILQ_FIRST(&file->waiting))) {
		TAILQ_REMOVE(&file->waiting, op, entry);
		if (op->message.op != FILE_OPEN)
			op->message.handle = file->id;
		if (error)
			guest_op_fail(op, error);
		else
			send_now(op);
	}
}

/* It was opened again, or not. */
static void opened_again(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct guest_handle *file = op->handle;
	int error = reply->error;

	if (!error && !reply->handle)
		error = -EIO;
	if (!error && (!file || !is_same(file, &reply->attr))) {
		guest_queue_close(op->queue, reply->handle);
		error = -ESTALE;
	}
	if (!file)
		return;
	file->opening = NULL;
	if (is_final(error)) {
		file->stale = true;
		error = -ESTALE;
	}
	if (!error) {
		file->id = reply->handle;
		file->connection = op->queue->connection;
	}
	release_waiting(file, error);
}

/* Opens it again. */
static void open_again(struct guest_handle *file)
{
	struct guest_node *node = guestfile_node(&file->handle);
	struct guest_op *op = guest_op_new(guestfs_queue(node), NULL, node, FILE_OPEN, opened_again);

	op->message.flags = (uint32_t)file->flags & (O_ACCMODE | O_APPEND);
	op->handle = file;
	file->opening = op;
	if (guest_op_path(op, NULL) == 0)
		guest_op_send(op);
}

/* Who waits for that was interrupted. */
static void interrupted(struct request *request, void *data)
{
	struct guest_op *op = data;

	TAILQ_REMOVE(&op->handle->waiting, op, entry);
	guest_op_fail(op, -EINTR);
}

/* Sends, or lets wait. */
void guest_again_send(struct guest_op *op)
{
	struct guest_handle *file = op->handle;

	bool ready = !file->making && !guestfile_stale(file);

	if (file->stale) {
		guest_op_fail(op, -ESTALE);
		return;
	}
	if ((op->queue->mode != GUEST_UP && !file->making) || ready) {
		send_now(op);
		return;
	}
	if (op->request)
		request_wait(op->request, interrupted, op);
	guest_op_keep(op);
	TAILQ_INSERT_TAIL(&file->waiting, op, entry);
	if (!file->opening && !file->making)
		open_again(file);
}

/* A file that was being made is made, or not: what was asked of it goes on, and its last close. */
void guest_again_made(struct guest_handle *file, const struct file_reply *reply)
{
	file->making = false;
	file->stale = reply->error != 0;
	file->id = reply->handle;
	file->seen = reply->attr;
	release_waiting(file, reply->error);
	if (file->closed)
		guestfile_end(file);
}

/* The error of a loss is told once to each who could have written before it. */
int guest_again_sync(struct guest_handle *file)
{
	const struct guest_node *node = guestfile_node(&file->handle);
	bool before = node->unsynced != connection_of(guestfile_node(&file->handle));
	unsigned lost = before ? node->unsynced : node->unsynced_before;

	if (!lost || file->first > lost || file->told)
		return 0;
	file->told = true;
	return -EIO;
}

/* All that was written before is safe. */
void guest_again_synced(struct guest_node *node, unsigned changes)
{
	if (node->unsynced == connection_of(node) && node->changes == changes)
		node->unsynced = 0;
}

/* Nobody waits any more; what is under way by itself hears so. */
void guest_again_closed(struct guest_handle *file)
{
	struct guest_looks *looks = guestfs_queue(guestfile_node(&file->handle))->looks;

	if (file->opening)
		file->opening->handle = NULL;
	if (file->looking)
		file->looking->handle = NULL;
	if (file->listed)
		unlist(looks, file);
}
