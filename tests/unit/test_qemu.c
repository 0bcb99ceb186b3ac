/* SPDX-License-Identifier: MIT */
/* What the qemu backend does without QEMU: keys, command line, images, texts of the monitor. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/base/values.h"
#include "backends/qemu/args.h"
#include "backends/qemu/image.h"
#include "backends/qemu/qemu.h"
#include "backends/qemu/trial.h"
#include "backends/qemu/usernet.h"

static char directory[] = "/tmp/poolfs-qemu.XXXXXX";

/* Values of these "KEY=VALUE" settings, ended by NULL. */
static struct poolfs_values *values_of(const char *first, ...)
{
	struct poolfs_values *values = values_new(qemu_kind.tables);
	struct poolfs_err err = { "" };
	va_list list;

	va_start(list, first);
	for (const char *next = first; next; next = va_arg(list, const char *)) {
		const char *equals = strchr(next, '=');
		char *key = memory_format("%.*s", (int)(equals - next), next);

		if (values_set(values, key, equals + 1, directory, &err) < 0)
			fail_msg("%s: %s", next, err.text);
		free(key);
	}
	va_end(list);
	values_defaults(values, directory);
	return values;
}

/* The command line as one text, a line per word. */
static char *command_line(struct args *args)
{
	char **words = args_make(args);
	struct text text = { 0 };

	for (size_t i = 0; words[i]; i++)
		text_printf(&text, "%s\n", words[i]);
	args_free(words);
	return text.data;
}

static void has(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("no '%s' in:\n%s", part, text ? text : "");
}

static void has_not(const char *text, const char *part)
{
	if (!text || strstr(text, part))
		fail_msg("'%s' in:\n%s", part, text ? text : "");
}

static void a_machine_of_few_keys(void **state)
{
	struct poolfs_values *values = values_of("kernel=/k,ernel", "initrd=/a b,c",
		"program=/opt/qemu-system-x86_64", NULL);
	struct args args = { .values = values, .name = "a,b/c", .sandbox = true };
	char *line = command_line(&args);

	assert_int_equal(strncmp(line, "/opt/qemu-system-x86_64\n", 24), 0);
	has(line, "\n-nodefaults\n");
	has(line, "\n-no-user-config\n");
	has(line, "\n-no-reboot\n");
	has(line, "\n-kernel\n/k,ernel\n");
	has(line, "\n-initrd\n/a b,c\n");
	has(line, "\n-append\nconsole=ttyS0 panic=-1\n");
	has(line, "\n-machine\nq35\n");
	has(line, "\n-cpu\nmax\n");
	has(line, "\n-accel\ntcg");
	has(line, "\n-m\nsize=268435456b\n");
	has(line, "\n-name\nguest=a,,b/c\n");
	has(line, ",spawn=deny,");
	has(line, "restrict=on,hostname=c,hostfwd=tcp:127.0.0.1:0-:22\n");
	has(line, "\n-device\nvirtio-net-pci,netdev=net0,romfile=\n");
	has(line, "\n-device\npvpanic-pci\n");
	has(line, "\n-chardev\nsocket,id=console,server=off,path=qemu-console.sock\n");
	has_not(line, "blockdev");
	free(line);
	values_free(values);
}

static void a_machine_of_many_keys(void **state)
{
	struct poolfs_values *values = values_of("kernel=/k", "append=root=/dev/vda \"quoted, text\"",
		"disk=/dir/a,b\"c.img", "disk_format=raw", "memory=1G", "cpus=4", "machine=microvm",
		"cpu=Nehalem,+x2apic", "network=user", "ssh_port=2222", "firmware=/fw",
		"program=/opt/qemu-system-x86_64", "arguments=-device 'virtio-serial-device,id=x y'",
		NULL);
	struct args args = { .values = values, .name = "p/i", .kvm = true };
	char *line = command_line(&args);

	has(line, "\n-append\nroot=/dev/vda \"quoted, text\"\n");
	has(line, "\n-smp\n4\n");
	has(line, "\n-cpu\nNehalem,+x2apic\n");
	has(line, "\n-accel\nkvm\n");
	has(line, "\n-bios\n/fw\n");
	has(line, "restrict=off,hostname=i,hostfwd=tcp:127.0.0.1:0-:2222\n");
	has(line, "\n-device\nvirtio-net-device,netdev=net0\n");
	has(line, "\n-device\nvirtio-blk-device,drive=disk0\n");
	has(line, "\"filename\":\"/dir/a,b\\\"c.img\",\"read-only\":true");
	has(line, "\"driver\":\"raw\",\"read-only\":true");
	has(line, "\"filename\":\"disk.qcow2\"");
	has(line, "\n-device\nvirtio-serial-device,id=x y\n");
	has_not(line, "-pci");
	has_not(line, "-sandbox");
	free(line);
	values_free(values);
}

