/* SPDX-License-Identifier: MIT */
/*
 * launch.c and child.c. This program is its own launcher, and some of the programs
 * that it starts: with the argument of ROLE it acts as a parent that has a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "backends/base/text.h"
#include "backends/process/child.h"
#include "backends/process/launch.h"

#define ROLE "--as-parent"

struct run {
	uv_loop_t loop;
	struct child *child;
	struct text out;
	unsigned exits;
	int status, signal;
	const char *stop_at;	/* output at which it is stopped */
};

static void on_output(void *data, const void *bytes, size_t size)
{
	struct run *run = data;

	text_append(&run->out, bytes, size);
	if (run->stop_at && strstr(run->out.data, run->stop_at)) {
		run->stop_at = NULL;
		child_stop(run->child, SIGTERM, 100);
	}
}

static void on_exited(void *data, int status, int signal)
{
	struct run *run = data;

	run->exits++;
	run->status = status;
	run->signal = signal;
	child_free(run->child);
}

/* Starts a shell with this script. */
static void begin(struct run *run, const char *script, uint64_t limit_ms)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	struct child_options options = {
		.argv = argv,
		.limit_ms = limit_ms,
		.output = on_output,
		.exited = on_exited,
		.data = run,
	};
	struct poolfs_err err = { "" };

	assert_int_equal(uv_loop_init(&run->loop), 0);
	if (child_start(&run->loop, &options, &run->child, &err) < 0)
		fail_msg("%s", err.text);
}

static void end(struct run *run)
{
	uv_run(&run->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&run->loop), 0);
	text_done(&run->out);
}

static void output_and_status_arrive(void **state)
{
	struct run run = { 0 };

	begin(&run, "echo out; echo err >&2; exit 3", 0);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	assert_string_equal(run.out.data, "out\nerr\n");
	assert_int_equal(run.exits, 1);
	assert_int_equal(run.status, 3);
	assert_int_equal(run.signal, 0);
	end(&run);
}

static void much_output_arrives_before_the_end(void **state)
{
	struct run run = { 0 };

	begin(&run, "head -c 3000000 /dev/zero", 0);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	assert_int_equal(run.out.size, 3000000);
	end(&run);
}

static void nothing_is_inherited(void **state)
{
	struct run run = { 0 };
	int fd = dup2(STDERR_FILENO, 40);

	assert_int_equal(fd, 40);
	setenv("POOLFS_TEST_SECRET", "x", 1);
	begin(&run, "ls /proc/self/fd; env; cat; ps -o sid= -o pid= -p $$ | tr -s ' '", 0);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	assert_null(strstr(run.out.data, "40\n"));
	assert_null(strstr(run.out.data, "POOLFS_TEST_SECRET"));
	assert_non_null(strstr(run.out.data, "LC_ALL=C\n"));
	assert_non_null(strstr(run.out.data, "PATH="));
	/* ls itself has one more than 0 to 2, for the directory. */
	assert_true(strncmp(run.out.data, "0\n1\n2\n3\n", 8) == 0);
	assert_true(strncmp(run.out.data + 8, "4\n", 2) != 0);
	close(fd);
	end(&run);
}

