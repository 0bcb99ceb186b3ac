/* SPDX-License-Identifier: MIT */
#include "fs/guestwalk.h"

#include <sys/stat.h>
#include <uv.h>

#include "fs/guestfile.h"
#include "fs/guestlist.h"

#define AT_FIRST 4u
/* So many entries of a listing are looked at for directories. */
#define SCAN_MOST 256u

/* Whether that moment is within the cache's time. */
static bool is_recent(struct guest_node *node, uint64_t moment)
{
	return moment && uv_hrtime() - moment < guestfs_queue(node)->cache.time;
}

/* Asks for a directory, unless its listing is known, on its way, or too large. */
static void ask(struct guest_node *node)
{
	struct guest_moment asked;

	if (node->type != S_IFDIR || node->list_asked || guest_list_is_large(node) ||
		guest_list_whole(&guestfs_queue(node)->cache, node, &asked))
		return;
	node->tree->walk_count++;
	node->walk.asked = true;
	guestdir_learn_ahead(node);
}

/* Asks for the next directories in the listing of `node`: behind the one of that name, or from the first on. */
static void ask_behind(struct guest_node *node, const char *name)
{
	struct guest_tree *tree = node->tree;
	char found[FILES_NAME_MAX + 1];
	const struct file_entry *entry;
	unsigned seen = 0;
	size_t position;

	if (!is_recent(node, tree->walk_hit))
		tree->walk_window = AT_FIRST;
	if (!guest_list_behind(&guestfs_queue(node)->cache, node, name, &position))
		return;
	for (unsigned i = 0; i < SCAN_MOST && seen < tree->walk_window && tree->walk_count < GUEST_WALK_MOST &&
			     (entry = guest_list_next(node, &position, found)); i++) {
		struct guest_node *next = S_ISDIR(entry->attr.mode) ? guest_node_find(node, found) : NULL;

		seen += next != NULL;
		if (next)
			ask(next);
	}
}

/* Opened. */
void guest_walk_opened(struct guest_node *node)
{
	struct guest_tree *tree = node->tree;
	struct guest_node *parent = node->detached ? NULL : node->parent;

	if (node->walk.asked) {
		node->walk.asked = false;
		tree->walk_hit = uv_hrtime();
		if (tree->walk_window < GUEST_WALK_MOST)
			tree->walk_window *= 2;
	}
	node->walk.is_part = parent && is_recent(parent, parent->walk.opened);
	node->walk.opened = uv_hrtime();
	if (node->walk.is_part)
		ask_behind(parent, node->name);
}

/* Listed. */
void guest_walk_listed(struct guest_node *node)
{
	if (node->walk.is_part)
		ask_behind(node, NULL);
}

/* It came. */
void guest_walk_came(struct guest_node *node)
{
	node->tree->walk_count--;
}
