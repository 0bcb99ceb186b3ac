/* SPDX-License-Identifier: MIT */
/*
 * Open directories of a guest. The kernel lists with offsets: 0 and 1 are "." and "..", the
 * guest's entries follow. An open directory keeps one page of them; a small directory is one page,
 * which comes with the open, and then the transport has nothing open. What came is kept for
 * look-ups, and for those who open it next (guestlist.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control.h"
#include "fs/guestagain.h"
#include "fs/guestahead.h"
#include "fs/guestfs.h"
#include "fs/guestlist.h"
#include "fs/guestwalk.h"

/* The first offset of an entry of the guest. */
#define FIRST_OFFSET 2u

/* A directory with more entries than this is cut: the guest may list for ever. */
#define ENTRIES_MAX 4000000u

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

/* Takes the next page, of that many entries. whole: there is no other one. */
static void take_page(struct guest_handle *file, const void *data, size_t size, int count, bool whole)
{
	text_consume(&file->page, file->page.size);
	text_append(&file->page, data, size);
	file->first_entry += file->count;
	file->count = (uint64_t)count;
	file->at = file->position = 0;
	file->at_end = whole || count == 0 || file->first_entry + file->count >= ENTRIES_MAX;
}

/* Begins the listing anew, with an answer to OPENDIR. 0, or a negative errno: the page is malformed. */
static int begin(struct guest_handle *file, const struct guest_op *op, const struct file_reply *reply,
	const void *data, size_t size)
{
	int count = count_entries(data, size);

	if (count < 0) {
		if (reply->handle)
			guest_queue_close(op->queue, reply->handle);
		file->id = 0;
		return -EIO;
	}
	file->id = reply->handle;
	file->connection = op->queue->connection;
	file->asked = op->asked;
	file->first_entry = FIRST_OFFSET;
	file->count = 0;
	file->lost = false;
	take_page(file, data, size, count, !reply->handle);
	file->at_end = !reply->handle;
	return 0;
}

/* An open(2) that waits for a listing which was asked for before it. */
struct guest_opening {
	TAILQ_ENTRY(guest_opening) entry;
	struct request *request;
	struct guest_node *node;	/* referenced */
};

/* Takes it off the list. */
static void opening_free(struct guest_opening *opening)
{
	TAILQ_REMOVE(&opening->node->openings, opening, entry);
	object_unref(&opening->node->object);
	free(opening);
}

/* The caller was interrupted. */
static void opening_interrupted(struct request *request, void *data)
{
	opening_free(data);
	request_error(request, -EINTR);
}

/* Lets the request wait. */
static void opening_new(struct request *request, struct guest_node *node)
{
	struct guest_opening *opening = memory_new(sizeof(*opening));

	opening->request = request;
	opening->node = node;
	object_ref(&node->object);
	TAILQ_INSERT_TAIL(&node->openings, opening, entry);
	request_wait(request, opening_interrupted, opening);
}

static void open_now(struct request *request, struct guest_node *node);

/* The directory's listing came, or did not: who waits for it goes on. */
static void open_waiting(struct guest_node *node)
{
	struct guest_opening *opening, *last = TAILQ_LAST(&node->openings, guest_openings);

	while ((opening = TAILQ_FIRST(&node->openings))) {
		bool end = opening == last;
		struct request *request = opening->request;

		opening_free(opening);
		open_now(request, node);
		if (end)
			break;
	}
}

/* What an answer to OPENDIR says about the whole directory is kept. */
static void keep(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	bool whole = !reply->error && !reply->handle && count_entries(data, size) >= 0;

	if (!op->list)
		return;
	if (!reply->error && reply->handle)
		guest_list_too_large(op->node);
	guest_list_came(&op->queue->cache, op->node, whole ? data : NULL, size);
	open_waiting(op->node);
}

