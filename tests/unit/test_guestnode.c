/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "fs/guestnode.h"

static int emptied;

static void empty(struct guest_tree *tree)
{
	emptied++;
}

static const struct file_attr file = { .valid = FILE_ATTR_MODE, .mode = S_IFREG | 0644 };
static const struct file_attr directory = { .valid = FILE_ATTR_MODE, .mode = S_IFDIR | 0755 };

/* A tree with its root; every test clears it and finds it empty. */
static void begin(struct guest_tree *tree, struct guest_node **root)
{
	*tree = (struct guest_tree){ .empty = empty };
	emptied = 0;
	*root = guest_node_root(tree);
}

static void end(struct guest_tree *tree, struct guest_node *root)
{
	guest_tree_clear(tree);
	object_unref(&root->object);
	assert_int_equal(emptied, 1);
	object_table_free();
}

/* As a look-up of the kernel does it. */
static struct guest_node *known(struct guest_node *parent, const char *name,
	const struct file_attr *attr)
{
	struct guest_node *node = guest_node_get(parent, name, attr);

	guest_node_count(node);
	object_unref(&node->object);
	return node;
}

static void paths_follow_renames(void **state)
{
	struct guest_tree tree;
	struct guest_node *root;
	char path[FILES_PATH_MAX + 1];

	begin(&tree, &root);
	struct guest_node *dir = known(root, "dir", &directory), *sub = known(dir, "sub", &directory);
	struct guest_node *leaf = known(sub, "leaf", &file);
	assert_int_equal(guest_node_path(root, NULL, path), 0);
	assert_string_equal(path, "");
	assert_int_equal(guest_node_path(root, "x", path), 0);
	assert_string_equal(path, "x");
	assert_int_equal(guest_node_path(leaf, NULL, path), 0);
	assert_string_equal(path, "dir/sub/leaf");
	guest_node_move(dir, "sub", root, "other");
	assert_int_equal(guest_node_path(leaf, NULL, path), 0);
	assert_string_equal(path, "other/leaf");
	assert_int_equal(guest_node_path(sub, "new", path), 0);
	assert_string_equal(path, "other/new");
	end(&tree, root);
}

static void replaced_and_removed_places_have_no_path(void **state)
{
	struct guest_tree tree;
	struct guest_node *root;
	char path[FILES_PATH_MAX + 1];

	begin(&tree, &root);
	struct guest_node *a = known(root, "a", &file), *b = known(root, "b", &file);
	guest_node_move(root, "a", root, "b");
	assert_int_equal(guest_node_path(b, NULL, path), -ESTALE);
	assert_int_equal(guest_node_path(a, NULL, path), 0);
	assert_string_equal(path, "b");
	assert_null(guest_node_find(root, "a"));
	assert_ptr_equal(guest_node_find(root, "b"), a);
	guest_node_move(root, "b", root, "b");
	assert_ptr_equal(guest_node_find(root, "b"), a);
	guest_node_detach(root, "b");
	assert_null(guest_node_find(root, "b"));
	assert_int_equal(guest_node_path(a, NULL, path), -ESTALE);
	end(&tree, root);
}

static void another_type_is_another_file(void **state)
{
	struct guest_tree tree;
	struct guest_node *root;

	begin(&tree, &root);
	struct guest_node *one = known(root, "x", &file);
	uint64_t id = object_node(&one->object, OBJECT_SELF);
	assert_ptr_equal(known(root, "x", &file), one);
	struct guest_node *two = known(root, "x", &directory);
	assert_ptr_not_equal(one, two);
	assert_int_not_equal(object_node(&two->object, OBJECT_SELF), id);
	assert_true(one->detached);
	end(&tree, root);
}

