/* SPDX-License-Identifier: MIT */
#include "fs/guestcache.h"

#include <errno.h>
#include <uv.h>

#include "fs/guestlist.h"
#include "fs/kernel.h"

/* Of so many nodes at once attributes are believed: taking them back is done in one go. */
#define BELIEVED_MAX 16384u

/* A file's size and time must have been the same for so long before its bytes count as those of that time:
 * one second is the times' unit, another one for clocks that are adjusted. */
#define STABLE_NS 2000000000u

/* The kernel's time begins when the process that waited for the answer runs again. */
#define LATE_NS 1000000000u

/* Now. */
struct guest_moment guest_cache_now(const struct guest_cache *cache)
{
	return (struct guest_moment){ uv_hrtime(), cache->doubts };
}

/* What is left of the time for an answer, in ns. */
static uint64_t time_left(const struct guest_cache *cache, struct guest_moment asked, uint64_t now)
{
	uint64_t age = now - asked.time;

	return asked.doubts == cache->doubts && age < cache->time ? cache->time - age : 0;
}

/* Some is left. */
bool guest_cache_fresh(const struct guest_cache *cache, struct guest_moment asked)
{
	return time_left(cache, asked, uv_hrtime()) > 0;
}

/* Remembers what was seen, and since when. */
static void see(struct guest_node *node, const struct file_attr *attr, struct guest_moment asked, uint64_t now)
{
	struct guest_belief *belief = &node->belief;

	if (belief->asked < asked.time)
		belief->asked = asked.time;
	if (belief->seen && belief->size == attr->size && belief->mtime == attr->mtime)
		return;
	belief->seen = true;
	belief->size = attr->size;
	belief->mtime = attr->mtime;
	belief->since = now;
	belief->dropped = 0;
}

/* Takes out of the list what the kernel does not believe any more by itself. */
static void trim(struct guest_tree *tree, uint64_t now)
{
	struct guest_node *node;

	while ((node = TAILQ_FIRST(&tree->believed)) && node->belief.until < now)
		guest_node_disbelieve(node);
}

/* Enters the node, or moves it to the end. false: there are too many. */
static bool believe(struct guest_cache *cache, struct guest_node *node, uint64_t now)
{
	struct guest_tree *tree = node->tree;

	guest_node_disbelieve(node);
	trim(tree, now);
	if (tree->believed_count >= BELIEVED_MAX)
		return false;
	node->belief.until = now + cache->time + LATE_NS;
	node->belief.listed = true;
	TAILQ_INSERT_TAIL(&tree->believed, node, belief.entry);
	tree->believed_count++;
	return true;
}

/* Attributes. */
static double believe_attr(struct guest_cache *cache, struct guest_node *node,
	const struct file_attr *attr, struct guest_moment asked, uint64_t now)
{
	uint64_t left = time_left(cache, asked, now);

	see(node, attr, asked, now);
	node->belief.mode = attr->mode;
	node->linked |= attr->nlink > 1 && S_ISREG(attr->mode);
	if (!left || node->linked || !believe(cache, node, now))
		return 0;
	return (double)left / 1e9;
}

/* The same, at any time. */
double guest_cache_attr(struct guest_cache *cache, struct guest_node *node,
	const struct file_attr *attr, struct guest_moment asked)
{
	return believe_attr(cache, node, attr, asked, uv_hrtime());
}

/* A name is believed. */
static double believe_name(struct guest_cache *cache, struct guest_moment asked, uint64_t now)
{
	uint64_t left = time_left(cache, asked, now);

	if (left)
		cache->names_until = now + cache->time + LATE_NS;
	return (double)left / 1e9;
}

/* An entry. */
void guest_cache_entry(struct guest_cache *cache, struct guest_node *node,
	const struct file_attr *attr, struct guest_moment asked, struct entry *entry)
{
	uint64_t now = uv_hrtime();

	entry->attr_seconds = believe_attr(cache, node, attr, asked, now);
	entry->entry_seconds = believe_name(cache, asked, now);
}

/* An absent name: nobody would be asked about it, so it must be possible to take it back. */
double guest_cache_absent(struct guest_cache *cache, struct guest_moment asked)
{
	return kernel_can_doubt_names() ? believe_name(cache, asked, uv_hrtime()) : 0;
}

/* As told last. */
bool guest_cache_mode(const struct guest_node *node, mode_t *mode)
{
	if (!node->belief.listed || uv_hrtime() + LATE_NS > node->belief.until)
		return false;
	*mode = node->belief.mode;
	return true;
}

/* Close-to-open. */
unsigned guest_cache_opened(struct guest_cache *cache, struct guest_node *node,
	const struct file_attr *attr, struct guest_moment asked)
{
	struct guest_belief *belief = &node->belief;

	if (!cache->time)
		return 0;
	belief->misled = false;
	bool same = belief->seen && belief->size == attr->size && belief->mtime == attr->mtime &&
		belief->mode == attr->mode;
	if (!same && belief->listed) {
		kernel_doubt_attr(object_node(&node->object, OBJECT_SELF));
		guest_node_disbelieve(node);
	}
	see(node, attr, asked, uv_hrtime());
	if (same && !node->linked && belief->dropped >= belief->since + STABLE_NS &&
		belief->dropped_doubts == cache->doubts)
		return REQUEST_KEEP;
	belief->dropped = uv_hrtime();
	belief->dropped_doubts = asked.doubts;
	return 0;
}

/* Once: the second failure is a true one. */
bool guest_cache_misled(const struct guest_cache *cache, struct guest_node *node, int error)
{
	bool may_be = error == -ENOENT || error == -ENOTDIR || error == -EISDIR || error == -ELOOP ||
		error == -ENXIO || error == -EINVAL || error == -EIO;

	if (!cache->time || !node->parent || node->detached || !may_be || node->belief.misled) {
		node->belief.misled = false;
		return false;
	}
	/* The kernel is going to look the path up again: from here it must not get the same answer. */
	for (const struct guest_node *at = node; at->parent && !at->detached; at = at->parent)
		guest_list_touch(at->parent, at->name, 0);
	return node->belief.misled = true;
}

/* Takes everything back. */
void guest_cache_doubt(struct guest_cache *cache, struct guest_tree *tree)
{
	struct guest_node *node;

	cache->doubts++;
	trim(tree, uv_hrtime());
	while ((node = TAILQ_FIRST(&tree->believed))) {
		guest_node_disbelieve(node);
		kernel_doubt_attr(object_node(&node->object, OBJECT_SELF));
	}
	if (cache->names_until >= uv_hrtime())
		kernel_doubt_names();
	cache->names_until = 0;
}
