/* SPDX-License-Identifier: MIT */
/* File requests through the SSH transport, against a real server. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/ssh/harness.h"

/* The fixture of all tests: one connection serves them. */
static struct fixture fixture;

/* A path below files/ as this host sees it. */
static const char *here(const char *path)
{
	static char full[512];

	snprintf(full, sizeof(full), "%s/%s", fixture.home, path);
	return full;
}

/* One request by path, whose bytes are not wanted. */
static int simple(enum file_op op, const char *path)
{
	struct answer answer;
	int error = ask_path(&fixture, op, path, &answer);

	answer_done(&answer);
	return error;
}

/* Two paths. */
static int two(enum file_op op, const char *path, const char *path2, uint32_t flags)
{
	struct file_request request = { .op = op, .flags = flags };
	struct answer answer;
	int error = ask(&fixture, &request, path, path2, NULL, &answer);

	answer_done(&answer);
	return error;
}

/* mkdir */
static int make_directory(const char *path, mode_t mode)
{
	struct file_request request = { .op = FILE_MKDIR, .attr.mode = mode };
	struct answer answer;
	int error = ask(&fixture, &request, path, NULL, NULL, &answer);

	if (!error)
		assert_true(S_ISDIR(answer.reply.attr.mode));
	answer_done(&answer);
	return error;
}

/* close */
static int shut(uint64_t handle)
{
	struct answer answer;
	int error = ask_handle(&fixture, FILE_CLOSE, handle, &answer);

	answer_done(&answer);
	return error;
}

/* write */
static int put(uint64_t handle, uint64_t offset, const void *data, size_t size)
{
	struct file_request request = { .op = FILE_WRITE, .handle = handle, .offset = offset,
		.data_size = (uint32_t)size };
	struct answer answer;
	int error = ask(&fixture, &request, NULL, NULL, data, &answer);

	if (!error)
		assert_int_equal(answer.reply.count, size);
	answer_done(&answer);
	return error;
}

/* read */
static int get(uint64_t handle, uint64_t offset, size_t size, struct answer *answer)
{
	struct file_request request = { .op = FILE_READ, .handle = handle, .offset = offset,
		.length = (uint32_t)size };

	return ask(&fixture, &request, NULL, NULL, NULL, answer);
}

/* A small file, made on this side. */
static void make_file(const char *path, const char *content)
{
	FILE *file = fopen(here(path), "we");

	assert_non_null(file);
	fputs(content, file);
	assert_int_equal(fclose(file), 0);
}

