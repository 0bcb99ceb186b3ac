/* SPDX-License-Identifier: MIT */
/* What a shell prints about files, taken apart; and what it is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <cmocka.h>

#include "backends/shellfiles/parse.h"
#include "backends/shellfiles/program.h"

static const struct parse_hello by_stat;
/* 2026-11-22 20:08 */
static const struct parse_hello by_ls = { .by_ls = true, .now = 1795378080 };

static int attr(const struct parse_hello *hello, const char *line, struct parse_file *file)
{
	size_t used;

	return parse_attr(hello, line, strlen(line), file, &used);
}

/* Lines of stat. */
static void test_stat(void **state)
{
	static const char *const bad[] = { "", "1", "1 2 81a4 3 4 5 6 7 8", "1 2 81a4 3 4 5 6 7 8\n", "x 2 81a4 3 4 5 6 7 8 n",
		"1 2 81g4 3 4 5 6 7 8 n", "1 2 1a4 3 4 5 6 7 8 n", "1 2 81a4 -3 4 5 6 7 8 n",
		"1 2 81a4 3 4294967296 5 6 7 8 n", "1 2 81a4 99999999999999999999999 4 5 6 7 8 n",
		"1 2 81a4 18446744073709551616 4 5 6 7 8 n", "1 2 81a4 3 4 5 6 7\n8 n", "1 2 81a4 3 4 5 6 seven 8 n" };
	struct parse_file file;
	size_t used;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(attr(&by_stat, bad[i], &file), -EIO);
	assert_int_equal(attr(&by_stat, "64 9 8fff 3 4 5 6 7.25 8.5 n", &file), 0);
	assert_int_equal(file.device, 64);
	assert_int_equal(file.inode, 9);
	/* No setuid or setgid. */
	assert_int_equal(file.attr.mode, S_IFREG | 01777);
	assert_int_equal(file.attr.size, 3);
	assert_int_equal(file.attr.uid, 4);
	assert_int_equal(file.attr.gid, 5);
	assert_int_equal(file.attr.nlink, 6);
	assert_int_equal(file.attr.atime, 7);
	assert_int_equal(file.attr.mtime, 8);
	assert_int_equal(attr(&by_stat, "1 2 a1ff 18446744073709551615 4 5 6 -7 99999999999 n", &file), 0);
	assert_true(file.attr.size == INT64_MAX);
	assert_int_equal(file.attr.atime, 0);
	assert_true(file.attr.mtime == UINT32_MAX);
	assert_int_equal(parse_named(&by_stat, "1 2 81a4 3 4 5 6 7 8 ./a\n/b/\nrest", 32, "a\n/b", &file, &used), 0);
	assert_int_equal(used, 29);
	assert_int_equal(parse_named(&by_stat, "1 2 81a4 3 4 5 6 7 8 ./a/\n", 27, "b", &file, &used), -EIO);
	assert_int_equal(parse_named(&by_stat, "1 2 81a4 3 4 5 6 7 8 ././\n", 26, "", &file, &used), 0);
}

/* Seconds of a time in UTC. */
static int64_t at(int year, int month, int day, int hour, int minute)
{
	struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour,
		.tm_min = minute };

	return timegm(&tm);
}

/* Lines of ls. */
static void test_ls(void **state)
{
	static const char *const bad[] = { "0 1 -rw-r--r-- 3 4 5 6 Foo 22 20:08 n", "0 1 -rw-r--r-- 3 4 5 6 Nov 32 20:08 n",
		"0 1 -rw-r--r-- 3 4 5 6 Nov 22 24:08 n", "0 1 ?rw-r--r-- 3 4 5 6 Nov 22 20:08 n",
		"0 1 -rw 3 4 5 6 Nov 22 20:08 n", "0 1 -rw-r--r-- 3 4 5 6 anF 22 20:08 n" };
	static const struct {
		const char *line;
		uint32_t mode;
	} modes[] = {
		{ "0 1 -rw-r----x. 3 4 5 1 Nov 22 20:08 n", S_IFREG | 0641 },
		{ "0 1 drwxrwxrwt 3 4 5 2 Nov 22 20:08 n", S_IFDIR | 01777 },
		{ "0 1 drwx-----T+ 3 4 5 2 Nov 22 20:08 n", S_IFDIR | 01700 },
		{ "0 1 -rwsr-Sr-x 3 4 5 1 Nov 22 20:08 n", S_IFREG | 0745 },
		{ "0 1 lrwxrwxrwx 3 4 5 1 Nov 22 20:08 n", S_IFLNK | 0777 },
		{ "0 1 crw-rw---- 0 4 5 1 Nov 22 20:08 n", S_IFCHR | 0660 },
		{ "0 1 prw-rw---- 0 4 5 1 Nov 22 20:08 n", S_IFIFO | 0660 },
	};
	struct parse_file file;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(attr(&by_ls, bad[i], &file), -EIO);
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		assert_int_equal(attr(&by_ls, modes[i].line, &file), 0);
		assert_int_equal(file.attr.mode, modes[i].mode);
		assert_int_equal(file.attr.mtime, at(2026, 11, 22, 20, 8));
		assert_int_equal(file.attr.atime, file.attr.mtime);
	}
	assert_int_equal(attr(&by_ls, "0 1 -rw-r--r-- 3 4 5 6 Dec 31 23:59 n", &file), 0);
	assert_int_equal(file.attr.mtime, at(2026, 12, 31, 23, 59));
	assert_int_equal(attr(&by_ls, "0 1 -rw-r--r-- 3 4 5 6 Jan  2 2019 n", &file), 0);
	assert_int_equal(file.attr.mtime, at(2019, 1, 2, 0, 0));
	assert_int_equal(attr(&by_ls, "0 1 -rw-r--r-- 3 4 5 6 Jan  2  1960 n", &file), 0);
	assert_int_equal(file.attr.mtime, 0);
	/* In January, what changed in December did so last year. */
	struct parse_hello january = { .by_ls = true, .now = at(2027, 1, 3, 0, 0) };
	assert_int_equal(attr(&january, "0 1 -rw-r--r-- 3 4 5 6 Dec 31 23:59 n", &file), 0);
	assert_int_equal(file.attr.mtime, at(2026, 12, 31, 23, 59));
}

