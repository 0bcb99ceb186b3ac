/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <cmocka.h>

#include "fs/guestcache.h"
#include "fs/kernel.h"

#define SECOND 1000000000u

static const struct file_attr small = { .valid = FILE_ATTR_MODE | FILE_ATTR_SIZE,
	.mode = S_IFREG | 0644, .size = 3, .mtime = 1000 };
static const struct file_attr large = { .valid = FILE_ATTR_MODE | FILE_ATTR_SIZE,
	.mode = S_IFREG | 0644, .size = 5, .mtime = 1000 };

static struct guest_tree tree;
static struct guest_node *root;
static struct guest_cache cache;
static int ends[2];

static void empty(struct guest_tree *emptied)
{
}

/* A tree, a cache of some seconds, and a pipe in the kernel's place. */
static int begin(void **state)
{
	tree = (struct guest_tree){ .empty = empty };
	root = guest_node_root(&tree);
	cache = (struct guest_cache){ .time = 60ull * SECOND };
	if (pipe(ends) < 0)
		return -1;
	kernel_connected(ends[1], 45);
	return 0;
}

static int end(void **state)
{
	guest_tree_clear(&tree);
	object_unref(&root->object);
	object_table_free();
	kernel_connected(-1, 0);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

/* A file that the kernel knows. */
static struct guest_node *known(const char *name)
{
	struct guest_node *node = guest_node_get(root, name, &small);

	guest_node_count(node);
	object_unref(&node->object);
	return node;
}

/* The next message to the kernel: its code, and for attributes which node. */
static int message(uint64_t *node)
{
	struct fuse_out_header header;
	struct fuse_notify_inval_inode_out inode = { 0 };

	assert_int_equal(read(ends[0], &header, sizeof(header)), sizeof(header));
	assert_int_equal(header.unique, 0);
	size_t more = header.len - sizeof(header);
	assert_true(more == 0 || more == sizeof(inode));
	if (more) {
		assert_int_equal(read(ends[0], &inode, sizeof(inode)), sizeof(inode));
		assert_true(inode.off < 0);
	}
	*node = inode.ino;
	return header.error;
}

/* Nothing more was said. */
static void silence(void)
{
	uint64_t node;

	kernel_doubt_attr(7);
	assert_int_equal(message(&node), FUSE_NOTIFY_INVAL_INODE);
	assert_int_equal(node, 7);
}

/* What is told is taken back, once; what was asked before that is not believed. */
static void all_is_taken_back(void **state)
{
	struct guest_node *node = known("a");
	struct guest_moment asked = guest_cache_now(&cache);
	uint64_t which;

	assert_true(guest_cache_attr(&cache, node, &small, asked) > 59);
	assert_true(guest_cache_attr(&cache, node, &small, asked) > 59);
	assert_true(guest_cache_absent(&cache, asked) > 59);
	guest_cache_doubt(&cache, &tree);
	assert_int_equal(message(&which), FUSE_NOTIFY_INVAL_INODE);
	assert_int_equal(which, object_node(&node->object, OBJECT_SELF));
	assert_int_equal(message(&which), 8); /* FUSE_NOTIFY_INC_EPOCH */
	guest_cache_doubt(&cache, &tree);
	silence();
	assert_true(guest_cache_attr(&cache, node, &small, asked) == 0);
	assert_true(guest_cache_absent(&cache, asked) == 0);
	guest_cache_doubt(&cache, &tree);
	silence();
}

/* The time counts from the question. */
static void answers_grow_old(void **state)
{
	struct guest_node *node = known("a");
	struct guest_moment asked = guest_cache_now(&cache);
	struct entry entry;

	asked.time -= 50ull * SECOND;
	guest_cache_entry(&cache, node, &small, asked, &entry);
	assert_true(entry.attr_seconds > 5 && entry.attr_seconds <= 10);
	assert_true(entry.entry_seconds > 5 && entry.entry_seconds <= 10);
	asked.time -= 10ull * SECOND;
	guest_cache_entry(&cache, node, &small, asked, &entry);
	assert_true(entry.attr_seconds == 0 && entry.entry_seconds == 0);
	cache.time = 0;
	assert_true(guest_cache_attr(&cache, node, &small, guest_cache_now(&cache)) == 0);
}

/* A kernel that cannot forget names is never told that one is absent. */
static void old_kernels_know_no_absence(void **state)
{
	kernel_connected(ends[1], 43);
	assert_true(guest_cache_absent(&cache, guest_cache_now(&cache)) == 0);
	kernel_doubt_names();
	silence();
}

/* An open takes back what is not so any more; bytes are kept when they must be those. */
static void opening_compares(void **state)
{
	struct guest_node *node = known("a");
	struct guest_moment asked = guest_cache_now(&cache);
	uint64_t which;

	guest_cache_attr(&cache, node, &small, asked);
	assert_int_equal(guest_cache_opened(&cache, node, &small, asked), 0);
	silence();
	assert_int_equal(guest_cache_opened(&cache, node, &small, asked), 0);
	node->belief.since -= 3ull * SECOND;
	assert_int_equal(guest_cache_opened(&cache, node, &small, asked), REQUEST_KEEP);
	assert_int_equal(guest_cache_opened(&cache, node, &large, asked), 0);
	assert_int_equal(message(&which), FUSE_NOTIFY_INVAL_INODE);
	assert_int_equal(which, object_node(&node->object, OBJECT_SELF));
	silence();
	node->belief.since -= 3ull * SECOND;
	guest_cache_doubt(&cache, &tree);
	assert_int_equal(guest_cache_opened(&cache, node, &large, guest_cache_now(&cache)), 0);
	silence();
}

/* One of a file's names does not hear what is done by the other. */
static void links_are_not_believed(void **state)
{
	struct guest_node *one = known("a"), *other = known("b");
	struct file_attr twice = small;

	guest_node_twin(other, one);
	assert_true(guest_cache_attr(&cache, one, &small, guest_cache_now(&cache)) == 0);
	assert_true(guest_cache_attr(&cache, other, &small, guest_cache_now(&cache)) == 0);
	one = known("c");
	twice.nlink = 2;
	assert_true(guest_cache_attr(&cache, one, &twice, guest_cache_now(&cache)) == 0);
}

/* A failure is blamed on a wrong name once. */
static void misled_once(void **state)
{
	struct guest_node *node = known("a");

	assert_true(guest_cache_misled(&cache, node, -ENOENT));
	assert_false(guest_cache_misled(&cache, node, -ENOENT));
	assert_false(guest_cache_misled(&cache, node, -EACCES));
	assert_false(guest_cache_misled(&cache, root, -ENOENT));
	cache.time = 0;
	assert_false(guest_cache_misled(&cache, node, -ENOENT));
}

/* No more is believed than can be taken back, and freed nodes are not. */
static void believed_is_bounded(void **state)
{
	char name[16];
	unsigned believed = 0;

	for (unsigned i = 0; i < 17000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		believed += guest_cache_attr(&cache, known(name), &small, guest_cache_now(&cache)) > 0;
	}
	assert_int_equal(believed, 16384);
	assert_int_equal(tree.believed_count, 16384);
	guest_node_forget(guest_node_find(root, "0"), 1);
	assert_int_equal(tree.believed_count, 16383);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_is_taken_back, begin, end),
		cmocka_unit_test_setup_teardown(answers_grow_old, begin, end),
		cmocka_unit_test_setup_teardown(old_kernels_know_no_absence, begin, end),
		cmocka_unit_test_setup_teardown(opening_compares, begin, end),
		cmocka_unit_test_setup_teardown(links_are_not_believed, begin, end),
		cmocka_unit_test_setup_teardown(misled_once, begin, end),
		cmocka_unit_test_setup_teardown(believed_is_bounded, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
