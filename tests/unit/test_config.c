/* SPDX-License-Identifier: MIT */
/* With the kinds of tests/config/kinds.c. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/base/values.h"
#include "backends/module/modules.h"
#include "config/config.h"

static struct modules *modules;

/* Makes a directory for the test and goes there. */
static int enter(void **state)
{
	char *directory = memory_string("/tmp/test_config.XXXXXX");

	*state = directory;
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

/* Removes what the tests make there. */
static int leave(void **state)
{
	static const char *const files[] = { "conf.ini", "disk", "mnt/disk", "link", "sub/disk",
		"loop", "under" };

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		unlink(files[i]);
	rmdir("mnt/sub");
	rmdir("mnt");
	rmdir("sub");
	int result = chdir("/") | rmdir(*state);
	free(*state);
	return result;
}

/* Writes a file. */
static void put(const char *name, const char *content)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

/* Loads conf.ini; gives NULL and one string with the errors, or the configuration. */
static struct config *load(const char *mount, char **errors)
{
	struct text text = { 0 };
	struct config *config = NULL;
	int result = config_load("conf.ini", mount, modules, &config, &text);

	assert_true((result == 0) == (config != NULL));
	assert_true((result == 0) == (text.size == 0));
	*errors = text.data;
	return config;
}

/* Loads conf.ini, which must give these errors. */
static void expect(const char *mount, const char *expected)
{
	char *errors;
	struct config *config = load(mount, &errors);

	assert_null(config);
	if (!strstr(errors, expected))
		fail_msg("\"%s\" is not in:\n%s", expected, errors);
	free(errors);
}

/* Loads conf.ini, which must be right. */
static struct config *load_good(const char *mount)
{
	char *errors;
	struct config *config = load(mount, &errors);

	if (!config)
		fail_msg("%s", errors);
	return config;
}

static void values_arrive(void **state)
{
	char *disk = memory_format("%s/disk", (char *)*state);
	char *file = memory_format("%s/conf.ini", (char *)*state);

	put("disk", "x");
	put("conf.ini", "[pool b]\ntype = machine\nimage = disk\nargs = -a 'b c'\n"
		"[poolfs]\nlog_level = debug\nworkdir = sub\n[pool a]\ntype = bare\ncount = 7\n");
	struct config *config = load_good(NULL);
	assert_string_equal(config->file, file);
	assert_int_equal(config->pool_count, 2);
	assert_string_equal(config->pools[0].name, "b");
	assert_string_equal(config->pools[0].kind->name, "machine");
	assert_string_equal(poolfs_string(config->pools[0].values, "image"), disk);
	assert_string_equal(poolfs_words(config->pools[0].values, "args")[1], "b c");
	assert_int_equal(poolfs_number(config->pools[0].values, "count"), 16);
	assert_int_equal(poolfs_number(config->pools[0].values, "delay"), 1500);
	assert_string_equal(config->pools[1].name, "a");
	assert_int_equal(poolfs_number(config->pools[1].values, "count"), 7);
	assert_string_equal(poolfs_string(config->daemon, "log_level"), "debug");
	assert_int_equal(poolfs_number(config->daemon, "allow_other"), 0);
	assert_true(poolfs_has(config->daemon, "workdir"));
	config_free(config);
	config_free(NULL);
	free(disk);
	free(file);
}

static void the_daemon_has_defaults(void **state)
{
	put("conf.ini", "[pool a]\ntype = bare\n");
	struct config *config = load_good("mnt");
	assert_string_equal(poolfs_string(config->daemon, "log_level"), "info");
	assert_false(poolfs_has(config->daemon, "workdir"));
	config_free(config);
}

static void log_levels_are_those_of_the_log(void **state)
{
	for (const struct poolfs_key *key = config_keys; key->name; key++) {
		if (strcmp(key->name, "log_level") != 0)
			continue;
		assert_string_equal(key->choices[LOG_LEVEL_ERROR], "error");
		assert_string_equal(key->choices[LOG_LEVEL_WARNING], "warning");
		assert_string_equal(key->choices[LOG_LEVEL_INFO], "info");
		assert_string_equal(key->choices[LOG_LEVEL_DEBUG], "debug");
		assert_null(key->choices[LOG_LEVEL_DEBUG + 1]);
	}
}

static void files_that_are_none(void **state)
{
	struct text errors = { 0 };
	struct config *config = NULL;

	assert_int_equal(config_load("/nowhere/x.ini", NULL, modules, &config, &errors), -ENOENT);
	assert_string_equal(errors.data,
		"/nowhere/x.ini: cannot be read: No such file or directory\n");
	text_done(&errors);
	assert_int_equal(config_load("/tmp", NULL, modules, &config, &errors), -EISDIR);
	assert_string_equal(errors.data, "/tmp: a directory: give a configuration file\n");
	text_done(&errors);
	assert_int_equal(config_load("/dev/zero", NULL, modules, &config, &errors), -EINVAL);
	assert_string_equal(errors.data, "/dev/zero: not a regular file: give a configuration "
		"file\n");
	text_done(&errors);
	assert_int_equal(config_load("", NULL, modules, &config, &errors), -EINVAL);
	text_done(&errors);
	assert_int_equal(mkfifo("disk", 0600), 0);
	assert_int_equal(config_load("disk", NULL, modules, &config, &errors), -EINVAL);
	text_done(&errors);
	put("conf.ini", "");
	assert_int_equal(truncate("conf.ini", 2 << 20), 0);
	assert_int_equal(config_load("conf.ini", NULL, modules, &config, &errors), -EFBIG);
	text_done(&errors);
	if (geteuid() != 0) {
		chmod("conf.ini", 0);
		assert_int_equal(config_load("conf.ini", NULL, modules, &config, &errors), -EACCES);
		text_done(&errors);
	}
	assert_null(config);
}

static void terminals_are_safe(void **state)
{
	struct text errors = { 0 };
	struct config *config;

	assert_int_equal(config_load("/nowhere/\x1b[31m", NULL, modules, &config, &errors), -ENOENT);
	assert_null(strchr(errors.data, '\x1b'));
	text_done(&errors);
}

static void secrets_need_a_private_file(void **state)
{
	put("disk", "x");
	put("conf.ini", "[pool a]\ntype = machine\nimage = disk\npassword = x\n");
	config_free(load_good(NULL));
	chmod("conf.ini", 0640);
	expect(NULL, "conf.ini:4: password: a secret in a file that others may read: chmod 600 ");
}

static void files_below_the_mount_point(void **state)
{
	mkdir("mnt", 0700);
	mkdir("sub", 0700);
	put("mnt/disk", "x");
	put("sub/disk", "x");
	put("conf.ini", "[pool a]\ntype = machine\nimage = mnt/disk\n");
	config_free(load_good(NULL));
	config_free(load_good("sub"));
	config_free(load_good("mnt/other"));
	config_free(load_good("mn"));
	expect("mnt", "conf.ini:3: image: ");
	expect("mnt", "/mnt/disk lies below the mount point");
	expect("mnt/", "lies below the mount point");
	expect("sub/../mnt", "lies below the mount point");
	expect("mnt/disk", "lies below the mount point");
	expect(".", "lies below the mount point");
	expect("/", "lies below the mount point");

	assert_int_equal(symlink("mnt", "link"), 0);
	expect("link", "lies below the mount point");
	put("conf.ini", "[pool a]\ntype = machine\nimage = link/./disk\n");
	expect("mnt", "lies below the mount point");
	put("conf.ini", "[pool a]\ntype = machine\nimage = mnt/disk\nprogram = mnt/x\n"
		"initrd = mnt/sub/../../disk\n[poolfs]\nworkdir = mnt\n");
	expect("link", "conf.ini:4: program: ");
	expect("link", "conf.ini:5: initrd: ");
	expect("link", "conf.ini:7: workdir: ");

	assert_int_equal(symlink("loop", "loop"), 0);
	expect("loop", "too many symbolic links");
	assert_int_equal(symlink("mnt/disk", "under"), 0);
	put("conf.ini", "[pool a]\ntype = machine\nimage = under\n");
	expect("mnt", "under lies below the mount point");
}

static void the_file_below_the_mount_point(void **state)
{
	put("conf.ini", "[pool a]\ntype = bare\n");
	expect(".", "conf.ini: lies below the mount point");
}

/* Calls print with a stream; free() the result. */
static char *printed(int (*print)(FILE *out, const char *kind), const char *kind, int result)
{
	char *data = NULL;
	size_t size;
	FILE *out = open_memstream(&data, &size);

	assert_int_equal(print(out, kind), result);
	fclose(out);
	return data;
}

/* config_print_keys, and config_print_kinds with the same form. */
static int print_keys(FILE *out, const char *kind)
{
	return config_print_keys(out, modules, kind);
}

static int print_kinds(FILE *out, const char *kind)
{
	(void)kind;
	config_print_kinds(out, modules);
	return 0;
}

static void help_shows_the_tables(void **state)
{
	char *kinds = printed(print_kinds, NULL, 0);
	char *keys = printed(print_keys, "machine", 0);
	char *none = printed(print_keys, "nothing", -ENOENT);

	assert_string_equal(kinds, "machine  a machine for tests\n"
		"bare     a machine without keys of its own\n");
	assert_string_equal(none, "");
	static const char *const lines[] = {
		"machine: a machine for tests\n",
		"\n  image (file; required)\n        The disk.\n",
		"\n  memory (size from 16M to 1T; default 1G)\n",
		"\n  delay (time from 0.1 to 60 seconds; default 1.5)\n",
		"\n  speed (one of slow, fast; default slow)\n",
		"\n  program (program; default sh)\n",
		"\n  network (yes or no; default no)\n",
		"\n  password (text; secret)\n",
		"\n  count (number from 1 to 100; default 16)\n",
		"\n        What the kernel finds first, so long a sentence that it does not fit\n"
		"        into one line of eighty columns.\n",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		if (!strstr(keys, lines[i]))
			fail_msg("\"%s\" is not in:\n%s", lines[i], keys);
	for (const char *line = keys; *line; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") <= 80);
	free(kinds);
	free(keys);
	free(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(values_arrive, enter, leave),
		cmocka_unit_test_setup_teardown(the_daemon_has_defaults, enter, leave),
		cmocka_unit_test(log_levels_are_those_of_the_log),
		cmocka_unit_test_setup_teardown(files_that_are_none, enter, leave),
		cmocka_unit_test(terminals_are_safe),
		cmocka_unit_test_setup_teardown(secrets_need_a_private_file, enter, leave),
		cmocka_unit_test_setup_teardown(files_below_the_mount_point, enter, leave),
		cmocka_unit_test_setup_teardown(the_file_below_the_mount_point, enter, leave),
		cmocka_unit_test(help_shows_the_tables),
	};

	modules = modules_new(NULL, "/nowhere");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	modules_free(modules);
	return failed;
}
