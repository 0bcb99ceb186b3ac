/* SPDX-License-Identifier: MIT */
#include "fs/guestlist.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backends/base/memory.h"

/* All lists of an instance together are at most so large, in bytes of entries. */
#define LISTS_MAX (4u * 1048576u)
/* More touched names are not counted any more: then the list is of no use. A power of two. */
#define TOUCHED_MAX 16384u
#define TOUCHED_FIRST 64u
/* So many look-ups within the cache's time make a list worth it; and so many where that was so in another
 * directory just now: somebody goes through a tree. */
#define MISSES	    4u
#define MISSES_WALK 2u
/* A directory that was too large is not tried again for so long. */
#define LARGE_NS 30000000000u

/* A name that something was done to. */
struct touched {
	uint64_t hash;		/* 0: none */
	uint64_t gone;		/* the operation answered ahead that took it away; 0: ask */
};

struct guest_list {
	TAILQ_ENTRY(guest_list) entry;	/* of the tree's, oldest first; once it is there */
	struct guest_node *node;
	struct guest_moment asked;
	struct text entries;
	uint32_t *index;		/* where the entries are, by name; NULL: not made yet */
	size_t count;
	struct touched *touched;	/* by hash; room is a power of two */
	unsigned touched_count, touched_room;
};

/* Frees a list that stands nowhere. */
static void list_free(struct guest_list *list)
{
	if (!list)
		return;
	text_done(&list->entries);
	free(list->index);
	free(list->touched);
	free(list);
}

/* Takes the node's list away. */
static void drop(struct guest_node *node)
{
	struct guest_list *list = node->list;

	if (!list)
		return;
	TAILQ_REMOVE(&node->tree->lists, list, entry);
	node->tree->lists_size -= list->entries.size;
	node->list = NULL;
	list_free(list);
}

/* FNV-1a, never 0. */
static uint64_t hash(const char *name, size_t size)
{
	uint64_t value = 14695981039346656037u;

	for (size_t i = 0; i < size; i++)
		value = (value ^ (unsigned char)name[i]) * 1099511628211u;
	return value ? value : 1;
}

/* Where the hash stands, or would. */
static struct touched *touched_at(const struct guest_list *list, uint64_t value)
{
	unsigned at = (unsigned)value & (list->touched_room - 1);

	while (list->touched[at].hash && list->touched[at].hash != value)
		at = (at + 1) & (list->touched_room - 1);
	return &list->touched[at];
}

/* Makes room for one more. */
static void touched_grow(struct guest_list *list)
{
	struct touched *old = list->touched;
	unsigned room = list->touched_room;

	if (list->touched_count < room / 2)
		return;
	list->touched_room = room ? 2 * room : TOUCHED_FIRST;
	list->touched = memory_new(list->touched_room * sizeof(*list->touched));
	for (unsigned i = 0; i < room; i++)
		if (old[i].hash)
			*touched_at(list, old[i].hash) = old[i];
	free(old);
}

/* The entry of a hash, made if there is none; one too many is not made, but counted. NULL: there is none. */
static struct touched *enter(struct guest_list *list, uint64_t value)
{
	if (!list || list->touched_count >= TOUCHED_MAX)
		return NULL;
	touched_grow(list);
	struct touched *touched = touched_at(list, value);
	if (!touched->hash)
		list->touched_count++;
	touched->hash = value;
	return touched;
}

/* A name of both lists. That an earlier operation ends, or goes on, says nothing about a later one. */
void guest_list_touch(struct guest_node *node, const char *name, uint64_t number)
{
	struct guest_list *lists[] = { node->list, node->list_asked };

	for (size_t i = 0; i < 2; i++) {
		struct touched *touched = enter(lists[i], hash(name, strlen(name)));

		if (touched && (!number || touched->gone < number))
			touched->gone = 0;
	}
}

/* The same. */
void guest_list_gone(struct guest_node *node, const char *name, uint64_t number)
{
	struct guest_list *lists[] = { node->list, node->list_asked };

	for (size_t i = 0; i < 2; i++) {
		struct touched *touched = enter(lists[i], hash(name, strlen(name)));

		if (touched)
			touched->gone = number;
	}
}

/* From now on names are remembered. */
bool guest_list_ask(struct guest_node *node, struct guest_moment asked)
{
	if (node->list_asked)
		return false;
	node->list_asked = memory_new(sizeof(*node->list_asked));
	node->list_asked->node = node;
	node->list_asked->asked = asked;
	return true;
}