static void forgotten_nodes_go_and_their_ids_with_them(void **state)
{
	struct guest_tree tree;
	struct guest_node *root;
	unsigned which;

	begin(&tree, &root);
	struct guest_node *dir = known(root, "dir", &directory);
	struct guest_node *leaf = known(dir, "leaf", &file);
	uint64_t id = object_node(&leaf->object, OBJECT_SELF);
	ino_t ino = leaf->ino;
	known(dir, "leaf", &file);
	guest_node_forget(dir, 1);	/* stays: it has a child */
	assert_int_equal(tree.count, 3);
	guest_node_forget(leaf, 1);
	assert_non_null(object_find(id, &which));
	guest_node_forget(leaf, 1);
	assert_int_equal(tree.count, 1);
	assert_null(object_find(id, &which));
	/* The same path has the same inode number again, but another id. */
	dir = known(root, "dir", &directory);
	leaf = known(dir, "leaf", &file);
	assert_int_equal(leaf->ino, ino);
	assert_int_not_equal(object_node(&leaf->object, OBJECT_SELF), id);
	end(&tree, root);
}

static void no_two_files_show_one_number(void **state)
{
	struct guest_tree tree;
	struct guest_node *root;

	begin(&tree, &root);
	struct guest_node *old = known(root, "log", &file);
	ino_t number = old->ino;
	guest_node_move(root, "log", root, "log.1");
	assert_int_equal(old->ino, number);
	assert_int_equal(guest_node_number(root, "log.1"), number);
	assert_int_not_equal(guest_node_number(root, "log"), number);
	struct guest_node *new = known(root, "log", &file);
	assert_int_not_equal(new->ino, number);
	assert_int_equal(guest_node_number(root, "log"), new->ino);
	/* Hard links do; the number is taken until the last of them is forgotten. */
	struct guest_node *twin = known(root, "twin", &file);
	guest_node_twin(twin, old);
	assert_int_equal(twin->ino, number);
	guest_node_forget(new, 1);
	guest_node_detach(root, "log.1");
	guest_node_forget(old, 1);
	assert_int_not_equal(guest_node_number(root, "log"), number);
	guest_node_forget(twin, 1);
	assert_int_equal(guest_node_number(root, "log"), number);
	end(&tree, root);
}

static void long_paths_are_refused(void **state)
{
	struct guest_tree tree;
	struct guest_node *root, *node;
	char name[FILES_NAME_MAX + 2], path[FILES_PATH_MAX + 1];

	begin(&tree, &root);
	memset(name, 'n', sizeof(name));
	name[FILES_NAME_MAX + 1] = '\0';
	assert_int_equal(guest_node_path(root, name, path), -ENAMETOOLONG);
	name[FILES_NAME_MAX] = '\0';
	node = root;
	for (int i = 0; i < 15; i++)
		node = known(node, name, &directory);
	assert_int_equal(guest_node_path(node, name, path), 0);
	assert_int_equal(strlen(path), 16 * FILES_NAME_MAX + 15);
	node = known(node, name, &directory);
	assert_int_equal(guest_node_path(node, "x", path), -ENAMETOOLONG);
	end(&tree, root);
}

static void what_must_not_be_opened_is_a_socket(void **state)
{
	static const struct {
		mode_t guest, shown;
	} modes[] = {
		{ S_IFIFO | 0666, S_IFSOCK | 0666 },
		{ S_IFBLK | 0660, S_IFSOCK | 0660 },
		{ S_IFCHR | 0660, S_IFSOCK | 0660 },
		{ S_IFREG | 06755, S_IFREG | 0755 },
		{ S_IFDIR | 01777, S_IFDIR | 01777 },
	};
	struct guest_tree tree;
	struct guest_node *root;
	struct stat stat;

	begin(&tree, &root);
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		struct file_attr attr = { .valid = FILE_ATTR_MODE, .mode = modes[i].guest,
			.size = UINT64_MAX };

		guest_node_stat(root, &attr, &stat);
		assert_int_equal(stat.st_mode, modes[i].shown);
		assert_int_equal(stat.st_size, INT64_MAX);
	}
	end(&tree, root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_follow_renames),
		cmocka_unit_test(replaced_and_removed_places_have_no_path),
		cmocka_unit_test(another_type_is_another_file),
		cmocka_unit_test(forgotten_nodes_go_and_their_ids_with_them),
		cmocka_unit_test(no_two_files_show_one_number),
		cmocka_unit_test(long_paths_are_refused),
		cmocka_unit_test(what_must_not_be_opened_is_a_socket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
