/* SPDX-License-Identifier: MIT */
/*
 * The qemu backend with a real QEMU and the guest image of mkguest.sh, which
 * POOLFS_TEST_GUEST names.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/process/launch.h"
#include "backends/qemu/qemu.h"
#include "backends/qemu/trial.h"
#include "tests/qemu/machine.h"

/* A boot without KVM, on a machine that does much else. */
#define BOOT_SECONDS 90

static const char *guest;

/* Opens a machine that boots the guest; more settings may be added, ended by NULL. */
static struct poolfs_machine *open_guest(const char *first, ...)
{
	const char *settings[8] = { NULL };
	char *kernel = memory_format("kernel=%s/kernel", guest);
	char *initrd = memory_format("initrd=%s/initrd.img", guest);
	size_t count = 2;
	va_list list;

	settings[0] = kernel;
	settings[1] = initrd;
	va_start(list, first);
	for (const char *next = first; next && count < 7; next = va_arg(list, const char *))
		settings[count++] = next;
	va_end(list);
	struct poolfs_machine *machine = machine_open(settings);
	free(kernel);
	free(initrd);
	return machine;
}

static void boot(struct poolfs_machine *machine)
{
	machine_start(machine);
	machine_wait(machine, machine_is_started, machine, BOOT_SECONDS, "start");
	if (machine->start.result < 0)
		fail_msg("start: %s", machine->start.text);
}

/* Runs a command in the guest by ssh, trying until its server is there. */
static int guest_run(struct poolfs_machine *machine, const char *command, struct text *out)
{
	struct poolfs_address address;
	struct poolfs_err err = { "" };

	assert_int_equal(qemu_backend.address(machine->state, &address, &err), 0);
	assert_null(address.known_hosts);
	char *key = memory_format("%s/id_ed25519", guest);
	char *port = memory_format("%u", address.port);
	const char *const argv[] = { "ssh", "-F", "none", "-i", key, "-p", port, "-l", "root",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
		"-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2",
		address.host, command, NULL };
	int status = 255;
	for (unsigned i = 0; i < BOOT_SECONDS / 2 && status == 255 && !machine->ends; i++)
		status = machine_run(machine, argv, out);
	free(key);
	free(port);
	return status;
}

/* Types a line when the console waits for one. */
static void type(struct poolfs_machine *machine, const char *line)
{
	machine_wait_console(machine, "press Enter", BOOT_SECONDS);
	assert_int_equal(qemu_backend.console_write(machine->state, "\r", 1), 1);
	machine_wait_console(machine, "# ", 30);
	assert_int_equal(qemu_backend.console_write(machine->state, line, strlen(line)),
		(int)strlen(line));
}

static void finish(struct poolfs_machine *machine)
{
	machine_stop(machine);
	machine_close(machine);
}

/* QEMU runs; its guest has just begun to boot. */
static bool is_launched(void *machine)
{
	return machine_status(machine, "pid") != NULL;
}

static void boots_and_logs_in(void **state)
{
	struct poolfs_machine *machine = open_guest(NULL);
	struct text out = { 0 };

	boot(machine);
	assert_non_null(machine_status(machine, "address"));
	const char *accelerator = machine_status(machine, "accelerator");
	assert_true(strcmp(accelerator, "kvm") == 0 || strcmp(accelerator, "tcg") == 0);
	machine_wait_console(machine, "Linux version", 30);
	assert_int_equal(guest_run(machine, "echo hello; pwd; hostname; test -c /dev/ptmx", &out),
		0);
	assert_string_equal(out.data, "hello\n/root\none\n");
	assert_int_equal(guest_run(machine, "exit 7", &out), 7);
	assert_int_equal(machine->ends, 0);
	assert_int_equal(access("qemu-console.sock", F_OK), -1);
	assert_int_equal(access("qemu-qmp.sock", F_OK), -1);
	text_done(&out);
	finish(machine);
}

/* QEMU runs with its filter of system calls, where it has one. */
static void qemu_is_in_its_sandbox(void **state)
{
	struct poolfs_machine *machine = open_guest(NULL);
	struct text out = { 0 };

	machine_start(machine);
	machine_wait(machine, is_launched, machine, 60, "QEMU");
	char *path = memory_format("/proc/%s/status", machine_status(machine, "pid"));
	const char *const argv[] = { "grep", "Seccomp:", path, NULL };
	machine_run(machine, argv, &out);
	if (!machine->log.data || !strstr(machine->log.data, "no sandbox"))
		assert_string_equal(out.data, "Seccomp:\t2\n");
	free(path);
	text_done(&out);
	finish(machine);
}

/* Where files for a while go. */
static const char *temporary(void)
{
	const char *directory = getenv("TMPDIR");

	return directory && *directory ? directory : "/tmp";
}

