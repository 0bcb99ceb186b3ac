/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/base/grown.h"

struct two {
	uint32_t a, b;
};

struct three {
	uint32_t a, b, c;
};

static void what_an_older_side_lacks_is_zero(void **state)
{
	struct two from = { 1, 2 };
	struct three to = { 9, 9, 9 };

	assert_int_equal(grown_copy(&to, sizeof(to), &from, sizeof(from)), 0);
	assert_int_equal(to.a, 1);
	assert_int_equal(to.b, 2);
	assert_int_equal(to.c, 0);
}

static void what_a_newer_side_does_not_use_is_cut(void **state)
{
	struct three from = { 1, 2, 0 };
	struct two to = { 9, 9 };

	assert_int_equal(grown_copy(&to, sizeof(to), &from, sizeof(from)), 0);
	assert_int_equal(to.a, 1);
	assert_int_equal(to.b, 2);
}

static void what_is_not_known_is_refused(void **state)
{
	struct three from = { 1, 2, 3 };
	struct two to = { 9, 9 };

	assert_int_equal(grown_copy(&to, sizeof(to), &from, sizeof(from)), -E2BIG);
	assert_int_equal(grown_copy(&to, sizeof(to), &from, 0), -EINVAL);
	assert_int_equal(grown_copy(&to, sizeof(to), &from, GROWN_MAX + 1), -EINVAL);
	assert_int_equal(to.a, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_older_side_lacks_is_zero),
		cmocka_unit_test(what_a_newer_side_does_not_use_is_cut),
		cmocka_unit_test(what_is_not_known_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
