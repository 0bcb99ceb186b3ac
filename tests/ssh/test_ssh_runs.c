/* SPDX-License-Identifier: MIT */
/* The end of commands with all of their processes, their input, environment and terminal. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ssh/told.h"

#define LARGE (64u * 1048576u)

/* Asks for the end as the core does: TERM, then KILL. */
static void end_run(struct fixture *fixture, struct result *result, bool kill_too)
{
	ssh_transport.run_await_all(result->run);
	ssh_transport.run_signal(result->run, SIGTERM);
	if (kill_too)
		ssh_transport.run_signal(result->run, SIGKILL);
	await(fixture, &result->ended);
}

/* However a command resists, nothing of it goes on. kill: KILL is needed. */
static void ends(const char *text, unsigned count, bool kill_too, int status)
{
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	struct pids pids = start_told(&fixture, text, count, &result);

	end_run(&fixture, &result, kill_too);
	assert_true(all_dead(&pids));
	if (status) {
		assert_int_equal(result.state, RUN_SIGNALED);
		assert_int_equal(result.status, status);
	}
	result_done(&result);
	/* The connection is as good as before. */
	run(&fixture, "echo x", &result);
	assert_string_equal(result.out.data, "x\n");
	result_done(&result);
	fixture_close(&fixture);
}

static void test_end_by_term(void **state)
{
	ends("echo $$; exec sleep 1000", 1, false, 128 + SIGTERM);
}

static void test_end_that_ignores_term(void **state)
{
	ends("trap '' TERM; sleep 1000 & echo $!; echo $$; wait", 2, true, 128 + SIGKILL);
}

static void test_end_of_other_sessions(void **state)
{
	ends("setsid sh -c 'echo $$; exec sleep 1000' & echo $$; wait", 2, false, 0);
}

static void test_end_of_a_clean_environment(void **state)
{
	ends("env -i sleep 1000 & echo $!; echo $$; wait", 2, false, 0);
}

/* No environment, session, parent or descriptor of the command is left. */
static void test_end_of_the_detached(void **state)
{
	ends("(env -i setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1 </dev/null' &); echo $$; "
		"exec sleep 1000", 2, false, 0);
}

static void test_end_with_closed_output(void **state)
{
	/* A child that is forked while TERM is sent gets KILL. */
	ends("echo $$; exec >&- 2>&-; sleep 1000; sleep 1000", 1, true, 0);
}

/* The first process ends at TERM, the one that it leaves behind does not. */
static void test_end_of_what_is_left(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	struct pids pids = start_told(&fixture, "(trap '' TERM; exec setsid sh -c 'trap \"\" TERM; "
		"echo $$; exec sleep 1000 >/dev/null 2>&1') & echo $$; exec sleep 1000", 2, &result);

	ssh_transport.run_await_all(result.run);
	ssh_transport.run_signal(result.run, SIGTERM);
	for (unsigned i = 0; i < 500 && lives(pids.pid[0]) && lives(pids.pid[1]); i++)
		uv_run(&fixture.loop, UV_RUN_ONCE);
	assert_false(result.ended);
	assert_true(lives(pids.pid[0]) || lives(pids.pid[1]));
	ssh_transport.run_signal(result.run, SIGKILL);
	await(&fixture, &result.ended);
	assert_true(all_dead(&pids));
	result_done(&result);
	fixture_close(&fixture);
}

/* A chain in which each process starts the next one and ends. */
static void test_end_of_a_chain(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	start_told(&fixture, "echo $$; trap '' TERM; f() { sleep 0.01; f & }; f & wait; sleep 1000", 1,
		&result);
	end_run(&fixture, &result, true);
	result_done(&result);
	run(&fixture, "pgrep -fc '[f]() { sleep 0.01' || true", &result);
	assert_int_equal(atoi(result.out.data), 0);
	result_done(&result);
	fixture_close(&fixture);
}

/* A command that ends by itself may leave a daemon behind; a signal alone ends nothing else. */
static void test_daemons_stay(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	run(&fixture, "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!; exit 4", &result);
	struct pids pids = pids_of(&result);

	assert_int_equal(result.status, 4);
	assert_true(lives(pids.pid[0]));
	kill(pids.pid[0], SIGKILL);
	result_done(&result);
	fixture_close(&fixture);
}