/* A disk without kernel; its boot sector prints a line and resets. */
static void a_disk_boots(void **state)
{
	struct utsname host;
	struct poolfs_err err = { "" };
	char *path = memory_format("%s/poolfs-test-disk.%d", temporary(), (int)getpid());
	char *disk = memory_format("disk=%s", path);
	const char *const settings[] = { disk, "disk_format=raw", NULL };

	uname(&host);
	if (strcmp(host.machine, "x86_64") == 0) {
		assert_int_equal(trial_write(path, &err), 0);
		struct poolfs_machine *machine = machine_open(settings);
		machine_start(machine);
		machine_wait(machine, machine_has_ended, machine, BOOT_SECONDS, "the end");
		assert_string_equal(machine->console.data, TRIAL_SIGN "\n");
		assert_non_null(strstr(machine->end, "reset itself"));
		finish(machine);
		unlink(path);
	}
	free(path);
	free(disk);
}

/* Does a command in the guest that speaks to this port of the host hear what is said there? */
static bool guest_hears(const char *network)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct poolfs_machine *machine = open_guest(network, NULL);
	struct text out = { 0 };

	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(listen(listener, 4), 0);
	boot(machine);
	/* A connection is enough: the kernel accepts it. */
	char *command = memory_format("sleep 9 | nc 10.0.2.2 %u & n=0;"
		"while [ $n -lt 30 ]; do"
		" grep -q ':%04X 01 ' /proc/net/tcp && echo connected && break;"
		"n=$((n+1)); usleep 100000; done; killall sleep",
		ntohs(address.sin_port), ntohs(address.sin_port));
	guest_run(machine, command, &out);
	bool hears = out.data && strstr(out.data, "connected");
	free(command);
	text_done(&out);
	finish(machine);
	close(listener);
	return hears;
}

static void isolated_guest_does_not_reach_the_host(void **state)
{
	assert_false(guest_hears("network=isolated"));
	assert_true(guest_hears("network=user"));
}

