/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "backends/protocol/states.h"

/* What must hold of any such table. */
static void the_table_is_sound(void **state)
{
	for (unsigned from = 0; from < INSTANCE_STATES; from++) {
		assert_non_null(states_name(from));
		assert_false(states_may_follow(from, from));
		/* Whatever it is doing, it can be destroyed; and then nothing follows. */
		assert_int_equal(states_may_follow(from, INSTANCE_CLOSING), from != INSTANCE_CLOSING);
		assert_false(states_may_follow(INSTANCE_CLOSING, from));
		for (unsigned to = 0; to < from; to++)
			assert_string_not_equal(states_name(from), states_name(to));
		/* What is over gets neither ready nor lost. */
		if (states_is_over(from)) {
			assert_false(states_may_follow(from, INSTANCE_READY));
			assert_false(states_may_follow(from, INSTANCE_LOST));
		}
	}
}

static void the_edges_that_users_rely_on(void **state)
{
	assert_true(states_may_follow(INSTANCE_BOOTING, INSTANCE_READY));
	assert_true(states_may_follow(INSTANCE_BOOTING, INSTANCE_FAILED));
	assert_true(states_may_follow(INSTANCE_READY, INSTANCE_LOST));
	assert_true(states_may_follow(INSTANCE_LOST, INSTANCE_READY));
	assert_true(states_may_follow(INSTANCE_LOST, INSTANCE_CRASHED));
	assert_false(states_may_follow(INSTANCE_READY, INSTANCE_FAILED));
	assert_false(states_may_follow(INSTANCE_STOPPED, INSTANCE_CRASHED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_sound),
		cmocka_unit_test(the_edges_that_users_rely_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