static void a_qcow2_image_has_nothing_below(void **state)
{
	struct poolfs_values *values = values_of("disk=/base.qcow2", NULL);
	struct args args = { .values = values, .name = "p/i" };
	char *line = command_line(&args);

	has(line, "\"backing\":null");
	has_not(line, "-append");
	free(line);
	values_free(values);
}

static void the_program_tells_the_architecture(void **state)
{
	struct poolfs_values *values = values_of("kernel=/k", "program=/x/qemu-system-aarch64", NULL);
	struct args args = { .values = values, .name = "p/i" };
	char *line = command_line(&args);
	struct utsname host;

	uname(&host);
	has(line, "\n-machine\nvirt");
	has(line, "console=ttyAMA0");
	assert_int_equal(args_is_native(values), strcmp(host.machine, "aarch64") == 0);
	free(line);
	values_free(values);
}

static void a_trial_is_alone(void **state)
{
	struct poolfs_values *values = values_of("kernel=/k", "initrd=/i", "disk=/d", "append=x",
		"arguments=-S", "program=/x/qemu-system-x86_64", "memory=1T", "cpus=64", NULL);
	struct args args = { .values = values, .name = "p/i", .purpose = ARGS_TRIAL, .kvm = true };
	char *line = command_line(&args);

	has(line, "\n-m\nsize=268435456b\n-smp\n1\n");
	has(line, "\n-append\nconsole=ttyS0 earlyprintk=serial,ttyS0 panic=-1\n");
	has(line, "\n-chardev\nstdio,id=console,signal=off\n");
	has_not(line, "-initrd");
	has_not(line, "-blockdev");
	has_not(line, "-netdev");
	has_not(line, "\n-S\n");
	free(line);
	values_free(values);
	values = values_of("disk=/d", "program=/x/qemu-system-x86_64", NULL);
	args.values = values;
	line = command_line(&args);
	has(line, "\"filename\":\"qemu-trial.img\"");
	has_not(line, "\"/d\"");
	free(line);
	values_free(values);
}

/* Writes a file with these bytes, padded with zeros to size. */
static char *file_of(const void *bytes, size_t length, off_t size)
{
	char *path = memory_format("%s/image", directory);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), (ssize_t)length);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
	return path;
}

/* What image_check says of such a file. */
static int check(const void *bytes, size_t length, off_t size, const char *format, uint64_t *disk,
	char *text)
{
	char *path = file_of(bytes, length, size);
	struct poolfs_err err = { "" };
	int result = image_check(path, format, disk, &err);

	strcpy(text, err.text);
	unlink(path);
	free(path);
	return result;
}

static void images_are_what_is_said(void **state)
{
	unsigned char header[104] = "QFI\xfb\0\0\0\3";
	char text[1024];
	uint64_t size = 0;

	header[31] = 0;
	header[29] = 0x10;	/* 1 MB, big-endian at 24 */
	assert_int_equal(check(header, 104, 4096, "qcow2", &size, text), 0);
	assert_int_equal(size, 1 << 20);
	assert_int_equal(check(header, 104, 4096, "raw", &size, text), 0);
	assert_int_equal(size, 4096);
	assert_int_equal(check("text", 4, 4, "qcow2", &size, text), -EINVAL);
	assert_non_null(strstr(text, "disk_format = raw"));
	assert_int_equal(check("", 0, 0, "raw", &size, text), -EINVAL);
	header[15] = 0x70;
	assert_int_equal(check(header, 104, 4096, "qcow2", &size, text), -EINVAL);
	assert_non_null(strstr(text, "backing file"));
	header[15] = 0;
	header[79] = 4;
	assert_int_equal(check(header, 104, 4096, "qcow2", &size, text), -EINVAL);
	assert_non_null(strstr(text, "another file"));
	header[79] = 0;
	memset(header + 24, 0xff, 8);
	assert_int_equal(check(header, 104, 4096, "qcow2", &size, text), -EINVAL);
	assert_non_null(strstr(text, "size"));
	header[7] = 9;
	assert_int_equal(check(header, 104, 4096, "qcow2", &size, text), -EINVAL);
	struct poolfs_err err;
	assert_int_equal(image_check("/nonexistent", "raw", &size, &err), -ENOENT);
}