static void signals_have_their_defaults(void **state)
{
	struct run run = { 0 };

	signal(SIGPIPE, SIG_IGN);
	begin(&run, "grep -E 'Sig(Blk|Ign)' /proc/self/status", 0);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	signal(SIGPIPE, SIG_DFL);
	assert_string_equal(run.out.data,
		"SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	end(&run);
}

static void a_missing_program_is_reported(void **state)
{
	const char *const argv[] = { "/nonexistent/program", "x", NULL };
	struct run run = { 0 };
	struct child_options options = { .argv = argv, .output = on_output, .exited = on_exited,
		.data = &run };
	struct poolfs_err err = { "" };
	char text[128];

	uv_loop_init(&run.loop);
	assert_int_equal(child_start(&run.loop, &options, &run.child, &err), 0);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	assert_int_equal(run.status, LAUNCH_FAILED);
	assert_non_null(strstr(run.out.data, "/nonexistent/program: No such file"));
	child_describe(text, sizeof(text), run.status, run.signal);
	assert_string_equal(text, "ended with status 127");
	options.launcher = "/nonexistent/launcher";
	assert_int_equal(child_start(&run.loop, &options, &run.child, &err), -ENOENT);
	assert_non_null(strstr(err.text, "cannot start"));
	assert_int_equal(run.exits, 1);
	end(&run);
}

static void a_stop_reaches_what_it_started(void **state)
{
	struct run run = { .stop_at = "ready" };

	begin(&run, "sh -c 'echo ready; sleep 60' & wait", 0);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	assert_int_equal(run.signal, SIGTERM);
	end(&run);
}

static void a_stop_that_is_ignored_becomes_a_kill(void **state)
{
	struct run run = { .stop_at = "ready" };

	begin(&run, "trap '' TERM; echo ready; while :; do sleep 60; done", 0);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	assert_int_equal(run.signal, SIGKILL);
	end(&run);
}

static void a_limit_ends_it(void **state)
{
	struct run run = { 0 };

	begin(&run, "sleep 60", 50);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	assert_int_equal(run.signal, SIGKILL);
	assert_int_equal(run.exits, 1);
	end(&run);
}

static void a_freed_child_is_ended_silently(void **state)
{
	struct run run = { 0 };

	begin(&run, "sleep 60", 0);
	child_free(run.child);
	end(&run);
	assert_int_equal(run.exits, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_launch_for_another_parent_fails(void **state)
{
	static const char *const bad[] = { "--parent=1", "--parent=x", "--keep=1", "--what" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			freopen("/dev/null", "w", stderr);
			execl("/proc/self/exe", "launch", LAUNCH_OPTION, bad[i], "true", NULL);
			_exit(1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WEXITSTATUS(status), LAUNCH_FAILED);
	}
}

static void a_kept_descriptor_stays(void **state)
{
	int ends[2], status;
	char bytes[8] = "";

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], 7);
		execl("/proc/self/exe", "launch", LAUNCH_OPTION, "--keep=7", "sh", "-c",
			"echo kept >&7", NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(ends[0], bytes, sizeof(bytes) - 1), 5);
	assert_string_equal(bytes, "kept\n");
	close(ends[0]);
	close(ends[1]);
}

/* Has a child that prints its number, and waits to be killed. */
static int be_parent(void)
{
	const char *const argv[] = { "sh", "-c", "echo $$; exec sleep 60", NULL };
	struct run run = { 0 };
	struct child_options options = { .argv = argv, .output = on_output, .exited = on_exited,
		.data = &run };

	uv_loop_init(&run.loop);
	if (child_start(&run.loop, &options, &run.child, NULL) < 0)
		return 1;
	while (!run.out.data || !strchr(run.out.data, '\n'))
		uv_run(&run.loop, UV_RUN_ONCE);
	if (write(STDOUT_FILENO, run.out.data, run.out.size) < 0)
		return 1;
	for (;;)
		pause();
}

static void a_child_dies_with_its_parent(void **state)
{
	char text[32] = "";
	int ends[2], status;

	/* Orphans come to us, so that their end can be waited for. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		execl("/proc/self/exe", "parent", ROLE, NULL);
		_exit(1);
	}
	assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
	pid_t grandchild = (pid_t)atoi(text);
	assert_true(grandchild > 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(waitpid(grandchild, &status, 0), grandchild);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	close(ends[0]);
	close(ends[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_status_arrive),
		cmocka_unit_test(much_output_arrives_before_the_end),
		cmocka_unit_test(nothing_is_inherited),
		cmocka_unit_test(signals_have_their_defaults),
		cmocka_unit_test(a_missing_program_is_reported),
		cmocka_unit_test(a_stop_reaches_what_it_started),
		cmocka_unit_test(a_stop_that_is_ignored_becomes_a_kill),
		cmocka_unit_test(a_limit_ends_it),
		cmocka_unit_test(a_freed_child_is_ended_silently),
		cmocka_unit_test(a_launch_for_another_parent_fails),
		cmocka_unit_test(a_kept_descriptor_stays),
		cmocka_unit_test(a_child_dies_with_its_parent),
	};

	if (argc > 1 && strcmp(argv[1], LAUNCH_OPTION) == 0)
		return launch_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], ROLE) == 0)
		return be_parent();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