/* Believed, and nothing touched. */
bool guest_list_is_coming(struct guest_cache *cache, const struct guest_node *node)
{
	const struct guest_list *list = node->list_asked;

	return list && !list->touched_count && guest_cache_fresh(cache, list->asked);
}

/* Keeps it. */
void guest_list_came(struct guest_cache *cache, struct guest_node *node, const void *entries,
	size_t size)
{
	struct guest_tree *tree = node->tree;
	struct guest_list *list = node->list_asked;

	node->list_asked = NULL;
	if (!list || !entries || !cache->time || size > LISTS_MAX) {
		list_free(list);
		return;
	}
	text_append(&list->entries, entries, size);
	drop(node);
	node->list = list;
	TAILQ_INSERT_TAIL(&tree->lists, list, entry);
	tree->lists_size += size;
	while (tree->lists_size > LISTS_MAX)
		drop(TAILQ_FIRST(&tree->lists)->node);
}

/* Nothing is in it. */
void guest_list_made(struct guest_cache *cache, struct guest_node *node, struct guest_moment asked)
{
	if (!guest_list_ask(node, asked))
		return;
	guest_list_came(cache, node, "", 0);
	node->made_here = true;
}

/* The list, while it is believed. */
static struct guest_list *believed(struct guest_cache *cache, struct guest_node *node)
{
	struct guest_list *list = node->list;

	if (!list)
		return NULL;
	if (list->asked.doubts == cache->doubts && list->touched_count < TOUCHED_MAX &&
		uv_hrtime() - list->asked.time < cache->time)
		return list;
	drop(node);
	return NULL;
}

/* The name of an entry, which has no NUL, against another one. */
static int compare_name(const struct file_entry *entry, const char *name, size_t size)
{
	size_t common = entry->name_size < size ? entry->name_size : size;
	int order = memcmp(entry + 1, name, common);

	if (order)
		return order;
	return entry->name_size < size ? -1 : entry->name_size > size;
}

/* An entry by its place. */
static const struct file_entry *entry_at(const struct guest_list *list, uint32_t at)
{
	return (const void *)(list->entries.data + at);
}

/* Orders two places by their names. */
static int compare_places(const void *one, const void *other, void *data)
{
	const struct file_entry *a = entry_at(data, *(const uint32_t *)one);
	const struct file_entry *b = entry_at(data, *(const uint32_t *)other);

	return compare_name(a, (const char *)(b + 1), b->name_size);
}

/* Sorts the entries' places. */
static void make_index(struct guest_list *list)
{
	const struct file_entry *entry;
	const char *name;
	size_t position = 0, room = 0;

	for (size_t at = 0; files_entry_next(list->entries.data, list->entries.size, &position, &entry,
				    &name) > 0; at = position) {
		if (list->count == room) {
			room = room ? 2 * room : 64;
			list->index = memory_grow(list->index, room * sizeof(*list->index));
		}
		list->index[list->count++] = (uint32_t)at;
	}
	if (list->count)
		qsort_r(list->index, list->count, sizeof(*list->index), compare_places, list);
}

/* What was done to a name, or NULL. */
static const struct touched *touched_of(const struct guest_list *list, const char *name, size_t size)
{
	const struct touched *touched = list->touched_count ? touched_at(list, hash(name, size)) : NULL;

	return touched && touched->hash ? touched : NULL;
}

/* All that were in it are gone, and nothing was done to other names, or they are gone too. */
bool guest_list_empty(struct guest_cache *cache, struct guest_node *node)
{
	const struct guest_list *list = believed(cache, node);
	const struct file_entry *entry;
	const char *name;
	size_t position = 0;

	if (!list)
		return false;
	for (unsigned i = 0; i < list->touched_room; i++)
		if (list->touched[i].hash && !list->touched[i].gone)
			return false;
	while (files_entry_next(list->entries.data, list->entries.size, &position, &entry, &name) > 0)
		if (!touched_of(list, name, entry->name_size))
			return false;
	return true;
}