/* A file's life. */
static void test_file(void **state)
{
	struct answer answer;
	struct stat status;
	uint64_t handle;

	assert_int_equal(ask_open(&fixture, "new", O_RDWR | O_CREAT | O_EXCL, &handle), 0);
	assert_int_equal(put(handle, 0, "hello", 5), 0);
	assert_int_equal(put(handle, 5, " world", 6), 0);
	assert_int_equal(get(handle, 0, 100, &answer), 0);
	assert_int_equal(answer.bytes.size, 11);
	assert_memory_equal(answer.bytes.data, "hello world", 11);
	answer_done(&answer);
	assert_int_equal(get(handle, 11, 100, &answer), 0);
	assert_int_equal(answer.bytes.size, 0);
	answer_done(&answer);
	assert_int_equal(ask_handle(&fixture, FILE_FSYNC, handle, &answer), 0);
	answer_done(&answer);
	assert_int_equal(ask_handle(&fixture, FILE_GETATTR, handle, &answer), 0);
	assert_int_equal(answer.reply.attr.size, 11);
	assert_true(S_ISREG(answer.reply.attr.mode));
	answer_done(&answer);
	assert_int_equal(shut(handle), 0);
	assert_int_equal(shut(handle), -EBADF);
	assert_int_equal(stat(here("new"), &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0640);
	assert_int_equal(ask_open(&fixture, "new", O_RDWR | O_CREAT | O_EXCL, &handle), -EEXIST);
	assert_int_equal(ask_open(&fixture, "new", O_WRONLY | O_TRUNC, &handle), 0);
	assert_int_equal(shut(handle), 0);
	assert_int_equal(stat(here("new"), &status), 0);
	assert_int_equal(status.st_size, 0);
	assert_int_equal(ask_open(&fixture, "none", O_RDONLY, &handle), -ENOENT);
	assert_int_equal(simple(FILE_UNLINK, "new"), 0);
	assert_int_equal(simple(FILE_UNLINK, "new"), -ENOENT);
}

/* What is no regular file does not open, and does not hang. */
static void test_types(void **state)
{
	struct answer answer;
	uint64_t handle;

	assert_int_equal(make_directory("d", 0755), 0);
	assert_int_equal(ask_open(&fixture, "d", O_RDONLY, &handle), -EISDIR);
	assert_int_equal(ask_open(&fixture, "d", O_WRONLY, &handle), -EISDIR);
	assert_int_equal(mkfifo(here("fifo"), 0644), 0);
	assert_int_equal(ask_path(&fixture, FILE_GETATTR, "fifo", &answer), 0);
	assert_true(S_ISFIFO(answer.reply.attr.mode));
	answer_done(&answer);
	make_file("suid", "x");
	assert_int_equal(chmod(here("suid"), 06755), 0);
	assert_int_equal(ask_path(&fixture, FILE_GETATTR, "suid", &answer), 0);
	assert_int_equal(answer.reply.attr.mode, S_IFREG | 0755);
	answer_done(&answer);
	assert_int_equal(simple(FILE_OPENDIR, "suid"), -ENOTDIR);
	assert_int_equal(simple(FILE_UNLINK, "fifo"), 0);
	assert_int_equal(simple(FILE_UNLINK, "suid"), 0);
	assert_int_equal(simple(FILE_RMDIR, "d"), 0);
}

/* Large reads and writes come back as they went, at any offset. */
static void test_large(void **state)
{
	size_t size = FILES_DATA_MAX;
	unsigned char *data = malloc(size);
	struct answer answer;
	uint64_t handle;

	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(i * 7 + i / 251);
	assert_int_equal(ask_open(&fixture, "large", O_RDWR | O_CREAT, &handle), 0);
	assert_int_equal(put(handle, 0, data, size), 0);
	assert_int_equal(put(handle, 3 * size + 1, data, size), 0);
	assert_int_equal(get(handle, 0, size, &answer), 0);
	assert_int_equal(answer.bytes.size, size);
	assert_memory_equal(answer.bytes.data, data, size);
	answer_done(&answer);
	assert_int_equal(get(handle, size, size, &answer), 0);
	assert_int_equal(answer.bytes.size, size);
	assert_int_equal(answer.bytes.data[12345], 0);
	answer_done(&answer);
	/* Over the end: what there is. */
	assert_int_equal(get(handle, 3 * size + 200001, size, &answer), 0);
	assert_int_equal(answer.bytes.size, size - 200000);
	assert_memory_equal(answer.bytes.data, data + 200000, size - 200000);
	answer_done(&answer);
	assert_int_equal(get(handle, 100 * size, size, &answer), 0);
	assert_int_equal(answer.bytes.size, 0);
	answer_done(&answer);
	/* Grown and cut behind our back. */
	assert_int_equal(truncate(here("large"), 1000), 0);
	assert_int_equal(get(handle, 0, size, &answer), 0);
	assert_int_equal(answer.bytes.size, 1000);
	answer_done(&answer);
	assert_int_equal(get(handle, INT64_MAX - 5, size, &answer), -EINVAL);
	answer_done(&answer);
	assert_int_equal(shut(handle), 0);
	assert_int_equal(simple(FILE_UNLINK, "large"), 0);
	free(data);
}

/* Directories: made, removed, and what each failure means. */
static void test_directories(void **state)
{
	assert_int_equal(make_directory("a", 0755), 0);
	assert_int_equal(make_directory("a", 0755), -EEXIST);
	assert_int_equal(make_directory("a/b", 0700), 0);
	assert_int_equal(make_directory("x/b", 0700), -ENOENT);
	assert_int_equal(simple(FILE_RMDIR, "a"), -ENOTEMPTY);
	assert_int_equal(simple(FILE_UNLINK, "a/b"), -EISDIR);
	assert_int_equal(simple(FILE_RMDIR, "a/b"), 0);
	assert_int_equal(simple(FILE_RMDIR, "a"), 0);
	assert_int_equal(simple(FILE_RMDIR, "a"), -ENOENT);
}

/* Renaming, with and without replacing. */
static void test_rename(void **state)
{
	make_file("one", "1");
	make_file("two", "2");
	assert_int_equal(two(FILE_RENAME, "one", "two", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(two(FILE_RENAME, "one", "two", 0), 0);
	assert_int_equal(two(FILE_RENAME, "one", "two", 0), -ENOENT);
	assert_int_equal(two(FILE_RENAME, "two", "three", RENAME_NOREPLACE), 0);
	assert_int_equal(two(FILE_RENAME, "three", "two", RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(make_directory("d", 0755), 0);
	assert_int_equal(make_directory("e", 0755), 0);
	assert_int_equal(make_directory("e/f", 0755), 0);
	assert_int_equal(two(FILE_RENAME, "d", "e", 0), -ENOTEMPTY);
	assert_int_equal(simple(FILE_RMDIR, "e/f"), 0);
	assert_int_equal(two(FILE_RENAME, "d", "e", 0), 0);
	assert_int_equal(simple(FILE_RMDIR, "e"), 0);
	assert_int_equal(simple(FILE_UNLINK, "three"), 0);
}

/* Links: kept inside, refused outside. */
static void test_links(void **state)
{
	struct answer answer;
	char target[300];

	make_file("file", "x");
	assert_int_equal(two(FILE_LINK, "file", "hard", 0), 0);
	assert_int_equal(two(FILE_LINK, "file", "hard", 0), -EEXIST);
	assert_int_equal(simple(FILE_UNLINK, "hard"), 0);
	assert_int_equal(two(FILE_SYMLINK, "soft", "file", 0), 0);
	assert_int_equal(two(FILE_SYMLINK, "soft", "file", 0), -EEXIST);
	assert_int_equal(ask_path(&fixture, FILE_READLINK, "soft", &answer), 0);
	assert_string_equal(answer.bytes.data, "file");
	answer_done(&answer);
	assert_int_equal(ask_path(&fixture, FILE_GETATTR, "soft", &answer), 0);
	assert_true(S_ISLNK(answer.reply.attr.mode));
	answer_done(&answer);
	assert_int_equal(two(FILE_SYMLINK, "out", "../../etc/passwd", 0), 0);
	assert_int_equal(simple(FILE_READLINK, "out"), -EPERM);
	assert_int_equal(two(FILE_SYMLINK, "root", "/etc/passwd", 0), 0);
	assert_int_equal(simple(FILE_READLINK, "root"), -EPERM);
	assert_int_equal(make_directory("d", 0755), 0);
	snprintf(target, sizeof(target), "%s/file", fixture.home);
	assert_int_equal(two(FILE_SYMLINK, "d/in", target, 0), 0);
	assert_int_equal(ask_path(&fixture, FILE_READLINK, "d/in", &answer), 0);
	assert_string_equal(answer.bytes.data, "../file");
	answer_done(&answer);
	assert_int_equal(simple(FILE_READLINK, "file"), -EINVAL);
	assert_int_equal(simple(FILE_UNLINK, "d/in"), 0);
	assert_int_equal(simple(FILE_RMDIR, "d"), 0);
	assert_int_equal(simple(FILE_UNLINK, "soft"), 0);
	assert_int_equal(simple(FILE_UNLINK, "out"), 0);
	assert_int_equal(simple(FILE_UNLINK, "root"), 0);
	assert_int_equal(simple(FILE_UNLINK, "file"), 0);
}

/* Attributes, by path and by handle; those of a link are the link's. */
static void test_setattr(void **state)
{
	struct file_request request = { .op = FILE_SETATTR,
		.attr = { .valid = FILE_ATTR_MODE | FILE_ATTR_TIMES,
			.mode = 0600,
			.atime = 1000,
			.mtime = 2000 } };
	struct answer answer;
	struct stat status;
	uint64_t handle;

	make_file("file", "0123456789");
	assert_int_equal(ask(&fixture, &request, "file", NULL, NULL, &answer), 0);
	assert_int_equal(answer.reply.attr.mode, S_IFREG | 0600);
	assert_int_equal(answer.reply.attr.mtime, 2000);
	answer_done(&answer);
	request.attr.valid = FILE_ATTR_SIZE;
	request.attr.size = 4;
	assert_int_equal(ask(&fixture, &request, "file", NULL, NULL, &answer), 0);
	assert_int_equal(answer.reply.attr.size, 4);
	answer_done(&answer);
	assert_int_equal(ask_open(&fixture, "file", O_RDWR, &handle), 0);
	request.handle = handle;
	request.attr.size = 7;
	assert_int_equal(ask(&fixture, &request, NULL, NULL, NULL, &answer), 0);
	assert_int_equal(answer.reply.attr.size, 7);
	answer_done(&answer);
	assert_int_equal(shut(handle), 0);
	request.handle = 0;
	request.attr.valid = FILE_ATTR_TIMES;
	assert_int_equal(two(FILE_SYMLINK, "link", "file", 0), 0);
	request.attr.mtime = 5000;
	assert_int_equal(ask(&fixture, &request, "link", NULL, NULL, &answer), 0);
	answer_done(&answer);
	assert_int_equal(lstat(here("link"), &status), 0);
	assert_int_equal(status.st_mtime, 5000);
	assert_int_equal(stat(here("file"), &status), 0);
	assert_int_not_equal(status.st_mtime, 5000);
	assert_int_equal(ask(&fixture, &request, "none", NULL, NULL, &answer), -ENOENT);
	answer_done(&answer);
	assert_int_equal(simple(FILE_UNLINK, "link"), 0);
	assert_int_equal(simple(FILE_UNLINK, "file"), 0);
}

/* Checks one page; the number of its entries. */
static unsigned page(struct answer *answer)
{
	const struct file_entry *entry;
	const char *name;
	size_t position = 0, size = answer->bytes.size;
	unsigned count = 0;

	assert_true(size <= FILES_DATA_MAX);
	while (files_entry_next(answer->bytes.data, size, &position, &entry, &name) > 0) {
		assert_true(entry->attr.valid & FILE_ATTR_MODE);
		count++;
	}
	assert_int_equal(position, size);
	answer_done(answer);
	return count;
}

/* Opens a directory that is going to be read: the number of entries that came, and the handle if there
 * are more. */
static unsigned list_open(const char *path, uint64_t *handle)
{
	struct file_request request = { .op = FILE_OPENDIR, .flags = FILES_LIST };
	struct answer answer;

	assert_int_equal(ask(&fixture, &request, path, NULL, NULL, &answer), 0);
	*handle = answer.reply.handle;
	return page(&answer);
}

/* Reads a whole directory; the number of its entries. */
static unsigned list(const char *path, bool one_page_at_least)
{
	struct answer answer;
	unsigned count = 0, pages = 0, more;

	assert_int_equal(ask_path(&fixture, FILE_OPENDIR, path, &answer), 0);
	uint64_t handle = answer.reply.handle;

	answer_done(&answer);
	do {
		assert_int_equal(ask_handle(&fixture, FILE_READDIR, handle, &answer), 0);
		more = page(&answer);
		count += more;
		pages++;
	} while (more);
	assert_true(!one_page_at_least || pages > 1);
	assert_int_equal(shut(handle), 0);
	return count;
}

/* Listings: empty, small, of several thousand. */
static void test_list(void **state)
{
	struct result result = { 0 };
	uint64_t handle;

	assert_int_equal(make_directory("d", 0755), 0);
	assert_int_equal(list("d", false), 0);
	assert_int_equal(list_open("d", &handle), 0);
	assert_int_equal(handle, 0);
	make_file("d/x", "");
	assert_int_equal(list("d", true), 1);
	assert_int_equal(list_open("d", &handle), 1);
	assert_int_equal(handle, 0);
	run(&fixture, "cd d && seq -f 'a-name-that-is-somewhat-longer-%g' 12000 | xargs touch",
		&result);
	assert_int_equal(result.status, 0);
	result_done(&result);
	assert_int_equal(list("d", true), 12001);
	unsigned first = list_open("d", &handle), more = 0;
	struct answer answer;

	assert_true(first > 1000 && handle != 0);
	do {
		assert_int_equal(ask_handle(&fixture, FILE_READDIR, handle, &answer), 0);
		more = page(&answer);
		first += more;
	} while (more);
	assert_int_equal(first, 12001);
	assert_int_equal(shut(handle), 0);
	assert_int_equal(simple(FILE_OPENDIR, "none"), -ENOENT);
	run(&fixture, "rm -r d", &result);
	result_done(&result);
	/* Any bytes but '/' and NUL are a name. */
	make_file("\xff\n", "x");
	assert_int_equal(list("", true), 1);
	assert_int_equal(simple(FILE_UNLINK, "\xff\n"), 0);
}

/* Numbers of the filesystem; the root itself. */
static void test_root(void **state)
{
	struct answer answer;

	assert_int_equal(ask_path(&fixture, FILE_STATFS, "", &answer), 0);
	assert_int_equal(answer.bytes.size, sizeof(struct file_statfs));
	assert_true(((struct file_statfs *)(void *)answer.bytes.data)->blocks > 0);
	answer_done(&answer);
	assert_int_equal(ask_path(&fixture, FILE_GETATTR, "", &answer), 0);
	assert_true(S_ISDIR(answer.reply.attr.mode));
	answer_done(&answer);
	assert_int_equal(simple(FILE_OPS, ""), -EINVAL);
}

/* A hundred requests at once, each with its own answer. */
static bool all_done(void *data)
{
	struct answer *answers = data;

	for (unsigned i = 0; i < 100; i++)
		if (!answers[i].done)
			return false;
	return true;
}

/* Requests do not wait for each other, and none gets another's answer. */
static void test_together(void **state)
{
	struct answer answers[100];
	char name[32];

	for (unsigned i = 0; i < 100; i += 2) {
		snprintf(name, sizeof(name), "f%u", i);
		make_file(name, name);
	}
	for (unsigned i = 0; i < 100; i++) {
		struct file_request request = { .op = FILE_GETATTR };

		snprintf(name, sizeof(name), "f%u", i);
		ask_start(&fixture, &request, name, NULL, NULL, &answers[i]);
	}
	await_that(&fixture, all_done, answers);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(answers[i].reply.error, i % 2 ? -ENOENT : 0);
		answer_done(&answers[i]);
		if (i % 2)
			continue;
		assert_int_equal(answers[i].reply.attr.size, strlen(name));
		assert_int_equal(simple(FILE_UNLINK, name), 0);
	}
}

/* Opens a file whose bytes may come along; what came. */
static size_t open_small(const char *name, uint32_t length, const char *content, uint64_t *handle)
{
	struct file_request request = { .op = FILE_OPEN, .flags = O_RDONLY, .length = length };
	struct answer answer;

	assert_int_equal(ask(&fixture, &request, name, NULL, NULL, &answer), 0);
	*handle = answer.reply.handle;
	assert_int_equal(answer.reply.attr.size, strlen(content));
	size_t size = answer.bytes.size;
	if (size)
		assert_memory_equal(answer.bytes.data, content, strlen(content));
	answer_done(&answer);
	return size;
}

/* Small files come with their opens, each its own bytes, whatever else is opened and closed. */
static void test_open_small(void **state)
{
	uint64_t kept[8] = { 0 }, handle;
	char name[16], content[16];
	struct answer answer;

	for (int i = 0; i < 400; i++) {
		unsigned slot = (unsigned)random() % 8;

		snprintf(name, sizeof(name), "f%d", i % 50);
		snprintf(content, sizeof(content), "content %d", i);
		make_file(name, content);
		assert_int_equal(open_small(name, 4096, content, &handle), strlen(content));
		if (kept[slot])
			assert_int_equal(shut(kept[slot]), 0);
		kept[slot] = i % 3 ? handle : 0;
		if (!kept[slot])
			assert_int_equal(shut(handle), 0);
		if (i % 7 == 0)
			assert_int_equal(ask_open(&fixture, "none", O_RDONLY, &handle), -ENOENT);
		if (i % 5 == 0) {
			list_open("", &handle);
			assert_int_equal(handle, 0);
		}
	}
	for (unsigned i = 0; i < 8; i++)
		if (kept[i])
			assert_int_equal(shut(kept[i]), 0);
	/* One that is larger than asked for, or empty, does not; it is read as others are. */
	assert_int_equal(open_small("f1", 4, "content 351", &handle), 0);
	struct file_request read = { .op = FILE_READ, .handle = handle, .length = 100 };
	assert_int_equal(ask(&fixture, &read, NULL, NULL, NULL, &answer), 0);
	assert_int_equal(answer.bytes.size, 11);
	answer_done(&answer);
	assert_int_equal(shut(handle), 0);
	make_file("f1", "");
	assert_int_equal(open_small("f1", 4, "", &handle), 0);
	assert_int_equal(shut(handle), 0);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(simple(FILE_UNLINK, name), 0);
	}
}

/* Whether an answer is all of directory number i: i entries, each with its number. */
static void check_listing(struct answer *answer, int i)
{
	const struct file_entry *entry;
	size_t position = 0;
	const char *name;
	int count = 0;

	await(&fixture, &answer->done);
	assert_int_equal(answer->reply.error, 0);
	assert_int_equal(answer->reply.handle, 0);
	while (files_entry_next(answer->bytes.data, answer->bytes.size, &position, &entry, &name) > 0) {
		assert_int_equal(strtol(name, NULL, 10), i);
		count++;
	}
	assert_int_equal(count, i);
	answer_done(answer);
}

/* Directories that are listed one by one or several at once, beside open files and directories: each
 * has its own entries. */
static void test_list_many(void **state)
{
	struct file_request list = { .op = FILE_OPENDIR, .flags = FILES_LIST };
	struct result result = { 0 };
	struct answer answers[3], open;
	char path[16];

	run(&fixture, "for i in 0 1 2 3 4 5 6 7 8 9; do mkdir d$i; seq -f \"d$i/$i.%g\" $i | xargs -r touch; "
		"done", &result);
	assert_int_equal(result.status, 0);
	result_done(&result);
	for (int i = 0; i < 300; i++) {
		int at_once = i % 4 == 0 ? 3 : 1;
		uint64_t handle = 0, directory = 0;

		if (i % 5 == 0)
			assert_int_equal(ask_open(&fixture, "d1/1.1", O_RDONLY, &handle), 0);
		if (i % 7 == 0) {
			assert_int_equal(ask_path(&fixture, FILE_OPENDIR, "d9", &open), 0);
			directory = open.reply.handle;
			answer_done(&open);
		}
		if (i % 6 == 0)
			assert_int_equal(simple(FILE_OPENDIR, "none"), -ENOENT);
		for (int j = 0; j < at_once; j++) {
			snprintf(path, sizeof(path), "d%d", (i + j) % 10);
			ask_start(&fixture, &list, path, NULL, NULL, &answers[j]);
		}
		for (int j = 0; j < at_once; j++)
			check_listing(&answers[j], (i + j) % 10);
		if (directory) {
			assert_int_equal(ask_handle(&fixture, FILE_READDIR, directory, &open), 0);
			assert_int_equal(page(&open), 9);
			assert_int_equal(shut(directory), 0);
		}
		if (handle)
			assert_int_equal(shut(handle), 0);
	}
	run(&fixture, "rm -r d?", &result);
	result_done(&result);
}

#define BIG (3u * 1048576u + 777u)

/* Starts one read of a row. */
static void read_start(uint64_t handle, uint64_t offset, uint32_t length, uint32_t flags,
	struct answer *answer)
{
	struct file_request request = { .op = FILE_READ, .flags = flags, .handle = handle,
		.offset = offset, .length = length };

	ask_start(&fixture, &request, NULL, NULL, NULL, answer);
}

/* Awaits it, and compares. */
static void read_check(struct answer *answer, const char *content, uint64_t offset, uint32_t length)
{
	size_t left = offset < BIG ? BIG - (size_t)offset : 0, size = left < length ? left : length;

	await(&fixture, &answer->done);
	assert_int_equal(answer->reply.error, 0);
	assert_int_equal(answer->bytes.size, size);
	if (size)
		assert_memory_equal(answer->bytes.data, content + offset, size);
	answer_done(answer);
}

/* Reads in rows, several at once, of odd sizes, with jumps and cancellations: each gets its bytes. */
static void test_read_ahead(void **state)
{
	static char content[BIG];
	static const uint32_t lengths[] = { 131072, 100000, 4096, 1, 1048576, 65536 };
	struct answer answers[4];
	uint64_t handle, offset = 0;

	for (size_t i = 0; i < BIG; i++)
		content[i] = (char)random();
	FILE *file = fopen(here("big"), "we");
	assert_int_equal(fwrite(content, 1, BIG, file), BIG);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(ask_open(&fixture, "big", O_RDWR, &handle), 0);
	for (int round = 0; round < 400; round++) {
		uint32_t length = lengths[random() % 6];

		if (offset > BIG || random() % 10 == 0)
			offset = random() % 3 ? 0 : (uint64_t)random() % BIG;
		for (unsigned i = 0; i < 4; i++)
			read_start(handle, offset + i * length, length, random() % 20 ? FILES_AHEAD : 0,
				&answers[i]);
		if (round % 9 == 0)
			ssh_transport.file_cancel(fixture.transport, (uint64_t)(uintptr_t)&answers[0]);
		for (unsigned i = round % 9 == 0; i < 4; i++)
			read_check(&answers[i], content, offset + i * length, length);
		offset += 4 * length;
	}
	/* What is written, or read with the demand that it is new, is not what was there before. */
	for (unsigned i = 0; i < 2; i++)
		read_start(handle, i * 4096, 4096, FILES_AHEAD, &answers[i]);
	for (unsigned i = 0; i < 2; i++)
		read_check(&answers[i], content, i * 4096, 4096);
	memset(content + 8192, 'w', 4096);
	assert_int_equal(put(handle, 8192, content + 8192, 4096), 0);
	read_start(handle, 8192, 4096, FILES_AHEAD, &answers[0]);
	read_check(&answers[0], content, 8192, 4096);
	memset(content, 'n', BIG);
	file = fopen(here("big"), "r+e");
	assert_int_equal(fwrite(content, 1, BIG, file), BIG);
	assert_int_equal(fclose(file), 0);
	read_start(handle, 12288, 4096, 0, &answers[0]);
	read_check(&answers[0], content, 12288, 4096);
	/* A row that is under way when its file is closed ends, too. */
	for (unsigned i = 0; i < 4; i++)
		read_start(handle, 16384 + i * 4096, 4096, FILES_AHEAD, &answers[i]);
	shut(handle);
	for (unsigned i = 0; i < 4; i++) {
		await(&fixture, &answers[i].done);
		assert_true(answers[i].reply.error == -EBADF || answers[i].bytes.size == 4096);
		answer_done(&answers[i]);
	}
	assert_int_equal(simple(FILE_UNLINK, "big"), 0);
}

/* A cancelled request is not answered, and what it opened is closed. */
static void test_cancel(void **state)
{
	struct result result = { 0 };
	struct answer answer;

	make_file("file", "x");
	for (int i = 0; i < 50; i++) {
		struct file_request request = { .op = i % 2 ? FILE_OPENDIR : FILE_OPEN,
			.flags = i % 4 == 1 ? FILES_LIST : 0, .length = i % 4 == 0 ? 100 : 0 };

		ask_start(&fixture, &request, i % 2 ? "" : "file", NULL, NULL, &answer);
		if (i % 3)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		answer_done(&answer);
		if (!answer.done)
			ssh_transport.file_cancel(fixture.transport, (uint64_t)(uintptr_t)&answer);
		else if (answer.reply.handle)
			shut(answer.reply.handle);
		assert_int_equal(simple(FILE_GETATTR, "file"), 0);
	}
	/* The server is the parent of the command's shell, and serves files itself. */
	run(&fixture, "ls -l /proc/$PPID/fd 2>/dev/null | grep -c \"ho'me\"", &result);
	assert_string_equal(result.out.data, "0\n");
	result_done(&result);
	assert_int_equal(simple(FILE_UNLINK, "file"), 0);
}

/* The first of two answers: cancels the request of the other one. */
static void cancel_other(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct answer *answers = data;

	answers[0].done = true;
	ssh_transport.file_cancel(fixture.transport, (uint64_t)(uintptr_t)&answers[1]);
}

/* Whoever cancels a request hears no more of it, also from inside the answer to another one, when both
 * were to be told in the same turn. */
static void test_cancel_inside(void **state)
{
	struct file_request request = { .op = FILE_READ, .handle = 1u << 30, .length = 1 };
	struct file_call call = { &request, "", "", NULL };
	struct answer answers[3] = { 0 };

	ssh_transport.file(fixture.transport, 1, &call, cancel_other, answers);
	for (int i = 1; i < 3; i++)
		ask_start(&fixture, &request, NULL, NULL, NULL, &answers[i]);
	await(&fixture, &answers[2].done);
	assert_true(answers[0].done);
	assert_false(answers[1].done);
	for (int i = 1; i < 3; i++)
		answer_done(&answers[i]);
}

/* READDIRs that are cancelled, and closed under way. */
static void test_cancel_list(void **state)
{
	struct answer opened, answer;
	struct file_request request = { .op = FILE_READDIR };

	make_file("file", "x");
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ask_path(&fixture, FILE_OPENDIR, "", &opened), 0);
		request.handle = opened.reply.handle;
		answer_done(&opened);
		ask_start(&fixture, &request, NULL, NULL, NULL, &answer);
		if (i % 2) {
			ssh_transport.file_cancel(fixture.transport, (uint64_t)(uintptr_t)&answer);
			assert_int_equal(
				ask_handle(&fixture, FILE_READDIR, request.handle, &answer), 0);
			assert_true(answer.bytes.size > 0);
		} else {
			struct answer closed;
			struct file_request close = { .op = FILE_CLOSE, .handle = request.handle };

			ask_start(&fixture, &close, NULL, NULL, NULL, &closed);
			await(&fixture, &answer.done);
			await(&fixture, &closed.done);
			assert_true(answer.reply.error == -EBADF || answer.bytes.size > 0);
			answer_done(&answer);
			answer_done(&closed);
			continue;
		}
		answer_done(&answer);
		assert_int_equal(shut(request.handle), 0);
	}
	assert_int_equal(simple(FILE_UNLINK, "file"), 0);
}

/* One connection for all. */
static int set_up(void **state)
{
	fixture_open(&fixture, NULL, NULL);
	return 0;
}

/* Its end. */
static int tear_down(void **state)
{
	fixture_close(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_rename),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_setattr),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_open_small),
		cmocka_unit_test(test_list_many),
		cmocka_unit_test(test_read_ahead),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cancel_inside),
		cmocka_unit_test(test_cancel_list),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