/* The end of opendir. */
static void opened(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	keep(op, reply, data, size);
	if (reply->error) {
		bool misled = guest_cache_misled(&op->queue->cache, op->node, reply->error);

		request_error(op->request, misled ? -ESTALE : reply->error);
		return;
	}
	struct guest_handle *file = guestfile_new(op->node, reply, 0);
	if (begin(file, op, reply, data, size) < 0) {
		file->lost = true;
		file->first_entry = FIRST_OFFSET;
	}
	request_open(op->request, &file->handle, 0);
}

/* Asks for a directory with its first page. NULL: it was answered already. */
static struct guest_op *ask(struct request *request, struct guest_node *node, guest_done *done)
{
	struct guest_op *op = guest_op_new(guestfs_queue(node), request, node, FILE_OPENDIR, done);

	if (guest_op_path(op, NULL) < 0)
		return NULL;
	op->message.flags = FILES_LIST;
	op->list = guest_list_ask(node, op->asked);
	return op;
}

/* Opens the directory with what is known of it. false: the guest has to be asked. */
static bool open_known(struct request *request, struct guest_node *node)
{
	struct guest_queue *queue = guestfs_queue(node);
	struct guest_op op = { .queue = queue };
	struct file_reply reply = { 0 };

	if (node->detached || queue->mode != GUEST_UP)
		return false;
	const struct text *list = guest_list_whole(&queue->cache, node, &op.asked);
	if (!list)
		return false;
	struct guest_handle *file = guestfile_new(node, &reply, 0);
	begin(file, &op, &reply, list->data, list->size);
	request_open(request, &file->handle, 0);
	return true;
}

/* Opens a directory, with what is known, or is going to be when what was asked for comes. */
static void open_now(struct request *request, struct guest_node *node)
{
	struct guest_op *op;

	if (open_known(request, node))
		return;
	if (!node->detached && guest_list_is_coming(&guestfs_queue(node)->cache, node))
		opening_new(request, node);
	else if ((op = ask(request, node, opened)))
		guest_op_send(op);
}

/* Opens a directory. */
void guestfs_opendir(struct request *request, struct object *object)
{
	struct guest_node *node = container_of(object, struct guest_node, object);

	open_now(request, node);
	guest_walk_opened(node);
}

/* The whole directory came, for look-ups. One that is too large is closed again. */
static void known(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	keep(op, reply, data, size);
	if (!reply->error && reply->handle)
		guest_queue_close(op->queue, reply->handle);
}

/* The same, for who goes through a tree. */
static void known_ahead(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	guest_walk_came(op->node);
	known(op, reply, data, size);
}

/* Asks for all names. */
static void learn(struct guest_node *node, guest_done *done)
{
	struct guest_op *op = ask(NULL, node, done);

	if (op)
		guest_op_send(op);
}

/* Asks for all names of a directory, for later. */
void guestdir_learn(struct guest_node *node)
{
	learn(node, known);
}

/* For who goes through a tree. */
void guestdir_learn_ahead(struct guest_node *node)
{
	learn(node, known_ahead);
}

/* An entry as the kernel gets it. In the place of attributes that are older than what it has seen, or may be, come
 * those that were told last, or none: then it is a name alone. */
static void list_entry(const struct guest_handle *file, struct guest_node *node, const char *name,
	const struct file_attr *attr, bool counts, struct entry *entry)
{
	struct guest_node *child = counts ? guest_node_find(node, name) : NULL;
	struct guest_moment asked = file->asked;

	if (child && (child->ahead.count || child->linked || child->belief.asked > asked.time ||
			     child->changed_at > asked.time)) {
		const struct file_attr *told = guest_ahead_told(guestfs_queue(node), child, &asked);

		counts = told && (told->mode & S_IFMT) == child->type;
		attr = counts ? told : attr;
	}
	if (!counts || !(attr->valid & FILE_ATTR_MODE) || !(child = guest_node_take(node, name, attr, child))) {
		guestfs_named(node, name, attr, entry);
		return;
	}
	guestfs_listed(child, attr, asked, entry);
	object_unref(&child->object);
}

