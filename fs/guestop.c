/* SPDX-License-Identifier: MIT */
#include "fs/guestop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "fs/guestahead.h"
#include "fs/guestlist.h"
#include "fs/shim.h"

/* More than this at once for one instance: EAGAIN, as a storm of one user must not fill our memory. */
#define OPS_MAX 8192
/* While so many bytes wait for the shim, no more are given to it. */
#define QUEUED_MAX (16u * 1048576u)

/* An empty queue of a booting instance. */
void guest_queue_init(struct guest_queue *queue, struct shim *shim)
{
	*queue = (struct guest_queue){ .mode = GUEST_WAITING, .shim = shim, .next_id = 1 };
	TAILQ_INIT(&queue->sent);
	TAILQ_INIT(&queue->held);
	TAILQ_INIT(&queue->ahead);
}

/* Makes a request. */
struct guest_op *guest_op_new(struct guest_queue *queue, struct request *request,
	struct guest_node *node, enum file_op what, guest_done *done)
{
	struct guest_op *op = memory_new(sizeof(*op));

	op->queue = queue;
	op->request = request;
	op->done = done;
	op->asked = guest_cache_now(&queue->cache);
	op->message.op = what;
	op->node = node;
	if (node)
		object_ref(&node->object);
	return op;
}

/* Frees; it is in no list. */
static void op_free(struct guest_op *op)
{
	if (op->node)
		object_unref(&op->node->object);
	if (op->other)
		object_unref(&op->other->object);
	if (op->about)
		object_unref(&op->about->object);
	free(op->name);
	free(op->new_name);
	free(op->path);
	free(op->path2);
	free(op->data);
	free(op);
}

/* Which operations change what: the name that they have below `node`, below `other`, the node itself. */
static const struct {
	bool name, other, self;
} changes[FILE_OPS] = {
	[FILE_SETATTR] = { .self = true },
	[FILE_SYMLINK] = { .name = true },
	[FILE_LINK] = { .other = true, .self = true },
	[FILE_MKDIR] = { .name = true },
	[FILE_UNLINK] = { .name = true },
	[FILE_RMDIR] = { .name = true },
	[FILE_RENAME] = { .name = true, .other = true },
	[FILE_OPEN] = { .name = true },
	[FILE_WRITE] = { .self = true },
	[FILE_COPY] = { .self = true },
};

/* The node is changed, and so is its directory's entry. */
static void touch(struct guest_node *node, uint64_t number)
{
	node->changed_at = uv_hrtime();
	if (node->parent && !node->detached)
		guest_list_touch(node->parent, node->name, number);
}

/* What the operation changes is not as it was listed: from now on, and again when it ends. */
static void touch_all(const struct guest_op *op)
{
	unsigned what = op->message.op;
	bool truncates = what == FILE_OPEN && op->message.flags & O_TRUNC;

	if (!op->node)
		return;
	if (changes[what].name && op->name) {
		guest_list_touch(op->node, op->name, op->number);
		touch(op->node, op->number);
	}
	if (changes[what].other && op->other) {
		guest_list_touch(op->other, op->new_name, op->number);
		touch(op->other, op->number);
	}
	if (changes[what].self || (truncates && !op->name)) {
		touch(op->node, op->number);
		if (!op->about)
			op->node->ahead.known = false;
	}
}

/* It is about to be sent: attributes that were told before are of no use then. */
static void begin_change(struct guest_op *op)
{
	unsigned what = op->message.op;
	bool reads = what == FILE_READ || what == FILE_OPENDIR || what == FILE_READDIR ||
		(what == FILE_OPEN && op->message.length);
	bool truncates = what == FILE_OPEN && op->message.flags & O_TRUNC;

	if (!op->node)
		return;
	if (changes[what].self || truncates || (changes[what].name && op->name))
		op->node->ahead.begun++;
	if (changes[what].other && op->other)
		op->other->ahead.begun++;
	if (reads)
		op->node->ahead.read = op->id;
	if (reads || what == FILE_SETATTR)
		op->node->ahead.atime_asked = 0;
	op->begun = op->node->ahead.begun;
}

/* Delivers the answer. */
static void finish(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	touch_all(op);
	if (op->about)
		guest_ahead_end(op, reply);
	op->done(op, reply, data, size);
	op_free(op);
}