static void keys_fit_together(void **state)
{
	static const struct {
		const char *settings[3];
		const char *text;
	} cases[] = {
		{ { "cpus=1", NULL }, "kernel: needed" },
		{ { "disk=/nonexistent", "initrd=/i", NULL }, "initrd: needs kernel" },
		{ { "disk=/nonexistent", "append=x", NULL }, "append: needs kernel" },
		{ { "disk=/nonexistent", NULL }, "disk: No such file" },
		{ { "kernel=/k", "disk=/\xff", NULL }, "UTF-8" },
		{ { "kernel=/k", NULL }, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct poolfs_values *values = values_of(cases[i].settings[0],
			cases[i].settings[1], NULL);
		struct poolfs_err err = { "" };
		int result = qemu_kind.check(values, &err);

		assert_int_equal(result < 0, cases[i].text != NULL);
		if (cases[i].text)
			has(err.text, cases[i].text);
		values_free(values);
	}
}

static void ports_are_found(void **state)
{
	static const char table[] = "Hub -1 (net0):\r\n"
		"  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
		"  TCP[ESTABLISHED]   17       127.0.0.1 40001       10.0.2.15    22     0     0\r\n"
		"  TCP[HOST_FORWARD]  13         0.0.0.0 40002       10.0.2.15    22     0     0\r\n"
		"  TCP[HOST_FORWARD]  12       127.0.0.1 40123       10.0.2.15    22     0     0\r\n"
		"  TCP[HOST_FORWARD]  14       127.0.0.1 40456               *  2222     0     0\r\n"
		"  UDP[HOST_FORWARD]  15       127.0.0.1 40789       10.0.2.15    53     0     0\r\n";

	assert_int_equal(usernet_port(table, 22), 40123);
	assert_int_equal(usernet_port(table, 2222), 40456);
	assert_int_equal(usernet_port(table, 53), 0);
	assert_int_equal(usernet_port("", 22), 0);
	assert_int_equal(usernet_port("\n\n", 22), 0);
	assert_int_equal(usernet_port(" TCP[HOST_FORWARD] 1 127.0.0.1 65536 10.0.2.15 22", 22), 0);
	assert_int_equal(usernet_port(" TCP[HOST_FORWARD] 1 127.0.0.1 65535 10.0.2.15 22", 22), 65535);
	assert_int_equal(usernet_port(" TCP[HOST_FORWARD] 1 127.0.0.1 -5 10.0.2.15 22", 22), 0);
	assert_int_equal(usernet_port(" TCP[HOST_FORWARD] 1 127.0.0.1 99999999999999 1.1.1.1 22", 22), 0);
	assert_int_equal(usernet_port(" TCP[HOST_FORWARD] 1 127.0.0.1", 22), 0);
}

static void long_lines_are_skipped(void **state)
{
	struct text text = { 0 };

	for (int i = 0; i < 10000; i++)
		text_printf(&text, "TCP[HOST_FORWARD] ");
	text_printf(&text, "\n  TCP[HOST_FORWARD]  12  127.0.0.1 7  10.0.2.15  22  0  0\n");
	assert_int_equal(usernet_port(text.data, 22), 7);
	text_done(&text);
}

static void a_trial_image_boots_on_a_pc(void **state)
{
	char *path = memory_format("%s/trial", directory);
	struct poolfs_err err = { "" };
	struct stat st;

	assert_int_equal(trial_write(path, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	assert_int_equal(unlink(path), 0);
	assert_true(trial_write("/nonexistent/trial", &err) < 0);
	free(path);
}

static int make_directory(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_of_few_keys),
		cmocka_unit_test(a_machine_of_many_keys),
		cmocka_unit_test(a_qcow2_image_has_nothing_below),
		cmocka_unit_test(the_program_tells_the_architecture),
		cmocka_unit_test(a_trial_is_alone),
		cmocka_unit_test(images_are_what_is_said),
		cmocka_unit_test(keys_fit_together),
		cmocka_unit_test(ports_are_found),
		cmocka_unit_test(long_lines_are_skipped),
		cmocka_unit_test(a_trial_image_boots_on_a_pc),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
