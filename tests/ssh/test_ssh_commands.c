/* SPDX-License-Identifier: MIT */
/* Commands through the SSH transport, against a real server. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ssh/harness.h"

/* libssh2 1.10 loses the old host key (51 bytes) at every exchange of keys but the first. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libssh2.so\n";
}

/* How many descriptors this process has. */
static unsigned open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Exact bytes on both streams, and every kind of end. */
static void test_commands(void **state)
{
	static const struct {
		const char *text, *out, *err;
		enum run_state state;
		int status;
	} cases[] = {
		{ "true", "", "", RUN_EXITED, 0 },
		{ "exit 7", "", "", RUN_EXITED, 7 },
		{ "exit 255", "", "", RUN_EXITED, 255 },
		{ "printf a; printf 'c\\n' >&2; exit 3", "a", "c\n", RUN_EXITED, 3 },
		{ "echo \"one  'two'\"\necho three # '", "one  'two'\nthree\n", "", RUN_EXITED, 0 },
		{ "cat <<E\n$((1+1))\nE\n", "2\n", "", RUN_EXITED, 0 },
		{ "cat; echo end", "end\n", "", RUN_EXITED, 0 },
		{ "kill -TERM $$", "", "", RUN_SIGNALED, 128 + SIGTERM },
		{ "kill -KILL $$", "", "", RUN_SIGNALED, 128 + SIGKILL },
		{ "", "", "", RUN_EXITED, 0 },
		{ "exec >&- 2>&-; read x; sleep 0.2; exit 9", "", "", RUN_EXITED, 9 },
	};
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		run(&fixture, cases[i].text, &result);
		assert_int_equal(result.state, cases[i].state);
		assert_int_equal(result.status, cases[i].status);
		assert_string_equal(result.out.data, cases[i].out);
		assert_string_equal(result.err.data, cases[i].err);
		result_done(&result);
	}
	run(&fixture, "printf 'a\\0b'", &result);
	assert_int_equal(result.out.size, 3);
	assert_memory_equal(result.out.data, "a\0b", 3);
	result_done(&result);
	fixture_close(&fixture);
}

/* Commands start in files/, whatever its name; without the key, in the login's home. */
static void test_directory(void **state)
{
	const char *none[] = { "ssh_keepalive", "5", NULL };
	const char *missing[] = { "files", "/nowhere/at all", NULL };
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	run(&fixture, "pwd", &result);
	assert_memory_equal(result.out.data, fixture.home, strlen(fixture.home));
	result_done(&result);
	transport_again(&fixture, none);
	connect_to(&fixture, NULL);
	run(&fixture, "cd; pwd; cd - >/dev/null; pwd", &result);
	char *second = strchr(result.out.data, '\n') + 1;

	assert_memory_equal(result.out.data, second, strlen(second));
	result_done(&result);
	transport_again(&fixture, missing);
	connect_to(&fixture, NULL);
	run(&fixture, "echo not here", &result);
	assert_int_equal(result.status, 255);
	assert_int_equal(result.out.size, 0);
	result_done(&result);
	fixture_close(&fixture);
}

/* Texts beyond one packet, up to the longest. */
static void test_long_text(void **state)
{
	static const size_t sizes[] = { 31000, 32001, 40000, 131071 };
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct text text = { 0 };

		text_printf(&text, "x='");
		while (text.size < sizes[i] - 30)
			text_append(&text, "y", 1);
		text_printf(&text, "'; cat; echo \"${#x}\" $0");
		run(&fixture, text.data, &result);
		assert_int_equal(result.status, 0);
		assert_int_equal(atoi(result.out.data), strchr(text.data, ';') - text.data - 4);
		result_done(&result);
		text_done(&text);
	}
	fixture_close(&fixture);
}

/* The order of both streams, where the command leaves time between its writes. */
static void test_order(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	run(&fixture, "for i in 1 2 3 4 5; do echo o$i; sleep 0.02; echo e$i >&2; sleep 0.02; done",
		&result);
	assert_string_equal(result.both.data, "o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\n");
	result_done(&result);
	fixture_close(&fixture);
}

/* Ends of many runs. */
static bool all_ended(void *data)
{
	struct result *results = data;

	for (unsigned i = 0; i < 30; i++)
		if (!results[i].ended)
			return false;
	return true;
}

