/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/protocol/spool.h"

static int dir;
static char dir_name[] = "/tmp/test_spool.XXXXXX";

/* The byte of the test stream at an offset. */
static unsigned char byte_at(uint64_t offset)
{
	return (unsigned char)(offset * 131 + (offset >> 8) * 7 + (offset >> 16));
}

static void fill(unsigned char *bytes, uint64_t offset, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = byte_at(offset + i);
}

static void check(const unsigned char *bytes, uint64_t offset, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != byte_at(offset + i))
			fail_msg("offset %llu is wrong", (unsigned long long)(offset + i));
}

/* Everything that is kept must be readable in pieces of any size, from any offset. */
static void compare(struct spool_reader *reader, uint64_t from, uint64_t start, uint64_t end)
{
	unsigned char bytes[977];
	uint64_t at = from;
	ssize_t count;

	while ((count = spool_read(reader, &at, bytes, 1 + (size_t)rand() % sizeof(bytes))) > 0) {
		assert_true(at >= start && at + (uint64_t)count <= end);
		assert_true(from >= start || at >= start);
		check(bytes, at, (size_t)count);
		at += (uint64_t)count;
	}
	assert_int_equal(count, 0);
	assert_int_equal(at, end);
}

static void wraps_many_times(void **state)
{
	enum { LIMIT = 5000, BASE = 123456789 };
	static unsigned char bytes[3 * LIMIT];
	struct spool_writer *writer;
	struct spool_reader *reader;
	uint64_t end = BASE, start = BASE;

	assert_int_equal(spool_writer_new(dir, "wrap", LIMIT, BASE, &writer), 0);
	assert_int_equal(spool_reader_new(dir, "wrap", &reader), 0);
	for (int i = 0; i < 2000; i++) {
		size_t size = (size_t)rand() % (i % 10 ? 900 : sizeof(bytes));
		fill(bytes, end, size);
		assert_int_equal(spool_append(writer, bytes, size), 0);
		end += size;
		if (end - start > LIMIT)
			start = end - LIMIT;
		assert_int_equal(spool_start(writer), start);
		assert_int_equal(spool_end(writer), end);
		uint64_t first = 0;
		assert_true(spool_read(reader, &first, bytes, 1) >= 0);
		assert_int_equal(first, start);
		compare(reader, start + (uint64_t)rand() % (end - start + 1), start, end);
		compare(reader, 0, start, end);
	}
	spool_reader_free(reader);
	spool_writer_free(writer);
}

static void the_beginning_is_written_last(void **state)
{
	enum { LIMIT = 5000, BASE = 7000, END = 9000 };
	static unsigned char bytes[LIMIT];
	struct spool_writer *writer;
	struct spool_reader *reader;

	assert_int_equal(spool_writer_new(dir, "late", LIMIT, BASE, &writer), 0);
	assert_int_equal(spool_reader_new(dir, "late", &reader), 0);
	fill(bytes, BASE, END - BASE);
	assert_int_equal(spool_append(writer, bytes, END - BASE), 0);
	spool_writer_free(writer);

	assert_int_equal(spool_writer_open(dir, "none", &writer), -ENOENT);
	assert_int_equal(spool_writer_open(dir, "late", &writer), 0);
	assert_int_equal(spool_start(writer), BASE);
	assert_int_equal(spool_end(writer), END);
	fill(bytes, END - LIMIT, LIMIT);
	/* Neither over what is there nor around the ring. */
	assert_int_equal(spool_prepend(writer, BASE - 10, bytes, 11), -EINVAL);
	assert_int_equal(spool_prepend(writer, END - LIMIT - 1, bytes, 1), -EINVAL);
	assert_int_equal(spool_prepend(writer, END - LIMIT, bytes, 1500), 0);
	assert_int_equal(spool_prepend(writer, END - LIMIT + 1500, bytes + 1500, 1500), 0);
	compare(reader, 0, BASE, END);
	assert_int_equal(spool_lower(writer, 0), 0);
	assert_int_equal(spool_start(writer), END - LIMIT);
	compare(reader, 0, END - LIMIT, END);
	/* It goes on as any other does. */
	fill(bytes, END, 100);
	assert_int_equal(spool_append(writer, bytes, 100), 0);
	compare(reader, 0, END + 100 - LIMIT, END + 100);
	assert_int_equal(spool_lower(writer, END), 0);
	assert_int_equal(spool_start(writer), END + 100 - LIMIT);
	spool_reader_free(reader);
	spool_writer_free(writer);
}

