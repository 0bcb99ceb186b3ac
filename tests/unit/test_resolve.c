/* SPDX-License-Identifier: MIT */
/* Paths in trees with links that lead anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/base/resolve.h"

#define PATH (O_PATH | O_CLOEXEC)

static char place[] = "/tmp/poolfs-resolve.XXXXXX";
static int tree;

/* A tree with two directories, a file, and links. */
static int make(void **state)
{
	if (!mkdtemp(place) || (tree = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	int file = mkdirat(tree, "a", 0700) < 0 || mkdirat(tree, "b", 0700) < 0 ? -1 :
		openat(tree, "b/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return file < 0 || close(file) < 0 || symlinkat("../b", tree, "a/up") < 0 ||
		symlinkat("/b", tree, "a/down") < 0 || symlinkat("../../..", tree, "a/out") < 0 ||
		symlinkat("/proc/self/fd", tree, "magic") < 0;
}

/* Removes it. */
static int clear(void **state)
{
	static const char *const names[] = { "a/up", "a/down", "a/out", "magic", "b/file" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlinkat(tree, names[i], 0);
	unlinkat(tree, "a", AT_REMOVEDIR);
	unlinkat(tree, "b", AT_REMOVEDIR);
	close(tree);
	return rmdir(place);
}

/* What a path comes to: 0, or a negative errno. */
static int look(const char *path, unsigned how)
{
	int fd = resolve_open(tree, path, PATH, how);

	return fd < 0 ? fd : close(fd);
}

/* A link that leads out. */
static void stays_below(void **state)
{
	assert_int_equal(look("a/up/file", RESOLVE_BENEATH), 0);
	assert_int_equal(look("a/down/file", RESOLVE_BENEATH), -EXDEV);
	assert_int_equal(look("a/out", RESOLVE_BENEATH), -EXDEV);
	assert_int_equal(look("b/none", RESOLVE_BENEATH), -ENOENT);
}

/* The directory is the root: links and ".." end there. */
static void is_a_root(void **state)
{
	struct stat root, found;

	assert_int_equal(look("a/up/file", RESOLVE_IN_ROOT), 0);
	assert_int_equal(look("a/down/file", RESOLVE_IN_ROOT), 0);
	assert_int_equal(look("/b/file", RESOLVE_IN_ROOT), 0);
	int fd = resolve_open(tree, "a/out/../..", PATH, RESOLVE_IN_ROOT);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &found), 0);
	assert_int_equal(fstat(tree, &root), 0);
	assert_int_equal(found.st_ino, root.st_ino);
	close(fd);
	assert_int_equal(look("magic", RESOLVE_IN_ROOT), -ENOENT);
}

/* Renames a file to and fro until it is killed. */
static void rename_for_ever(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		renameat(tree, "b/file", tree, "b/other");
		renameat(tree, "b/other", tree, "b/file");
	}
}

/* While somebody renames, the kernel cannot always tell where ".." leads. */
static void bears_renaming(void **state)
{
	unsigned wrong = 0;
	pid_t child = fork();

	if (child == 0)
		rename_for_ever();
	for (int i = 0; i < 100000; i++)
		wrong += look("a/up", RESOLVE_BENEATH) != 0;
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	renameat(tree, "b/other", tree, "b/file");
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stays_below),
		cmocka_unit_test(is_a_root),
		cmocka_unit_test(bears_renaming),
	};

	return cmocka_run_group_tests(tests, make, clear);
}