/* More at once than the server has channels; with only one, too. */
static void many(const char *limit)
{
	const char *lines[] = { limit, NULL };
	struct fixture fixture;
	struct result results[30] = { 0 };
	char text[64];

	fixture_open(&fixture, lines, NULL);
	for (unsigned i = 0; i < 30; i++) {
		snprintf(text, sizeof(text), "sleep 0.05; echo %u; exit %u", i, i);
		run_start(&fixture, text, &results[i]);
	}
	await_that(&fixture, all_ended, results);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(results[i].state, RUN_EXITED);
		assert_int_equal(results[i].status, i);
		assert_int_equal(atoi(results[i].out.data), i);
		result_done(&results[i]);
	}
	fixture_close(&fixture);
}

/* As OpenSSH comes. */
static void test_many(void **state)
{
	many("MaxSessions 10");
}

/* One channel, which files/ must not take away. */
static void test_many_by_one(void **state)
{
	many("MaxSessions 1");
}

/* Short ones, one after the other, leave nothing behind. */
static void test_sequence(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };
	unsigned before = 0;

	fixture_open(&fixture, NULL, NULL);
	for (unsigned i = 0; i < 200; i++) {
		run(&fixture, "true", &result);
		assert_int_equal(result.status, 0);
		result_done(&result);
		if (i == 10)
			before = open_descriptors();
	}
	assert_int_equal(open_descriptors(), before);
	fixture_close(&fixture);
}

/* Much output, beside another command and file requests. */
static void large(const char *line)
{
	const char *lines[] = { line, NULL };
	struct fixture fixture;
	struct result result = { .count = true }, other = { 0 };
	struct answer answer;

	fixture_open(&fixture, lines, NULL);
	run_start(&fixture, "head -c 67108864 /dev/zero", &result);
	for (unsigned i = 0; i < 20; i++) {
		run(&fixture, "echo x", &other);
		assert_string_equal(other.out.data, "x\n");
		result_done(&other);
		assert_int_equal(ask_path(&fixture, FILE_GETATTR, "", &answer), 0);
		answer_done(&answer);
	}
	await(&fixture, &result.ended);
	assert_int_equal(result.total, 67108864);
	assert_int_equal(result.status, 0);
	result_done(&result);
	fixture_close(&fixture);
}

/* With the keys of the connection. */
static void test_large(void **state)
{
	large("LogLevel INFO");
}

/* With new keys every few megabytes. */
static void test_rekeying(void **state)
{
	large("RekeyLimit 3M");
}

/* What still sleeps: libssh2 1.10 cannot ask for a signal. */
static void kill_sleep(struct result *result)
{
	if (result->out.size)
		kill(atoi(result->out.data), SIGKILL);
}

/* Whether a command told its number. */
static bool has_output(void *data)
{
	return ((struct result *)data)->out.size > 0;
}

/* A stop ends a run soon: running, or still in the queue. */
static void test_stop(void **state)
{
	const char *lines[] = { "MaxSessions 3", NULL };
	struct fixture fixture;
	struct result results[4] = { 0 };

	fixture_open(&fixture, lines, NULL);
	for (unsigned i = 0; i < 4; i++)
		run_start(&fixture, "echo $$; exec sleep 600", &results[i]);
	await_that(&fixture, has_output, &results[0]);
	ssh_transport.run_abandon(results[3].run);
	ssh_transport.run_abandon(results[0].run);
	assert_false(results[0].ended);
	await(&fixture, &results[0].ended);
	await(&fixture, &results[3].ended);
	assert_int_equal(results[0].state, RUN_STOPPED);
	assert_int_equal(results[3].state, RUN_STOPPED);
	assert_false(results[3].started);
	kill_sleep(&results[0]);
	for (unsigned i = 1; i < 3; i++) {
		await_that(&fixture, has_output, &results[i]);
		ssh_transport.run_abandon(results[i].run);
		await(&fixture, &results[i].ended);
		assert_int_equal(results[i].state, RUN_STOPPED);
		kill_sleep(&results[i]);
	}
	fixture_close(&fixture);
	for (unsigned i = 0; i < 4; i++)
		result_done(&results[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_many_by_one),
		cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_rekeying),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