/* Each process gets a signal once. */
static void test_signals(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };
	struct lines lines = { &result, 2 };

	fixture_open(&fixture, NULL, NULL);
	run_start(&fixture, "n=0; trap 'n=$((n+1)); echo got $n' USR1; echo $$; "
		"while [ $n -lt 2 ]; do sleep 0.02; done; echo end $n", &result);
	lines.count = 1;
	await_that(&fixture, has_lines, &lines);
	ssh_transport.run_signal(result.run, SIGUSR1);
	lines.count = 2;
	await_that(&fixture, has_lines, &lines);
	ssh_transport.run_signal(result.run, SIGUSR1);
	await(&fixture, &result.ended);
	assert_non_null(strstr(result.out.data, "\ngot 1\ngot 2\nend 2\n"));
	result_done(&result);
	fixture_close(&fixture);
}

/* Whether enough of them run. */
static bool six_run(void *data)
{
	const struct result *results = data;
	unsigned count = 0;

	for (unsigned i = 0; i < 12; i++)
		count += results[i].out.size > 0;
	return count >= 6;
}

/* One is ended while the server has no channel left. */
static void test_end_when_crowded(void **state)
{
	const char *lines[] = { "MaxSessions 10", NULL };
	struct fixture fixture;
	struct result results[12] = { 0 };
	unsigned running = 0;

	need_openssh();
	fixture_open(&fixture, lines, NULL);
	for (unsigned i = 0; i < 12; i++)
		run_start(&fixture, "trap '' TERM; echo $$; sleep 1000; sleep 1000", &results[i]);
	await_that(&fixture, six_run, results);
	struct pids pids = pids_of(&results[0]);
	end_run(&fixture, &results[0], true);
	assert_true(all_dead(&pids));
	assert_int_equal(results[0].status, 128 + SIGKILL);
	for (unsigned i = 11; i > 0; i--) {
		running += results[i].started;
		if (results[i].started)
			end_run(&fixture, &results[i], true);
		else
			ssh_transport.run_abandon(results[i].run);
		await(&fixture, &results[i].ended);
	}
	assert_true(running >= 6);
	fixture_close(&fixture);
	for (unsigned i = 0; i < 12; i++)
		result_done(&results[i]);
}

/* With one channel, the control shell has none while a command runs, and not even when that is given
 * up: the server counts it while it runs. It is killed through another connection. */
static void test_end_without_a_channel(void **state)
{
	const char *lines[] = { "MaxSessions 1", NULL };
	struct fixture fixture;
	struct result result = { 0 };

	need_openssh();
	fixture_open(&fixture, lines, NULL);
	struct pids pids = start_told(&fixture, "trap '' TERM; echo $$; sleep 1000; sleep 1000", 1,
		&result);
	ssh_transport.run_signal(result.run, SIGTERM);
	ssh_transport.run_abandon(result.run);
	await(&fixture, &result.ended);
	result_done(&result);
	await(&fixture, &fixture.down);
	connect_to(&fixture, fixture.known_hosts);
	await_that(&fixture, all_dead, &pids);
	await(&fixture, &fixture.up);
	run(&fixture, "echo x", &result);
	assert_string_equal(result.out.data, "x\n");
	result_done(&result);
	fixture_close(&fixture);
}

/* Runs a command and expects its output. */
static void expect(struct fixture *fixture, const struct transport_command *command, const char *out,
	int status)
{
	struct result result = { 0 };

	run_start_as(fixture, command, &result);
	await(fixture, &result.ended);
	assert_string_equal(result.out.data, out);
	assert_int_equal(result.status, status);
	result_done(&result);
}