/* Adds "." and "..", as every directory begins. false: they did not fit. */
static bool add_dots(struct request *request, struct guest_node *node, uint64_t offset)
{
	struct entry self = { .attr = { .st_mode = S_IFDIR, .st_ino = node->ino } };
	struct entry up = self;

	up.attr.st_ino = node->parent ? node->parent->ino : node->ino;
	if (offset == 0 && !request_dir_add(request, ".", &self, 1))
		return false;
	return request_dir_add(request, "..", &up, FIRST_OFFSET);
}

/* Adds the page's entries from offset on, and answers. */
static void answer_page(struct request *request, struct guest_handle *file, uint64_t offset)
{
	struct guest_node *node = guestfile_node(&file->handle);
	const struct file_entry *found;
	const char *raw;
	char name[FILES_NAME_MAX + 1];
	struct entry entry;
	bool counts = request_dir_counts(request);

	if (file->first_entry + file->at > offset)
		file->at = file->position = 0;
	while (file->at < file->count) {
		size_t position = file->position;

		files_entry_next(file->page.data, file->page.size, &position, &found, &raw);
		if (file->first_entry + file->at >= offset) {
			memcpy(name, raw, found->name_size);
			name[found->name_size] = '\0';
			list_entry(file, node, name, &found->attr, counts, &entry);
			if (!request_dir_add(request, name, &entry, file->first_entry + file->at + 1)) {
				guestfs_unlisted(entry.node);
				break;
			}
		}
		file->position = position;
		file->at++;
	}
	request_dir_done(request);
	if (counts)
		guest_walk_listed(node);
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
	file->asked = op->asked;
	take_page(file, data, size, count, false);
	guestfs_readdir(op->request, &file->handle, op->message.offset);
}

/* The transport opened the directory anew. */
static void reopened(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size)
{
	struct guest_handle *file = op->handle;
	uint64_t old = guestfile_stale(file) ? 0 : file->id;

	keep(op, reply, data, size);
	if (!reply->error && old) {
		guest_queue_close(op->queue, old);
		file->id = 0;
	}
	int result = reply->error ? reply->error : begin(file, op, reply, data, size);
	if (result < 0)
		request_error(op->request, result);
	else
		guestfs_readdir(op->request, &file->handle, op->message.offset);
}

/* Opens the directory anew, to list it from its beginning up to where the request goes on. */
static void reopen(struct request *request, struct guest_handle *file, uint64_t offset)
{
	struct guest_op *op = ask(request, guestfile_node(&file->handle), reopened);

	if (!op)
		return;
	op->message.offset = offset;
	op->handle = file;
	guest_op_send(op);
}

/* Lists: from the page at hand, or from the next one. A rewinddir(3) must see new names, a seekdir(3)
 * back may want a page that is gone, and a lost connection took the open directory with it. */
void guestfs_readdir(struct request *request, struct handle *handle, uint64_t offset)
{
	struct guest_handle *file = guestfile_of(handle);
	bool dots = offset < FIRST_OFFSET;
	uint64_t from = dots ? FIRST_OFFSET : offset, end = file->first_entry + file->count;
	bool here = from >= file->first_entry && (from < end || file->at_end);

	if ((dots && file->begun) || from < file->first_entry || file->lost ||
		(!here && guestfile_stale(file))) {
		file->begun = false;
		reopen(request, file, offset);
	} else if (dots && !add_dots(request, guestfile_node(handle), offset)) {
		request_dir_done(request);
	} else if (here) {
		file->begun = true;
		answer_page(request, file, from);
	} else if (dots) {
		request_dir_done(request);
	} else {
		struct guest_op *op = guestfile_start(request, handle, FILE_READDIR, page_read);
		op->message.offset = offset;
		guest_again_send(op);
	}
}
