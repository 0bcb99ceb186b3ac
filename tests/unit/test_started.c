/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/started.h"

static void a_process_has_one_start(void **state)
{
	unsigned long long start = started_at(getpid());

	assert_true(start > 0);
	/* A name that looks like the fields behind it. */
	assert_int_equal(prctl(PR_SET_NAME, ") Z 1 2 3 ("), 0);
	assert_true(started_at(getpid()) == start);
}

static void one_that_ended_has_none(void **state)
{
	siginfo_t info;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_true(pid > 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_true(started_at(pid) == 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(started_at(pid) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_has_one_start),
		cmocka_unit_test(one_that_ended_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