/* Takes it out of its list. */
static void take_out(struct guest_op *op)
{
	struct guest_queue *queue = op->queue;

	if (op->sent)
		TAILQ_REMOVE(&queue->sent, op, entry);
	else
		TAILQ_REMOVE(&queue->held, op, entry);
	queue->count--;
}

/* Our own error, for an op in no list. */
void guest_op_fail(struct guest_op *op, int error)
{
	struct file_reply reply = { .error = error };

	finish(op, &reply, NULL, 0);
}

/* Fills in a path. */
int guest_op_path(struct guest_op *op, const char *name)
{
	op->path = memory_new(FILES_PATH_MAX + 1);
	op->name = memory_string(name);
	int result = guest_node_path(op->node, name, op->path);
	if (result < 0)
		guest_op_fail(op, result);
	return result;
}

/* Fills in the second path. */
int guest_op_path2(struct guest_op *op, struct guest_node *other, const char *name)
{
	object_ref(&other->object);
	op->other = other;
	op->path2 = memory_new(FILES_PATH_MAX + 1);
	op->new_name = memory_string(name);
	int result = guest_node_path(other, name, op->path2);
	if (result < 0)
		guest_op_fail(op, result);
	return result;
}

/* Gives one to the shim that it does not answer. */
static void send_quiet(struct guest_op *op)
{
	shim_send_late(op->queue->shim, FRAME_FILE, op->id, &op->message, sizeof(op->message));
	op_free(op);
}

/* Has a slot for what is read or written in bulk, if one is free; what is written is copied to it. Its
 * number, or 0. */
static uint32_t lend_slot(struct guest_op *op)
{
	const struct file_request *message = &op->message;
	bool bulk = (message->op == FILE_READ && message->length >= GUEST_SLOT_LEAST) ||
		(message->op == FILE_WRITE && message->data_size >= GUEST_SLOT_LEAST);
	char *memory = bulk ? shim_slots(op->queue->shim) : NULL;
	uint32_t number = memory ? guest_slots_lend(&op->queue->slots, op->id) : 0;

	if (!number)
		return 0;
	op->slot = slots_at(memory, number);
	if (message->data_size)
		memcpy(op->slot, op->data ? op->data : op->borrowed, message->data_size);
	return number;
}

/* Gives one to the shim. */
static void send_now(struct guest_op *op)
{
	struct guest_queue *queue = op->queue;

	if (op->message.op == FILE_CLOSE) {
		send_quiet(op);
		return;
	}

	op->message.path_size = op->path ? (uint32_t)strlen(op->path) : 0;
	op->message.path2_size = op->path2 ? (uint32_t)strlen(op->path2) : 0;
	struct frame_slot slot = { .number = lend_slot(op) };
	struct iovec parts[] = { { &slot, sizeof(slot) },
		{ &op->message, sizeof(op->message) },
		{ op->path, op->message.path_size },
		{ op->path2, op->message.path2_size },
		{ op->data ? op->data : (void *)op->borrowed, op->message.data_size } };
	op->sent = true;
	TAILQ_INSERT_TAIL(&queue->sent, op, entry);
	queue->count++;
	if (slot.number)
		shim_send_parts(queue->shim, FRAME_FILE_SLOT, op->id, parts, 4);
	else
		shim_send_parts(queue->shim, FRAME_FILE, op->id, parts + 1, 4);
	free(op->data);
	op->data = NULL;
}

/* Gives what was held to the shim, as far as it keeps up. */
static void pump(struct guest_queue *queue)
{
	struct guest_op *op;

	while (queue->mode == GUEST_UP && (op = TAILQ_FIRST(&queue->held)) &&
		shim_queued(queue->shim) < QUEUED_MAX) {
		take_out(op);
		send_now(op);
	}
}

/* The caller was interrupted: it gets EINTR at once, the shim hears that nobody waits. */
static void interrupted(struct request *request, void *data)
{
	struct guest_op *op = data;

	take_out(op);
	if (op->sent) {
		guest_slots_cancelled(&op->queue->slots, op->id, op->queue->next_id);
		shim_send(op->queue->shim, FRAME_CANCEL, op->id, NULL, 0);
	}
	guest_op_fail(op, -EINTR);
}

