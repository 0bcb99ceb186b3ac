/* SPDX-License-Identifier: MIT */
/* The names of listings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "backends/base/names.h"

/* Adds a name of that number. */
static bool add(struct names *names, size_t *total, unsigned i)
{
	char name[16];
	int size = snprintf(name, sizeof(name), "%u", i);

	return names_add(names, total, name, (size_t)size);
}

/* Each is new once, however many there are. */
static void each_is_new_once(void **state)
{
	struct names names = { 0 }, other = { 0 };
	size_t total = 0;

	for (unsigned i = 0; i < 50000; i++) {
		assert_true(add(&names, &total, i));
		assert_false(add(&names, &total, i / 2));
	}
	assert_true(add(&other, &total, 7));
	assert_int_equal(total, 50001);
	assert_true(names_add(&other, &total, "", 0));
	assert_false(names_add(&other, &total, "", 0));
	names_done(&names, &total);
	assert_int_equal(total, 2);
	assert_true(add(&names, &total, 7));
	names_done(&names, &total);
	names_done(&other, &total);
	assert_int_equal(total, 0);
}

/* What is beyond the limit counts as new; what is kept is still found. */
static void memory_is_bounded(void **state)
{
	struct names names = { 0 }, other = { 0 };
	size_t total = 0;

	for (unsigned i = 0; i < 3 * NAMES_MAX; i++)
		assert_true(add(&names, &total, i));
	assert_int_equal(total, NAMES_MAX);
	assert_true(names.size <= 2 * NAMES_MAX);
	assert_false(add(&names, &total, 5));
	assert_true(add(&names, &total, 2 * NAMES_MAX));
	assert_true(add(&other, &total, 5));
	assert_true(add(&other, &total, 5));
	assert_int_equal(other.size, 0);
	names_done(&names, &total);
	names_done(&other, &total);
	assert_int_equal(total, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_new_once),
		cmocka_unit_test(memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