static void offset_beyond_the_end_reads_nothing(void **state)
{
	struct spool_writer *writer;
	struct spool_reader *reader;
	uint64_t offset = 100;
	char byte;

	assert_int_equal(spool_writer_new(dir, "end", 4096, 0, &writer), 0);
	assert_int_equal(spool_append(writer, "x", 1), 0);
	assert_int_equal(spool_reader_new(dir, "end", &reader), 0);
	assert_int_equal(spool_read(reader, &offset, &byte, 1), 0);
	assert_int_equal(offset, 100);
	offset = 0;
	assert_int_equal(spool_read(reader, &offset, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	spool_reader_free(reader);
	spool_writer_free(writer);
}

/* Appends pieces of changing sizes until `total` bytes were written; in a process of its own. */
static void write_stream(uint64_t limit, uint64_t total)
{
	static unsigned char bytes[20000];
	struct spool_writer *writer;
	uint64_t end = 0;

	if (spool_writer_new(dir, "stream.new", limit, 0, &writer) < 0)
		_exit(1);
	if (renameat(dir, "stream.new", dir, "stream") < 0)
		_exit(2);
	while (end < total) {
		size_t size = 1 + (size_t)rand() % (sizeof(bytes) - 1);
		if (size > total - end)
			size = (size_t)(total - end);
		fill(bytes, end, size);
		if (spool_append(writer, bytes, size) < 0)
			_exit(3);
		end += size;
	}
	spool_writer_free(writer);
	_exit(0);
}

static void two_processes(uint64_t limit, uint64_t total)
{
	static unsigned char bytes[30000];
	struct spool_reader *reader;
	uint64_t at = 0, expected = 0, got = 0;
	int status, opened;
	bool ended = false;
	pid_t writer = fork();

	if (writer == 0)
		write_stream(limit, total);
	/* It may write all before it is looked for. */
	while ((opened = spool_reader_new(dir, "stream", &reader)) == -ENOENT && !ended)
		ended = waitpid(writer, &status, WNOHANG) == writer;
	assert_int_equal(opened, 0);
	while (at < total) {
		ssize_t count = spool_read(reader, &at, bytes, 1 + (size_t)rand() % sizeof(bytes));
		assert_true(count >= 0);
		assert_true(at >= expected);
		check(bytes, at, (size_t)count);
		expected = at += (uint64_t)count;
		got += (uint64_t)count;
	}
	assert_int_equal(at, total);
	if (!ended)
		assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_int_equal(status, 0);
	if (limit >= total)
		assert_int_equal(got, total);
	spool_reader_free(reader);
	unlinkat(dir, "stream", 0);
}

static void reader_and_writer_at_the_same_time(void **state)
{
	two_processes(64 << 20, 16 << 20);
	two_processes(65536, 24 << 20);
	two_processes(4096, 4 << 20);
}

static void make_file(const char *name, const void *bytes, size_t size, off_t length)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, size, 0), size);
	assert_int_equal(ftruncate(fd, length), 0);
	close(fd);
}

static void malformed_files_are_refused(void **state)
{
	struct {
		char magic[8];
		uint64_t limit, start, end;
	} header = { "poolspl", 4096, 0, 0 };
	struct spool_reader *reader;

	assert_int_equal(spool_reader_new(dir, "none", &reader), -ENOENT);
	make_file("bad", "", 0, 0);
	assert_int_equal(spool_reader_new(dir, "bad", &reader), -EPROTO);
	make_file("bad", &header, sizeof(header), 8192);
	assert_int_equal(spool_reader_new(dir, "bad", &reader), -EPROTO);
	header.magic[7] = '1';
	static const uint64_t limits[] = { 0, 1, 4095, UINT64_MAX, (uint64_t)1 << 63 };
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		header.limit = limits[i];
		make_file("bad", &header, sizeof(header), 8192);
		assert_int_equal(spool_reader_new(dir, "bad", &reader), -EPROTO);
	}
	unlinkat(dir, "bad", 0);
	assert_int_equal(mkfifoat(dir, "bad", 0600), 0);
	assert_int_equal(spool_reader_new(dir, "bad", &reader), -EPROTO);
	unlinkat(dir, "bad", 0);
	assert_int_equal(symlinkat("/etc/passwd", dir, "bad"), 0);
	assert_true(spool_reader_new(dir, "bad", &reader) < 0);
	unlinkat(dir, "bad", 0);
}

static void nonsense_ranges_are_refused(void **state)
{
	static const uint64_t ranges[][2] = {
		{ 2, 1 }, { 0, 4097 }, { UINT64_MAX, 0 }, { 0, UINT64_MAX },
		{ UINT64_MAX - 1, UINT64_MAX }, { 0, 4096 } /* more than the file has */,
	};
	struct {
		char magic[8];
		uint64_t limit, start, end;
	} header = { "poolspl", 4096, 0, 0 };
	struct spool_reader *reader;
	char bytes[8192];

	header.magic[7] = '1';
	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		uint64_t offset = 0;
		header.start = ranges[i][0];
		header.end = ranges[i][1];
		make_file("bad", &header, sizeof(header), 4096 + 100);
		assert_int_equal(spool_reader_new(dir, "bad", &reader), 0);
		assert_int_equal(spool_read(reader, &offset, bytes, sizeof(bytes)), -EPROTO);
		spool_reader_free(reader);
	}
	unlinkat(dir, "bad", 0);
}

static void a_full_disk_only_drops_bytes(void **state)
{
	struct spool_writer *writer;
	int result = spool_writer_new(dir, "full", 1 << 20, 0, &writer);

	assert_int_equal(result, 0);
	/* A process limit on the file's size stands in for the full disk. */
	pid_t child = fork();
	if (child == 0) {
		static char bytes[70000];
		struct spool_reader *reader;
		uint64_t offset = 0;
		struct rlimit limit = { 65536, 65536 };
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		if (spool_append(writer, bytes, 1000) != 0)
			_exit(1);
		if (spool_append(writer, bytes, sizeof(bytes)) >= 0)
			_exit(2);
		if (spool_end(writer) != 71000 || spool_start(writer) != 71000)
			_exit(3);
		if (spool_reader_new(dir, "full", &reader) < 0 ||
			spool_read(reader, &offset, bytes, 1) != 0 || offset != 71000)
			_exit(4);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	spool_writer_free(writer);
}

static int set_up(void **state)
{
	if (!mkdtemp(dir_name))
		return -1;
	dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "wrap", "late", "end", "stream", "full", "bad" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlinkat(dir, names[i], 0);
	close(dir);
	return rmdir(dir_name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wraps_many_times),
		cmocka_unit_test(the_beginning_is_written_last),
		cmocka_unit_test(offset_beyond_the_end_reads_nothing),
		cmocka_unit_test(reader_and_writer_at_the_same_time),
		cmocka_unit_test(malformed_files_are_refused),
		cmocka_unit_test(nonsense_ranges_are_refused),
		cmocka_unit_test(a_full_disk_only_drops_bytes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