/* Somebody waits for it. */
void guest_op_wait(struct guest_op *op, struct request *request, guest_done *done)
{
	op->request = request;
	op->done = done;
	request_wait(request, interrupted, op);
}

/* Copies what was lent. */
void guest_op_keep(struct guest_op *op)
{
	if (!op->borrowed || op->data)
		return;
	op->data = memory_grow(NULL, op->message.data_size);
	memcpy(op->data, op->borrowed, op->message.data_size);
	op->borrowed = NULL;
}

/* Sends or holds or refuses. */
void guest_op_send(struct guest_op *op)
{
	struct guest_queue *queue = op->queue;
	bool quiet = op->message.op == FILE_CLOSE;

	op->id = queue->next_id++;
	if (queue->mode >= GUEST_DOWN) {
		guest_op_fail(op, queue->mode == GUEST_DOWN ? -EHOSTDOWN : -ENODEV);
		return;
	}
	if (queue->count >= OPS_MAX && !quiet && !op->about) {
		guest_op_fail(op, -EAGAIN);
		return;
	}
	touch_all(op);
	begin_change(op);
	if (op->request)
		request_wait(op->request, interrupted, op);
	TAILQ_INSERT_TAIL(&queue->held, op, entry);
	queue->count++;
	pump(queue);
	if (quiet)
		return; /* and may be gone */
	if (!op->sent)
		guest_op_keep(op);
	op->borrowed = NULL;
}

/* It was never sent. */
static void closed(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
}

/* Closes. Nobody waits for that, so it goes with the next request, unless others wait before it. */
void guest_queue_close(struct guest_queue *queue, uint64_t handle)
{
	struct guest_op *op = guest_op_new(queue, NULL, NULL, FILE_CLOSE, closed);

	if (queue->mode == GUEST_UP)
		guest_slots_rest(&queue->slots, shim_slots(queue->shim), uv_hrtime());
	op->message.handle = handle;
	op->message.flags = FILES_QUIET;
	guest_op_send(op);
}

/* Ends all of a list with an error. */
static void end_all(struct guest_op_list *list, int error)
{
	struct guest_op *op;

	while ((op = TAILQ_FIRST(list))) {
		take_out(op);
		guest_op_fail(op, error);
	}
}

/* Changes the mode. */
void guest_queue_set(struct guest_queue *queue, enum guest_mode mode)
{
	queue->mode = mode;
	if (mode >= GUEST_DOWN) {
		int error = mode == GUEST_DOWN ? -EHOSTDOWN : -ENODEV;

		queue->connection++;
		guest_slots_cancelled(&queue->slots, 0, queue->next_id);
		queue->one_step = queue->renames = queue->links = false;
		end_all(&queue->sent, error);
		end_all(&queue->held, error);
	}
	pump(queue);
}

/* ENOSYS means to the kernel that no file of the mount can do the operation. */
static bool may_be_missing(const struct guest_op *op)
{
	return op->message.op == FILE_FSYNC || op->message.op == FILE_STATFS;
}

/* A reply: of a request that is under way, or one that was interrupted meanwhile, when what it
 * opened is closed again. The kernel takes no error beyond 511. */
int guest_queue_reply(struct guest_queue *queue, uint64_t id, const void *payload, size_t size)
{
	struct file_reply reply;
	struct guest_op *op;

	memcpy(&reply, payload, sizeof(reply));
	if (size > sizeof(reply) + FILES_DATA_MAX || reply.error > 0 || reply.error < -511)
		return -EPROTO;
	TAILQ_FOREACH(op, &queue->sent, entry)
		if (op->id == id)
			break;
	const void *data = (const char *)payload + sizeof(reply);
	size -= sizeof(reply);
	if (op && op->slot && op->message.op == FILE_READ) {
		if (size || reply.count > op->message.length)
			return -EPROTO;
		data = op->slot;
		size = reply.error ? 0 : reply.count;
	}
	if (op) {
		take_out(op);
		if (reply.error == -ENOSYS && !may_be_missing(op))
			reply.error = -EOPNOTSUPP;
		finish(op, &reply, data, size);
	} else if (reply.error == 0 && reply.handle) {
		guest_queue_close(queue, reply.handle);
	}
	guest_slots_answered(&queue->slots, id);
	pump(queue);
	return 0;
}
