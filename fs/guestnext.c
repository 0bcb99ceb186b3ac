/* SPDX-License-Identifier: MIT */
#include "fs/guestnext.h"

#include <fcntl.h>
#include <stdlib.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "fs/guestfile.h"
#include "fs/guestlist.h"

/* So many that followed each other are enough to ask for the next ones. */
#define NEXT_RUN 2u

/* A file that is open for whoever opens it next. */
struct guest_next {
	TAILQ_ENTRY(guest_next) entry;	/* in the order in which they were asked for */
	struct guest_nexts *nexts;
	struct guest_node *node;	/* referenced; it points here */
	struct guest_op *op;		/* that asks for it; NULL: it is here */
	struct guest_moment asked;
	unsigned begun, connection;	/* as of the op */
	struct file_reply reply;
	struct text data;
};

struct guest_nexts {
	uv_timer_t timer;
	TAILQ_HEAD(, guest_next) all;
	unsigned count;
};

/* Makes it empty. */
struct guest_nexts *guest_nexts_new(struct uv_loop_s *loop)
{
	struct guest_nexts *nexts = memory_new(sizeof(*nexts));

	uv_timer_init(loop, &nexts->timer);
	nexts->timer.data = nexts;
	TAILQ_INIT(&nexts->all);
	return nexts;
}

/* libuv is done with it. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Takes it out; what it holds is somebody else's by now. */
static void forget(struct guest_next *next)
{
	struct guest_node *node = next->node;

	TAILQ_REMOVE(&next->nexts->all, next, entry);
	next->nexts->count--;
	node->next = NULL;
	object_unref(&node->object);
	free(next);
}

/* What was asked for came when nobody wanted it any more. */
static void unwanted(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	if (!reply->error && reply->handle)
		guest_queue_close(op->queue, reply->handle);
}

/* Nobody is going to open it. */
static void drop(struct guest_next *next)
{
	struct guest_queue *queue = guestfs_queue(next->node);

	if (next->op)
		next->op->done = unwanted;
	else if (next->connection == queue->connection)
		guest_queue_close(queue, next->reply.handle);
	text_done(&next->data);
	forget(next);
}

/* Drops all. */
void guest_nexts_close(struct guest_nexts *nexts)
{
	while (nexts && !TAILQ_EMPTY(&nexts->all))
		drop(TAILQ_FIRST(&nexts->all));
}

/* Frees it. */
void guest_nexts_free(struct guest_nexts *nexts)
{
	if (!nexts)
		return;
	guest_nexts_close(nexts);
	uv_close((uv_handle_t *)&nexts->timer, timer_closed);
}

/* Drops those that were not wanted in time. */
static void drop_old(uv_timer_t *timer)
{
	struct guest_nexts *nexts = timer->data;
	uint64_t now = uv_hrtime();
	struct guest_next *next;

	while ((next = TAILQ_FIRST(&nexts->all)) && now - next->asked.time >= NEXT_MS * UINT64_C(1000000))
		drop(next);
	if (next)
		uv_timer_start(timer, drop_old, NEXT_MS, 0);
}

/* It came, or did not: then whoever opens it is told why by the guest. */
static void came(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	struct guest_next *next = op->node->next;

	if (reply->error || !reply->handle) {
		forget(next);
		return;
	}
	next->op = NULL;
	next->begun = op->begun;
	next->reply = *reply;
	text_append(&next->data, data, size);
}

/* Asks for one. */
static void ask(struct guest_nexts *nexts, struct guest_node *node, uint32_t max)
{
	struct guest_queue *queue = guestfs_queue(node);
	struct guest_op *op = guest_op_new(queue, NULL, node, FILE_OPEN, unwanted);

	if (guest_op_path(op, NULL) < 0)
		return;
	struct guest_next *next = memory_new(sizeof(*next));
	*next = (struct guest_next){ .nexts = nexts, .node = node, .op = op, .asked = op->asked,
		.connection = queue->connection };
	object_ref(&node->object);
	node->next = next;
	TAILQ_INSERT_TAIL(&nexts->all, next, entry);
	nexts->count++;
	if (!uv_is_active((uv_handle_t *)&nexts->timer))
		uv_timer_start(&nexts->timer, drop_old, NEXT_MS, 0);
	op->message.flags = O_RDONLY;
	op->message.length = max;
	op->done = came;
	guest_op_send(op);
}

/* Asks for those that follow a file in that order, if they are small. */
static void ask_following(struct guest_nexts *nexts, struct guest_node *after, enum guest_order order, uint32_t max)
{
	struct guest_node *parent = after->parent;
	struct guest_cache *cache = &guestfs_queue(after)->cache;
	char name[FILES_NAME_MAX + 1];
	const struct file_entry *entry;

	entry = guest_list_after(cache, parent, after->name, order, name);
	for (unsigned i = 0; entry && i < NEXT_MAX && nexts->count < NEXT_MAX; i++) {
		struct guest_node *node = entry->attr.size <= max ? guest_node_get(parent, name, &entry->attr) : NULL;

		if (node && !node->next && !node->linked && !node->ahead.count)
			ask(nexts, node, max);
		if (node)
			object_unref(&node->object);
		entry = guest_list_after(cache, parent, name, order, name);
	}
}

/* Whether the file is what was expected to be opened next in its directory, in either order. */
void guest_next_ask(struct guest_node *node, uint32_t max)
{
	struct guest_queue *queue = guestfs_queue(node);
	struct guest_node *parent = node->parent;
	char name[FILES_NAME_MAX + 1];

	if (!queue->nexts || !parent || node->detached || queue->mode != GUEST_UP)
		return;
	ino_t number = guest_node_number(parent, node->name);
	for (unsigned order = 0; order < GUEST_ORDERS; order++) {
		struct guest_following *following = &parent->following[order];
		bool there = guest_list_after(&queue->cache, parent, node->name, order, name);

		following->run = following->expected == number ? following->run + 1 : 0;
		following->expected = there ? guest_node_number(parent, name) : 0;
		if (there && following->run >= NEXT_RUN)
			ask_following(queue->nexts, node, order, max);
	}
}

/* Whether it is as the guest would tell it, as far as is known here. */
static bool is_good(const struct guest_next *next)
{
	const struct guest_node *node = next->node;
	const struct guest_queue *queue = guestfs_queue(next->node);

	return queue->mode == GUEST_UP && !node->detached && !node->linked &&
	       node->changed_at <= next->asked.time && guest_cache_fresh(&queue->cache, next->asked);
}

/* Gives it to who opens it. */
bool guest_next_open(struct request *request, struct guest_node *node, guest_done *done)
{
	struct guest_next *next = node->next;

	if (next && !is_good(next))
		drop(next);
	if (!node->next)
		return false;
	struct guest_op *sent = next->op, op = { .queue = guestfs_queue(node), .request = request, .node = node,
		.asked = next->asked, .begun = next->begun };
	struct file_reply reply = next->reply;
	struct text data = next->data;

	forget(next);
	if (sent)
		guest_op_wait(sent, request, done);
	else
		done(&op, &reply, data.data, data.size);
	text_done(&data);
	return true;
}
