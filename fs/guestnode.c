/* SPDX-License-Identifier: MIT */
#include "fs/guestnode.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"

/* So many names of files with several are remembered after the kernel forgot them. */
#define LINKED_SLOTS 16384u

/* Orders places by parent, then name. */
static int compare(const void *one, const void *other)
{
	const struct guest_node *a = one, *b = other;

	if (a->parent != b->parent)
		return a->parent < b->parent ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* Orders nodes by their inode numbers, as far as it takes to find one with a number. */
static int compare_number(const void *one, const void *other)
{
	const struct guest_node *a = one, *b = other;

	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

/* Orders nodes by their inode numbers; those that share one by themselves. */
static int compare_numbers(const void *one, const void *other)
{
	int order = compare_number(one, other);

	return order || one == other ? order : one < other ? -1 : 1;
}

/* A number for a place: FNV-1a over the parent's number and the name. */
static ino_t place_number(const struct guest_node *parent, const char *name)
{
	ino_t number = 14695981039346656037u ^ parent->ino;

	for (const char *c = name; *c; c++)
		number = (number ^ (unsigned char)*c) * 1099511628211u;
	return number ? number : 1;
}

/* The kernel forgets a name that leads to a file which has others too. Newer ones take the place of older. */
static void remember_linked(struct guest_node *node)
{
	struct guest_tree *tree = node->tree;
	ino_t number = place_number(node->parent, node->name);

	if (!tree->linked)
		tree->linked = memory_new(LINKED_SLOTS * sizeof(*tree->linked));
	tree->linked[number % LINKED_SLOTS] = number;
}

/* Whether the place's file had other names when the kernel knew it. */
static bool was_linked(const struct guest_node *parent, const char *name)
{
	ino_t number = place_number(parent, name), *linked = parent->tree->linked;

	return linked && linked[number % LINKED_SLOTS] == number;
}

/* Takes a node out of the places. */
static void detach(struct guest_node *node)
{
	if (node->detached || !node->parent)
		return;
	tdelete(node, &node->tree->places, compare);
	node->detached = true;
}

/* Out of the list. */
void guest_node_disbelieve(struct guest_node *node)
{
	if (!node->belief.listed)
		return;
	TAILQ_REMOVE(&node->tree->believed, node, belief.entry);
	node->tree->believed_count--;
	node->belief.listed = false;
}

/* The last reference went. */
static void node_free(struct object *object)
{
	struct guest_node *node = container_of(object, struct guest_node, object);
	struct guest_tree *tree = node->tree;

	if (node->linked && node->parent && !node->detached)
		remember_linked(node);
	detach(node);
	guest_node_disbelieve(node);
	guest_list_free(node);
	if (node->parent)
		tdelete(node, &tree->numbers, compare_numbers);
	LIST_REMOVE(node, entry);
	if (node->parent)
		object_unref(&node->parent->object);
	if (node->maker)
		object_unref(&node->maker->object);
	free(node->name);
	free(node);
	if (--tree->count == 0) {
		free(tree->linked);
		tree->linked = NULL;
		tree->empty(tree);
	}
}

/* A node without a place. */
static struct guest_node *node_new(struct guest_tree *tree, mode_t type)
{
	struct guest_node *node = memory_new(sizeof(*node));

	if (object_init(&node->object, OBJECT_FILE, node_free) < 0) {
		free(node);
		return NULL;
	}
	node->tree = tree;
	node->type = type;
	LIST_INIT(&node->handles);
	TAILQ_INIT(&node->behind.waiting);
	TAILQ_INIT(&node->openings);
	LIST_INSERT_HEAD(&tree->nodes, node, entry);
	tree->count++;
	return node;
}

/* The root. */
struct guest_node *guest_node_root(struct guest_tree *tree)
{
	struct guest_node *node = node_new(tree, S_IFDIR);

	TAILQ_INIT(&tree->believed);
	TAILQ_INIT(&tree->lists);
	if (node)
		node->ino = object_node(&node->object, OBJECT_SELF);
	return node;
}

/* Looks a place up. */
struct guest_node *guest_node_find(struct guest_node *parent, const char *name)
{
	struct guest_node key = { .parent = parent, .name = (char *)name };
	struct guest_node **found = tfind(&key, &parent->tree->places, compare);

	return found ? *found : NULL;
}

/* The node's, or the place's, and from there the next that is free. */
ino_t guest_node_number(struct guest_node *parent, const char *name)
{
	const struct guest_node *node = guest_node_find(parent, name);

	if (node)
		return node->ino;
	struct guest_node key = { .ino = place_number(parent, name) };
	while (tfind(&key, &parent->tree->numbers, compare_number))
		key.ino++;
	return key.ino;
}

/* Gives a node without place one. */
static void attach(struct guest_node *node, struct guest_node *parent, const char *name)
{
	object_ref(&parent->object);
	if (node->parent)
		object_unref(&node->parent->object);
	node->parent = parent;
	free(node->name);
	node->name = memory_string(name);
	node->detached = false;
	if (!tsearch(node, &node->tree->places, compare))
		abort();
}

/* Gives a new node that number, or the next that is free. */
static void take_number(struct guest_node *node, ino_t number)
{
	struct guest_node **found;

	node->ino = number;
	while ((found = tsearch(node, &node->tree->numbers, compare_number)) && *found != node)
		node->ino++;
	if (!found)
		abort();
}

/* Takes or makes. A place whose entry has another type now is another file. */
struct guest_node *guest_node_take(struct guest_node *parent, const char *name,
	const struct file_attr *attr, struct guest_node *found)
{
	struct guest_node *node = found;
	mode_t type = attr->mode & S_IFMT;

	if (node && node->type == type) {
		object_ref(&node->object);
		return node;
	}
	if (node)
		detach(node);
	node = node_new(parent->tree, type);
	if (!node)
		return NULL;
	node->linked = was_linked(parent, name);
	attach(node, parent, name);
	take_number(node, place_number(parent, name));
	return node;
}

/* Finds or makes. */
struct guest_node *guest_node_get(struct guest_node *parent, const char *name,
	const struct file_attr *attr)
{
	return guest_node_take(parent, name, attr, guest_node_find(parent, name));
}

/* Gives it another number. */
void guest_node_twin(struct guest_node *node, struct guest_node *other)
{
	node->linked = other->linked = true;
	tdelete(node, &node->tree->numbers, compare_numbers);
	node->ino = other->ino;
	if (!tsearch(node, &node->tree->numbers, compare_numbers))
		abort();
}

/* The last one that is so. */
void guest_node_made_as(struct guest_node *node, struct guest_node *other)
{
	struct guest_node *old = node->maker;

	object_ref(&other->object);
	node->maker = other;
	if (old)
		object_unref(&old->object);
}

/* The kernel's look-ups hold one reference. */
void guest_node_count(struct guest_node *node)
{
	if (node->lookups++ == 0)
		object_ref(&node->object);
}

/* The kernel forgets. */
void guest_node_forget(struct guest_node *node, uint64_t count)
{
	if (!node->lookups)
		return;
	node->lookups = count < node->lookups ? node->lookups - count : 0;
	if (!node->lookups)
		object_unref(&node->object);
}

/* The place's entry was removed. */
void guest_node_detach(struct guest_node *parent, const char *name)
{
	struct guest_node *node = guest_node_find(parent, name);

	if (node)
		detach(node);
}

/* The place's entry was renamed. */
void guest_node_move(struct guest_node *parent, const char *name, struct guest_node *new_parent,
	const char *new_name)
{
	struct guest_node *node = guest_node_find(parent, name);

	if (node && guest_node_find(new_parent, new_name) == node)
		return;
	guest_node_detach(new_parent, new_name);
	if (!node)
		return;
	detach(node);
	attach(node, new_parent, new_name);
}

/* Joins the names, from the end of the buffer forwards. */
int guest_node_path(const struct guest_node *node, const char *name, char *path)
{
	size_t at = FILES_PATH_MAX;

	path[at] = '\0';
	for (const char *part = name ? name : node->name; part; part = node->name) {
		size_t length = strlen(part);

		if (length > FILES_NAME_MAX || length + 1 > at)
			return -ENAMETOOLONG;
		if (path[at])
			path[--at] = '/';
		at -= length;
		memcpy(path + at, part, length);
		if (part == node->name) {
			if (node->detached)
				return -ESTALE;
			node = node->parent;
		}
	}
	memmove(path, path + at, FILES_PATH_MAX + 1 - at);
	return 0;
}

/* Translates attributes. FIFOs and devices of a guest must not become FIFOs and devices of the host:
 * a socket is what the kernel refuses to open (ENXIO) without asking anybody. */
void guest_node_stat(const struct guest_node *node, const struct file_attr *attr,
	struct stat *stat)
{
	bool theirs = node->tree->guest_owners && attr->valid & FILE_ATTR_OWNER;
	mode_t type = attr->mode & S_IFMT;

	if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK)
		type = S_IFSOCK;
	*stat = (struct stat){ .st_ino = node->ino,
		.st_mode = type | (attr->mode & 01777),
		.st_nlink = attr->nlink ? attr->nlink : 1,
		.st_uid = theirs ? attr->uid : node->tree->uid,
		.st_gid = theirs ? attr->gid : node->tree->gid,
		.st_size = attr->size > INT64_MAX ? INT64_MAX : (off_t)attr->size,
		.st_blksize = 4096 };
	stat->st_blocks = stat->st_size / 512 + (stat->st_size % 512 != 0);
	stat->st_atim.tv_sec = attr->atime;
	stat->st_mtim.tv_sec = stat->st_ctim.tv_sec = attr->mtime;
}

/* Ends all ids first: dropping a reference may free a parent too. */
void guest_tree_clear(struct guest_tree *tree)
{
	struct guest_node *node, **known = memory_new(tree->count * sizeof(*known));
	size_t count = 0;

	LIST_FOREACH(node, &tree->nodes, entry) {
		object_remove(&node->object);
		if (node->lookups) {
			node->lookups = 0;
			known[count++] = node;
		}
	}
	for (size_t i = 0; i < count; i++)
		object_unref(&known[i]->object);
	free(known);
}