/* Filesystems. */
static void test_statfs(void **state)
{
	static const char df[] = "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
				 "/dev/with space 7 100 40 60 40% /mnt/5 6%\n";
	struct file_statfs got;

	assert_int_equal(parse_statfs("4096 10 9 8 7 6 500\n", 20, &got), 0);
	assert_true(got.block_size == 4096 && got.blocks == 10 && got.blocks_available == 8 && got.files_free == 6);
	assert_int_equal(got.name_max, 255);
	assert_int_equal(parse_statfs(df, sizeof(df) - 1, &got), 0);
	assert_true(got.block_size == 1024 && got.blocks == 100 && got.blocks_available == 60);
	assert_int_equal(parse_statfs("0 10 9 8 7 6 5\n", 15, &got), -EIO);
	assert_int_equal(parse_statfs("99999999999 10 9 8 7 6 5\n", 25, &got), -EIO);
	assert_int_equal(parse_statfs("x\n", 2, &got), -EIO);
	assert_int_equal(parse_statfs("", 0, &got), -EIO);
}

/* Ends of answers, and messages of several shells and libraries. */
static void test_codes(void **state)
{
	static const struct {
		const char *message;
		int error;
	} messages[] = {
		{ "mkdir: cannot create directory './No space left on device': Permission denied\n", -EACCES },
		{ "mkdir: can't create directory './x': File exists\n", -EEXIST },
		{ "dd: error writing 'standard output': No space left on device\n0+1 records in\n0+0 records out\n", -ENOSPC },
		{ "sh: 1: cannot create ./x/y: Directory nonexistent\n", -ENOENT },
		{ "sh: can't create ./x/y: nonexistent directory\n", -ENOENT },
		{ "sh: line 1: ./x: Is a directory\n", -EISDIR },
		{ "sh: 1: stat: not found\n", -EOPNOTSUPP },
		{ "rm: can't remove './x': Read-only file system", -EROFS },
		{ "mv: can't rename './x': Filename too long\n", -ENAMETOOLONG },
		{ "something else\n", -EIO },
		{ "", -EIO },
	};

	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
		assert_int_equal(parse_code("m", messages[i].message, strlen(messages[i].message)), messages[i].error);
	assert_int_equal(parse_code("0", "x", 1), 0);
	assert_int_equal(parse_code("ESTALE", "", 0), -ESTALE);
	assert_int_equal(parse_code("00", "", 0), -EIO);
	assert_int_equal(parse_code("ENOTHING", "", 0), -EIO);
}

/* The first answer. */
static void test_hello(void **state)
{
	static const char good[] = "1 2 41ed 4096 0 0 2 5 5 ./\n0022\nls 0 1 0 1 0 0 0 0 1\n2026 11 22 20 08\n/a\nb\n";
	static const char ls[] = "0 2 drwxr-xr-x 4096 0 0 2 Nov 22 20:08 ./\n22\nls 0 1 0 1 0 0 0 0 1\n2026 11 22 20 08\n/a\nb\n";
	static const char *const bad[] = { "", "1 2 41ed 4096 0 0 2 5 5 ./\n0022\nstat -c 1 1 1 1 1 1 1 1 1\n2026 11 22 20 08\n",
		"1 2 41ed 4096 0 0 2 5 5 ./\n0888\nstat -c 1 1 1 1 1 1 1 1 1\n2026 11 22 20 08\n/\n",
		"1 2 41ed 4096 0 0 2 5 5 ./\n0022\nstat -c 1 1 1 1 1 1 1 1 1\n2026 13 22 20 08\n/\n",
		"1 2 41ed 4096 0 0 2 5 5 ./\n0022\nstat -c 1 1 1 1 1 1 1 1 1\n2026 11 22 20 08\nhome\n",
		"1 2 41ed 4096 0 0 2 5 5 ./\n0022\nx\n2026 11 22 20 08\n/\n" };
	struct parse_hello hello;

	/* Attributes by stat from one that says that it has ls only. */
	assert_int_equal(parse_hello(good, sizeof(good) - 1, &hello), -EIO);
	assert_int_equal(parse_hello(ls, sizeof(ls) - 1, &hello), 0);
	assert_true(hello.by_ls && hello.links_by_ls);
	assert_int_equal(hello.umask, 022);
	assert_int_equal(hello.now, at(2026, 11, 22, 20, 8));
	assert_string_equal(hello.path, "/a\nb");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(parse_hello(bad[i], strlen(bad[i]), &hello), -EIO);
}

/* What sets a variable has neither a newline nor a byte that a shell could misread. */
static void test_words(void **state)
{
	struct text out = { 0 };

	program_path(&out, 'p', "a'b c");
	assert_string_equal(out.data, "p='./a'\\''b c'; ");
	text_done(&out);
	program_path(&out, 'q', "");
	assert_string_equal(out.data, "q='./.'; ");
	text_done(&out);
	program_set(&out, 'p', "-\n\\'%1\xff", 7);
	assert_string_equal(out.data, "p=$(printf '%b.' '-\\0012\\0134\\0047%1\\0377'); p=${p%.}; ");
	text_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stat),
		cmocka_unit_test(test_ls),
		cmocka_unit_test(test_statfs),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