/* The place of a name in the index; below 0: it is not there. */
static ssize_t find(struct guest_list *list, const char *name)
{
	size_t low = 0, high, size = strlen(name);

	if (!list->index)
		make_index(list);
	for (high = list->count; low < high;) {
		size_t middle = (low + high) / 2;
		int order = compare_name(entry_at(list, list->index[middle]), name, size);

		if (order == 0)
			return (ssize_t)middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

/* One entry. */
enum guest_known guest_list_find(struct guest_cache *cache, struct guest_node *node, const char *name,
	struct file_attr *attr, struct guest_moment *asked)
{
	struct guest_list *list = believed(cache, node);
	const struct touched *touched = list ? touched_of(list, name, strlen(name)) : NULL;

	if (!list || (touched && !touched->gone))
		return GUEST_UNKNOWN;
	*asked = list->asked;
	if (touched)
		return GUEST_ABSENT;
	ssize_t at = find(list, name);
	if (at < 0)
		return node->made_here || cache->eager ? GUEST_ABSENT : GUEST_UNKNOWN;
	*attr = entry_at(list, list->index[at])->attr;
	return attr->valid & FILE_ATTR_MODE ? GUEST_THERE : GUEST_UNKNOWN;
}

/* From behind a name on. */
bool guest_list_behind(struct guest_cache *cache, struct guest_node *node, const char *name, size_t *position)
{
	struct guest_list *list = believed(cache, node);
	ssize_t at = list && name ? find(list, name) : -1;
	const struct file_entry *entry;
	const char *found;

	if (!list || (name && at < 0))
		return false;
	*position = name ? list->index[at] : 0;
	if (name)
		files_entry_next(list->entries.data, list->entries.size, position, &entry, &found);
	return true;
}

/* The next one. */
const struct file_entry *guest_list_next(struct guest_node *node, size_t *position, char name[FILES_NAME_MAX + 1])
{
	const struct guest_list *list = node->list;
	const struct file_entry *entry;
	const char *found;

	if (!list || files_entry_next(list->entries.data, list->entries.size, position, &entry, &found) <= 0)
		return NULL;
	memcpy(name, found, entry->name_size);
	name[entry->name_size] = '\0';
	return entry;
}

/* The next entry in that order: *place is the one before it in the index, or where it begins in the guest's order;
 * it moves on. NULL: the end. */
static const struct file_entry *step(const struct guest_list *list, enum guest_order order, size_t *place)
{
	const struct file_entry *entry;
	const char *name;

	if (order == GUEST_BY_NAME)
		return ++*place < list->count ? entry_at(list, list->index[*place]) : NULL;
	return files_entry_next(list->entries.data, list->entries.size, place, &entry, &name) > 0 ? entry : NULL;
}

/* The next file. It is looked for by places: names may stand there several times, as the guest likes. */
const struct file_entry *guest_list_after(struct guest_cache *cache, struct guest_node *node, const char *name,
	enum guest_order order, char after[FILES_NAME_MAX + 1])
{
	struct guest_list *list = believed(cache, node);
	ssize_t at = list ? find(list, name) : -1;
	const struct file_entry *entry;

	if (at < 0)
		return NULL;
	size_t place = order == GUEST_BY_NAME ? (size_t)at : list->index[at];
	if (order == GUEST_LISTED)
		step(list, order, &place);
	while ((entry = step(list, order, &place))) {
		const char *found = (const char *)(entry + 1);

		if (!(entry->attr.valid & FILE_ATTR_MODE) || !S_ISREG(entry->attr.mode) ||
			touched_of(list, found, entry->name_size))
			continue;
		memcpy(after, found, entry->name_size);
		after[entry->name_size] = '\0';
		return entry;
	}
	return NULL;
}

/* All of them. */
const struct text *guest_list_whole(struct guest_cache *cache, struct guest_node *node,
	struct guest_moment *asked)
{
	struct guest_list *list = believed(cache, node);

	if (!list || list->touched_count)
		return NULL;
	*asked = list->asked;
	return &list->entries;
}

/* Counts. */
bool guest_list_missed(struct guest_cache *cache, struct guest_node *node)
{
	uint64_t now = uv_hrtime();
	unsigned enough = now - node->tree->walked_at < cache->time ? MISSES_WALK : MISSES;

	if (believed(cache, node))
		return false;
	if (now - node->missed_since > cache->time) {
		node->missed_since = now;
		node->missed = 0;
	}
	if (++node->missed < enough || !cache->time || node->list_asked || guest_list_is_large(node))
		return false;
	node->tree->walked_at = now;
	return true;
}

/* Not again soon. */
void guest_list_too_large(struct guest_node *node)
{
	node->large_until = uv_hrtime() + LARGE_NS;
}

/* It was. */
bool guest_list_is_large(const struct guest_node *node)
{
	return uv_hrtime() < node->large_until;
}

/* Frees both. */
void guest_list_free(struct guest_node *node)
{
	drop(node);
	list_free(node->list_asked);
	node->list_asked = NULL;
}
