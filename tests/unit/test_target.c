/* SPDX-License-Identifier: MIT */
/* How machines that exist already are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "backends/remote/target.h"

static void test_right(void **state)
{
	static const struct {
		const char *word;
		struct target expected;
	} words[] = {
		{ "lab", { "", "", "lab", 0 } },
		{ "build1=root@10.0.0.1:2222", { "build1", "root", "10.0.0.1", 2222 } },
		{ "a=lab", { "a", "", "lab", 0 } },
		{ "pi@lab.example.org", { "", "pi", "lab.example.org", 0 } },
		{ "lab:65535", { "", "", "lab", 65535 } },
		{ "fe80::1%eth0", { "", "", "fe80::1%eth0", 0 } },
		{ "six=me@[::1]:22", { "six", "me", "::1", 22 } },
		{ "[::1]", { "", "", "::1", 0 } },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		struct target target;
		struct poolfs_err err = { "" };

		if (target_parse(words[i].word, &target, &err) < 0)
			fail_msg("%s", err.text);
		assert_string_equal(target.name, words[i].expected.name);
		assert_string_equal(target.user, words[i].expected.user);
		assert_string_equal(target.host, words[i].expected.host);
		assert_int_equal(target.port, words[i].expected.port);
	}
}

static void test_wrong(void **state)
{
	static const char *const words[] = { "", "=lab", "a=", "-a=lab", "pool.a=lab", "@lab", "a@",
		"lab:", "lab:0", "lab:65536", "lab:1x", "lab:+1", "lab: 1", "[::1", "[]:22", "[::1]22",
		"-oProxyCommand=x", "me@-x", "-l@lab", "a b", "la'b", "u'x@lab", "u\\x@lab", "$(x)",
		"a=b=lab", "a/b=lab" };
	char longest[600];

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		struct target target = { .name = "untouched" };
		struct poolfs_err err = { "" };

		if (target_parse(words[i], &target, &err) == 0)
			fail_msg("taken: %s", words[i]);
		assert_string_equal(target.name, "untouched");
		assert_true(strlen(err.text) > 0);
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	struct target target;
	assert_true(target_parse(longest, &target, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),
		cmocka_unit_test(test_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