static void end_of_qemu_is_noticed(void **state)
{
	struct poolfs_machine *machine = open_guest(NULL);

	boot(machine);
	pid_t pid = (pid_t)atoi(machine_status(machine, "pid"));
	assert_true(pid > 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	machine_wait(machine, machine_has_ended, machine, 2, "the end of QEMU");
	assert_int_equal(machine->how, POOLFS_ENDED_STOPPED);
	assert_non_null(strstr(machine->end, "signal 9"));
	assert_true(qemu_backend.console_write(machine->state, "x", 1) < 0);
	machine_stop(machine);
	assert_int_equal(machine->ends, 1);
	machine_close(machine);
}

static void end_of_qemu_during_the_boot_is_noticed(void **state)
{
	struct poolfs_machine *machine = open_guest(NULL);

	machine_start(machine);
	machine_wait(machine, is_launched, machine, 30, "QEMU");
	assert_int_equal(kill((pid_t)atoi(machine_status(machine, "pid")), SIGKILL), 0);
	machine_wait(machine, machine_has_ended, machine, 2, "the end of QEMU");
	assert_true(machine->start.is_done);
	assert_int_equal(machine->start.result, -EIO);
	assert_non_null(strstr(machine->start.text, "signal 9"));
	machine_stop(machine);
	assert_int_equal(machine->ends, 1);
	machine_close(machine);
}

/* A process that is stopped by a signal, or hangs, ends all the same. */
static void a_frozen_qemu_is_ended(void **state)
{
	struct poolfs_machine *machine = open_guest(NULL);

	machine_start(machine);
	machine_wait(machine, is_launched, machine, 30, "QEMU");
	assert_int_equal(kill((pid_t)atoi(machine_status(machine, "pid")), SIGSTOP), 0);
	machine_stop(machine);
	assert_int_equal(machine->ends, 0);
	machine_close(machine);
}

static void power_off_is_noticed(void **state)
{
	struct poolfs_machine *machine = open_guest(NULL);

	boot(machine);
	type(machine, "poweroff -f\n");
	machine_wait(machine, machine_has_ended, machine, 30, "power off");
	assert_int_equal(machine->how, POOLFS_ENDED_STOPPED);
	assert_string_equal(machine->end, "the guest powered off");
	assert_non_null(strstr(machine->console.data, "Power down"));
	machine_stop(machine);
	assert_int_equal(machine->ends, 1);
	machine_close(machine);
}

static void panic_is_noticed(void **state)
{
	struct poolfs_machine *machine = open_guest(NULL);
	struct text out = { 0 };

	boot(machine);
	if (guest_run(machine, "test -d /sys/module/pvpanic", &out) == 0) {
		type(machine, "echo c >/proc/sysrq-trigger\n");
		machine_wait(machine, machine_has_ended, machine, 30, "a panic");
		assert_int_equal(machine->how, POOLFS_ENDED_CRASHED);
		machine_wait_console(machine, "Kernel panic", 5);
	}
	text_done(&out);
	finish(machine);
}

static void early_panic_is_noticed(void **state)
{
	struct utsname host;

	uname(&host);
	struct poolfs_machine *machine = open_guest(strcmp(host.machine, "aarch64") == 0 ?
		"append=console=ttyAMA0 panic=-1 rdinit=/nonexistent" :
		"append=console=ttyS0 panic=-1 rdinit=/nonexistent", NULL);

	machine_start(machine);
	machine_wait(machine, machine_has_ended, machine, BOOT_SECONDS, "a panic");
	assert_int_equal(machine->how, POOLFS_ENDED_STOPPED);
	assert_non_null(strstr(machine->end, "panic"));
	assert_true(machine->start.is_done);
	assert_int_equal(machine->start.result, -EIO);
	assert_non_null(strstr(machine->console.data, "Kernel panic"));
	finish(machine);
}

static void disk_is_written_in_an_overlay(void **state)
{
	char *path = memory_format("%s/poolfs-test,with commas.%d", temporary(),
		(int)getpid());
	char *disk = memory_format("disk=%s", path);
	FILE *file = fopen(path, "we");
	struct text out = { 0 };

	assert_non_null(file);
	fputs("base image", file);
	assert_int_equal(ftruncate(fileno(file), 1 << 20), 0);
	fclose(file);
	struct poolfs_machine *machine = open_guest(disk, "disk_format=raw", NULL);
	boot(machine);
	assert_int_equal(guest_run(machine, "head -c 10 /dev/vda; echo; "
		"echo other text >/dev/vda; sync; echo 3 >/proc/sys/vm/drop_caches; "
		"head -c 10 /dev/vda; blockdev --getsize64 /dev/vda", &out), 0);
	assert_string_equal(out.data, "base image\nother text1048576\n");
	finish(machine);
	file = fopen(path, "re");
	char content[16] = "";
	assert_non_null(fgets(content, 11, file));
	assert_string_equal(content, "base image");
	fclose(file);
	unlink(path);
	free(path);
	free(disk);
	text_done(&out);
}

static void qemu_that_cannot_start_says_why(void **state)
{
	struct poolfs_machine *machine = open_guest("machine=no-such-machine", "accel=tcg", NULL);

	machine_start(machine);
	machine_wait(machine, machine_is_started, machine, 30, "start");
	assert_int_equal(machine->start.result, -EIO);
	assert_non_null(strstr(machine->start.text, "ended with status 1"));
	assert_non_null(strstr(machine->start.text, "machine"));
	finish(machine);
	machine = open_guest("accel=tcg", NULL);
	machine_start(machine);
	machine->start.cancel(machine->start.cancel_data);
	assert_true(machine->start.is_done);
	assert_int_equal(machine->start.result, -ECANCELED);
	assert_int_equal(machine->ends, 0);
	finish(machine);
}

struct turns {
	struct poolfs_machine *machine;
	unsigned left;
};

static bool turns_are_over(void *data)
{
	struct turns *turns = data;

	if (turns->left > 0)
		turns->left--;
	return turns->left == 0 || turns->machine->start.is_done;
}

static void stops_at_every_point(void **state)
{
	static const char *const accels[] = { "accel=auto", "accel=tcg" };

	for (unsigned i = 0; i < 12; i++) {
		struct poolfs_machine *machine = open_guest(accels[i % 2], NULL);
		struct turns turns = { machine, i * i + 1 };

		machine_start(machine);
		machine_wait(machine, turns_are_over, &turns, 30, "turns of the loop");
		finish(machine);
	}
}

/* 77 for the test runner: skipped. */
static int skipped(const char *reason)
{
	printf("skipped: %s\n", reason);
	return 77;
}

int main(int argc, char **argv)
{
	/* As the shim does: QEMU may close a socket that is being written to. */
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boots_and_logs_in),
		cmocka_unit_test(qemu_is_in_its_sandbox),
		cmocka_unit_test(isolated_guest_does_not_reach_the_host),
		cmocka_unit_test(end_of_qemu_is_noticed),
		cmocka_unit_test(end_of_qemu_during_the_boot_is_noticed),
		cmocka_unit_test(a_frozen_qemu_is_ended),
		cmocka_unit_test(power_off_is_noticed),
		cmocka_unit_test(panic_is_noticed),
		cmocka_unit_test(early_panic_is_noticed),
		cmocka_unit_test(disk_is_written_in_an_overlay),
		cmocka_unit_test(a_disk_boots),
		cmocka_unit_test(qemu_that_cannot_start_says_why),
		cmocka_unit_test(stops_at_every_point),
	};

	if (argc > 1 && strcmp(argv[1], LAUNCH_OPTION) == 0)
		return launch_main(argc, argv);
	guest = getenv("POOLFS_TEST_GUEST");
	if (!guest || !*guest)
		return skipped("POOLFS_TEST_GUEST names no guest image (poolfs-mkguest makes one)");
	if (system("command -v qemu-system-$(uname -m) qemu-img ssh >/dev/null") != 0)
		return skipped("QEMU, qemu-img or ssh is not installed");
	machine_init();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (failed == 0)
		machine_done();
	return failed;
}
