/* SPDX-License-Identifier: MIT */
/*
 * The trial of KVM, with scripts in the place of QEMU. They write down that they ran, so that
 * it shows when a verdict was remembered.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/base/values.h"
#include "backends/process/launch.h"
#include "backends/qemu/probe.h"
#include "backends/qemu/qemu.h"

#define BOOTS "echo 'Linux version 6'; echo 'Kernel panic - not syncing'; sleep 60"
#define STALLS "echo 'Probing EDD... ok'; exit 1"

static char directory[] = "/tmp/poolfs-probe.XXXXXX";

struct result {
	struct probe *probe;
	unsigned done;
	bool works;
	char why[256];
};

static void on_done(void *data, bool works, const char *why)
{
	struct result *result = data;

	result->done++;
	result->works = works;
	snprintf(result->why, sizeof(result->why), "%s", why);
	probe_free(result->probe);
}

static const struct probe_events events = { .done = on_done };

static char *program_path(void)
{
	struct utsname host;

	uname(&host);
	return memory_format("%s/qemu-system-%s", directory, host.machine);
}

/* Makes the emulator do this. */
static void emulate(const char *script)
{
	char *path = program_path();
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\necho run >>\"$0.runs\"\n%s\n", script);
	fclose(file);
	assert_int_equal(chmod(path, 0700), 0);
	free(path);
}

/* How often the emulator ran. */
static long runs(void)
{
	char *path = program_path(), *name = memory_format("%s.runs", path);
	struct stat st = { 0 };

	stat(name, &st);
	free(path);
	free(name);
	return (long)st.st_size / 4;
}

static struct poolfs_values *make_values(const char *key)
{
	struct poolfs_values *values = values_new(qemu_kind.tables);
	char *path = program_path();
	struct poolfs_err err = { "" };

	assert_int_equal(values_set(values, "program", path, directory, &err), 0);
	assert_int_equal(values_set(values, key, "/bin/sh", directory, &err), 0);
	values_defaults(values, directory);
	free(path);
	return values;
}

/* Asks count probes at once; stop_after: one is stopped in that turn of the loop, 0: none. */
static void ask(struct result *results, unsigned count, const char *key, unsigned stop_after)
{
	struct poolfs_values *values = make_values(key);
	uv_loop_t loop;

	uv_loop_init(&loop);
	memset(results, 0, count * sizeof(*results));
	for (unsigned i = 0; i < count; i++)
		probe_start(&loop, values, directory, &events, &results[i], &results[i].probe);
	for (unsigned i = 1; i < stop_after; i++)
		uv_run(&loop, UV_RUN_ONCE);
	if (stop_after && !results[0].done)
		probe_stop(results[0].probe);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(results[i].done, 1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	values_free(values);
}

static void many_ask_and_one_tries(void **state)
{
	struct result results[10];

	emulate(BOOTS);
	ask(results, 10, "kernel", 0);
	for (unsigned i = 0; i < 10; i++)
		assert_true(results[i].works);
	assert_int_equal(runs(), 1);
	ask(results, 1, "kernel", 0);
	assert_true(results[0].works);
	assert_int_equal(runs(), 1);
}

static void another_emulator_is_tried_again(void **state)
{
	struct result result;

	emulate(BOOTS);
	ask(&result, 1, "kernel", 0);
	emulate(STALLS);
	ask(&result, 1, "kernel", 0);
	assert_false(result.works);
	ask(&result, 1, "kernel", 0);
	assert_false(result.works);
	assert_non_null(strstr(result.why, "earlier"));
	assert_int_equal(runs(), 2);
}

/* How many files of that name there are. */
static int files(const char *pattern)
{
	char *command = memory_format("exit $(ls %s | grep -c '%s')", directory, pattern);
	int status = system(command);

	free(command);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void what_is_outdated_goes(void **state)
{
	struct result result;
	char *command = memory_format("cd %s; printf 'yes\n1234-5678\nkey' >kvm-boot; >kvm-empty; "
		"sed 's/^yes/no/' kvm-????????????????* >kvm-no; cp kvm-no kvm-expired; "
		"touch -d '2 hours ago' kvm-expired", directory);

	emulate("case $* in *trial.img*) echo 'poolfs trial';; *) " BOOTS ";; esac");
	ask(&result, 1, "kernel", 0);
	assert_int_equal(system(command), 0);
	assert_int_equal(files("^kvm-"), 5);
	ask(&result, 1, "disk", 0);
	assert_true(result.works);
	assert_int_equal(files("^kvm-[0-9a-f]\\{16\\}$"), 2);
	assert_int_equal(files("^kvm-no$"), 1);
	assert_int_equal(files("^kvm-"), 3);
	/* A changed emulator's verdict takes the place of what the old one had. */
	emulate(BOOTS);
	ask(&result, 1, "kernel", 0);
	assert_true(result.works);
	assert_int_equal(files("^kvm-"), 3);
	free(command);
}

static void a_machine_without_kernel_runs_the_trial(void **state)
{
	struct result result;

	emulate("test -s qemu-trial.img && echo 'poolfs trial'");
	ask(&result, 1, "disk", 0);
	assert_true(result.works);
	assert_int_equal(access("qemu-trial.img", F_OK), -1);
	emulate("echo 'Linux version'; echo 'Kernel panic'");
	ask(&result, 1, "disk", 0);
	assert_false(result.works);
}

static void a_flood_is_bounded(void **state)
{
	struct result result;

	emulate("timeout 5 yes | head -c 20000000; echo 'Linux version'; echo 'Kernel panic'");
	ask(&result, 1, "kernel", 0);
	assert_false(result.works);
}

static void it_stops_at_every_point(void **state)
{
	struct result results[2];

	emulate(BOOTS);
	for (unsigned turn = 1; turn < 8; turn++)
		ask(results, 2, "kernel", turn);
	/* Being stopped is no verdict. */
	ask(results, 1, "kernel", 0);
	assert_true(results[0].works);
}

static void a_verdict_that_is_broken_is_not_used(void **state)
{
	struct result result;
	char *command = memory_format("for f in %s/kvm-*; do echo no >$f; done", directory);

	emulate(BOOTS);
	ask(&result, 1, "kernel", 0);
	assert_int_equal(system(command), 0);
	ask(&result, 1, "kernel", 0);
	assert_true(result.works);
	assert_int_equal(runs(), 2);
	free(command);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return ftw->level > 0 ? remove(path) : 0;
}

static int clean(void **state)
{
	return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
#define TEST(function) cmocka_unit_test_teardown(function, clean)
	const struct CMUnitTest tests[] = {
		TEST(many_ask_and_one_tries),
		TEST(another_emulator_is_tried_again),
		TEST(what_is_outdated_goes),
		TEST(a_machine_without_kernel_runs_the_trial),
		TEST(a_flood_is_bounded),
		TEST(it_stops_at_every_point),
		TEST(a_verdict_that_is_broken_is_not_used),
	};

	if (argc > 1 && strcmp(argv[1], LAUNCH_OPTION) == 0)
		return launch_main(argc, argv);
	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		printf("skipped: no access to /dev/kvm\n");
		return 77;
	}
	if (!mkdtemp(directory) || chdir(directory) < 0)
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return rmdir(directory) < 0 ? 1 : failed;
}
