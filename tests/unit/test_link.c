/* SPDX-License-Identifier: MIT */
/* Which targets of links stay inside files/, and how they are written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/protocol/link.h"

/* One link. */
static void expect(const char *root, const char *path, const char *target, const char *result)
{
	char out[FILES_PATH_MAX + 1];
	int error = link_contain(root, path, target, strlen(target), out);

	if (!result) {
		if (error != -EPERM)
			fail_msg("%s -> %s in %s: %d, not refused", path, target, root, error);
		return;
	}
	if (error || strcmp(out, result) != 0)
		fail_msg("%s -> %s in %s: %d %s, not %s", path, target, root, error,
			error ? "" : out, result);
}

/* Relative targets. */
static void test_relative(void **state)
{
	expect("/root", "a", "b", "b");
	expect("/root", "a", "./b//c/.", "./b//c/.");
	expect("/root", "a", "b/", "b/");
	expect("/root", "a/l", "./../b", "./../b");
	expect("/root", "a", "./b/../c//d/", "c/d");
	expect("/root", "a", ".", ".");
	expect("/root", "a", "b/..", ".");
	expect("/root", "a", "b/../c", "c");
	expect("/root", "a", "..", NULL);
	expect("/root", "a", "../x", NULL);
	expect("/root", "a", "b/../../x", NULL);
	expect("/root", "a/l", "../x", "../x");
	expect("/root", "a/l", "..", "..");
	expect("/root", "a/l", "b/../../x", "../x");
	expect("/root", "a/l", "../../x", NULL);
	expect("/root", "a/l", "../a/../../x", NULL);
	expect("/root", "a/b/l", "../../x", "../../x");
	expect("/root", "a/b/l", "../../../root/x", NULL);
	expect("/root", "a", "...", "...");
	expect("/root", "a", "..x/y", "..x/y");
	expect("/", "a", "../x", NULL);
}

/* Absolute targets. */
static void test_absolute(void **state)
{
	expect("/root", "a", "/root/x", "x");
	expect("/root", "a", "/root", ".");
	expect("/root", "a", "/root/", ".");
	expect("/root", "a", "//root/./x", "x");
	expect("/root", "a/b/l", "/root/x/y", "../../x/y");
	expect("/root", "a/b/l", "/root", "../..");
	expect("/root", "a", "/etc/../root/x", "x");
	expect("/root", "a", "/rootx", NULL);
	expect("/root", "a", "/roo", NULL);
	expect("/root", "a", "/", NULL);
	expect("/root", "a", "/etc/passwd", NULL);
	expect("/root", "a", "/root/../etc/passwd", NULL);
	expect("/root", "a", "/../root/x", "x");
	expect("/home/u", "a", "/home/u/x", "x");
	expect("/home/u", "a", "/home/ux", NULL);
	expect("/home/u", "a", "/home", NULL);
	expect("/", "d/a", "/etc/passwd", "../etc/passwd");
	expect("/", "d/a", "/", "..");
	expect("/", "a", "/../../x", "x");
}

/* What is no path, and what is too long. */
static void test_bad(void **state)
{
	char out[FILES_PATH_MAX + 1], longest[FILES_PATH_MAX + 2];
	char path[FILES_PATH_MAX + 1];

	assert_int_equal(link_contain("/root", "a", "", 0, out), -EIO);
	assert_int_equal(link_contain("/root", "a", "x\0y", 3, out), -EIO);
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(link_contain("/r", "a", longest, FILES_PATH_MAX + 1, out), -ENAMETOOLONG);
	assert_int_equal(link_contain("/r", "a", longest, FILES_PATH_MAX, out), 0);
	assert_int_equal(strlen(out), FILES_PATH_MAX);
	memcpy(longest, "/r/", 3);
	assert_int_equal(link_contain("/r", "a", longest, FILES_PATH_MAX, out), 0);
	for (size_t i = 0; i + 1 < sizeof(path); i++)
		path[i] = i % 2 ? '/' : 'd';
	path[FILES_PATH_MAX] = '\0';
	assert_int_equal(link_contain("/r", path, longest, 100, out), -ENAMETOOLONG);
	for (size_t i = 0; i < FILES_PATH_MAX; i++)
		longest[i] = i % 3 == 2 ? '/' : '.';
	assert_int_equal(link_contain("/r", "a/b", longest, FILES_PATH_MAX, out), -EPERM);
}

/* Whatever the target, the result never leaves: the depth never falls below the root. */
static void test_random(void **state)
{
	static const char *const parts[] = { "..", ".", "", "a", "root", "..." };
	char out[FILES_PATH_MAX + 1], target[64];

	srand(1);
	for (int round = 0; round < 200000; round++) {
		int depth = 2, count = rand() % 9;

		target[0] = '\0';
		for (int i = 0; i < count; i++) {
			strcat(target, parts[rand() % 6]);
			strcat(target, "/");
		}
		if (link_contain("/root/a", "x/y/l", target, strlen(target), out))
			continue;
		assert_int_not_equal(out[0], '/');
		for (char *part = strtok(out, "/"); part; part = strtok(NULL, "/")) {
			depth += strcmp(part, "..") ? 1 : -1;
			assert_true(depth >= 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relative),
		cmocka_unit_test(test_absolute),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