/* Environment and directory, with short texts and with the longest. */
static void test_environment(void **state)
{
	static const size_t sizes[] = { 200, 40000, 131071 };
	struct fixture fixture;
	struct text environment = { 0 };
	struct result result = { 0 };

	fixture_open(&fixture, NULL, NULL);
	run(&fixture, "mkdir -p \"a b'c\"", &result);
	result_done(&result);
	for (unsigned i = 0; i < 2; i++) {
		text_printf(&environment, "A=it's \"$HOME\" `x`\\\nPATH=%s\nE=\n_b1=x=y\n", getenv("PATH"));
		for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
			struct text text = padded(sizes[k], "echo \"$A|$E|$_b1\"; pwd | tail -c 7; cat; exit 3");
			struct transport_command command = { .text = text.data, .size = text.size,
				.environment = environment.data, .environment_size = environment.size,
				.cwd = "a b'c" };

			expect(&fixture, &command, "it's \"$HOME\" `x`\\||x=y\n/a b'c\n", 3);
			text_done(&text);
		}
		/* Once more with one that is large. */
		text_printf(&environment, "LARGE=");
		while (environment.size < 60000)
			text_append(&environment, "'", 1);
		text_append(&environment, "\n", 1);
	}
	struct transport_command missing = { .text = "echo no", .size = 7, .cwd = "/no/where" };
	expect(&fixture, &missing, "", 255);
	text_done(&environment);
	fixture_close(&fixture);
}

/* Standard input: much, of a short and a long text; none; a reader that has enough. */
static void test_input(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };
	char *bytes = calloc(1, LARGE);

	fixture_open(&fixture, NULL, NULL);
	struct transport_command count = { .text = "wc -c", .size = 5, .input = true };
	run_start_as(&fixture, &count, &result);
	feed(&fixture, &result, bytes, LARGE);
	assert_int_equal(atol(result.out.data), LARGE);
	result_done(&result);
	struct text text = padded(131071, "wc -c");
	count.text = text.data;
	count.size = text.size;
	run_start_as(&fixture, &count, &result);
	feed(&fixture, &result, bytes, 1000000);
	assert_int_equal(atol(result.out.data), 1000000);
	result_done(&result);
	text_done(&text);
	struct transport_command copy = { .text = "cat", .size = 3, .input = true };
	result.count = true;
	run_start_as(&fixture, &copy, &result);
	feed(&fixture, &result, bytes, LARGE);
	assert_int_equal(result.total, LARGE);
	result_done(&result);
	struct transport_command head = { .text = "head -c1", .size = 8, .input = true };
	result.count = false;
	run_start_as(&fixture, &head, &result);
	feed(&fixture, &result, bytes, LARGE);
	assert_int_equal(result.out.size, 1);
	assert_int_equal(result.status, 0);
	result_done(&result);
	free(bytes);
	fixture_close(&fixture);
}

/* A terminal, its sizes, and a long text through it. */
static void test_terminal(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };
	struct lines lines = { &result, 1 };
	static const char resized[] = "stty size; read x; stty size; echo $x; test -t 0 -a -t 1 -a -t 2";
	struct transport_command command = { .text = resized, .size = sizeof(resized) - 1,
		.columns = 97, .rows = 31, .input = true };

	fixture_open(&fixture, NULL, NULL);
	run_start_as(&fixture, &command, &result);
	await_that(&fixture, has_lines, &lines);
	assert_string_equal(result.out.data, "31 97\r\n");
	ssh_transport.run_resize(result.run, 100, 50);
	assert_int_equal(ssh_transport.run_input(result.run, "typed\n", 6), 6);
	await(&fixture, &result.ended);
	assert_non_null(strstr(result.out.data, "50 100\r\ntyped\r\n"));
	assert_int_equal(result.status, 0);
	result_done(&result);
	struct text text = padded(131071, "stty size; stty -a | grep -c -- ' icanon'");
	command.text = text.data;
	command.size = text.size;
	expect(&fixture, &command, "31 97\r\n1\r\n", 0);
	text_done(&text);
	fixture_close(&fixture);
}

/* A login's shell that is none: commands and their end work as far as they can. */
static void test_other_shells(void **state)
{
	const char *lines[] = { "ForceCommand case \"$SSH_ORIGINAL_COMMAND\" in *exec*sh) exit 1;; "
		"*) eval \"$SSH_ORIGINAL_COMMAND\";; esac", NULL };
	struct fixture fixture;
	struct result result = { 0 };
	struct transport_command command = { .text = "true", .size = 4, .cwd = "/" };

	need_openssh();
	setenv("SSHD_SFTP", "none", 1);
	fixture_open(&fixture, lines, NULL);
	run(&fixture, "echo x; exit 3", &result);
	assert_string_equal(result.out.data, "x\n");
	assert_int_equal(result.status, 3);
	result_done(&result);
	run_start_as(&fixture, &command, &result);
	await(&fixture, &result.ended);
	assert_int_equal(result.state, RUN_LOST);
	assert_non_null(strstr(fixture.log.data, "a run is refused"));
	result_done(&result);
	struct pids pids = start_told(&fixture, "echo $$; exec sleep 1000", 1, &result);
	end_run(&fixture, &result, false);
	assert_int_equal(result.state, RUN_STOPPED);
	kill(pids.pid[0], SIGKILL);
	result_done(&result);
	fixture_close(&fixture);
	unsetenv("SSHD_SFTP");
}

/* One shell as the login's and as sh, with its own tools where it brings them. */
static void shell(const char *program)
{
	char directory[] = "/tmp/poolfs-shell-XXXXXX", line[256], command[512];
	const char *lines[] = { line, NULL };
	struct fixture fixture;
	struct result result = { 0 };

	assert_non_null(mkdtemp(directory));
	snprintf(command, sizeof(command), "cd %s; p=$(command -v %s) || exit 1; ln -s $p sh; "
		"test %s != busybox || for i in grep cat ps dd; do ln -s $p $i; done", directory,
		program, program);
	snprintf(line, sizeof(line), "ForceCommand export PATH=%s:$PATH SHELL=%s/sh; "
		"exec sh -c \"$SSH_ORIGINAL_COMMAND\"", directory, directory);
	if (system(command) == 0) {
		fixture_open(&fixture, lines, NULL);
		struct pids pids = start_told(&fixture, "trap '' TERM; setsid sh -c 'echo $$; "
			"exec env -i sleep 1000' & sleep 1000 & echo $!; (env -i setsid sh -c "
			"'echo $$; exec sleep 1000 >/dev/null 2>&1' &); echo $$; wait", 4, &result);
		end_run(&fixture, &result, true);
		assert_true(all_dead(&pids));
		assert_int_equal(result.status, 128 + SIGKILL);
		result_done(&result);
		struct text text = padded(131071, "echo \"$A\"; cat; exit 3");
		struct transport_command loaded = { .text = text.data, .size = text.size,
			.environment = "A=it's\n", .environment_size = 7, .input = true };
		run_start_as(&fixture, &loaded, &result);
		feed(&fixture, &result, "input\n", 6);
		assert_string_equal(result.out.data, "it's\ninput\n");
		assert_int_equal(result.status, 3);
		result_done(&result);
		text_done(&text);
		fixture_close(&fixture);
	}
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

/* The shells of most machines. */
static void test_shells(void **state)
{
	need_openssh();
	setenv("SSHD_SFTP", "none", 1);
	shell("dash");
	shell("busybox");
	shell("bash");
	unsetenv("SSHD_SFTP");
}

/* What a login script prints stays where it was. */
static void test_login_scripts(void **state)
{
	const char *lines[] = { "ForceCommand echo hello; printf no-newline; eval \"$SSH_ORIGINAL_COMMAND\"",
		NULL };
	struct fixture fixture;
	struct result result = { 0 };

	need_openssh();
	setenv("SSHD_SFTP", "none", 1);
	fixture_open(&fixture, lines, NULL);
	run(&fixture, "echo x", &result);
	assert_string_equal(result.out.data, "hello\nno-newlinex\n");
	result_done(&result);
	fixture_close(&fixture);
	unsetenv("SSHD_SFTP");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_end_by_term),
		cmocka_unit_test(test_end_that_ignores_term),
		cmocka_unit_test(test_end_of_other_sessions),
		cmocka_unit_test(test_end_of_a_clean_environment),
		cmocka_unit_test(test_end_of_the_detached),
		cmocka_unit_test(test_end_with_closed_output),
		cmocka_unit_test(test_end_of_what_is_left),
		cmocka_unit_test(test_end_of_a_chain),
		cmocka_unit_test(test_daemons_stay),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_end_when_crowded),
		cmocka_unit_test(test_end_without_a_channel),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_other_shells),
		cmocka_unit_test(test_login_scripts),
		cmocka_unit_test(test_shells),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
