/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs/stream.h"
#include "tests/unit/record.h"

/* Reads once; the answer must come at once and is checked. */
static void expect(struct stream *stream, struct stream_cursor *cursor, uint64_t offset, size_t size,
	bool wait, const char *text)
{
	struct record record;

	stream_read(stream, cursor, record_new(&record), offset, size, wait, false);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.error, 0);
	assert_int_equal(record.data.size, strlen(text));
	assert_memory_equal(record.data.data ? record.data.data : "", text, strlen(text));
	record_done(&record);
}

static void reads_what_is_there(void **state)
{
	struct stream stream;
	struct stream_cursor cursor = { 0 };

	stream_init_memory(&stream, 100);
	stream_append(&stream, "hello world", 11);
	expect(&stream, &cursor, 0, 5, false, "hello");
	expect(&stream, &cursor, 5, 100, true, " world");
	expect(&stream, &cursor, 11, 100, false, "");
	expect(&stream, &cursor, 50, 100, false, "");
	stream_done(&stream);
}

static void a_read_at_the_end_waits_for_bytes_or_the_end(void **state)
{
	struct stream stream;
	struct stream_cursor one = { 0 }, two = { 0 };
	struct record first, second;

	stream_init_memory(&stream, 100);
	stream_read(&stream, &one, record_new(&first), 0, 10, true, false);
	stream_read(&stream, &two, record_new(&second), 3, 10, true, false);
	assert_int_equal(first.replies, 0);
	stream_append(&stream, "abc", 3);
	assert_int_equal(first.replies, 1);
	assert_string_equal(first.data.data, "abc");
	assert_int_equal(second.replies, 0);
	stream_end(&stream);
	assert_int_equal(second.replies, 1);
	assert_int_equal(second.data.size, 0);
	record_done(&first);
	record_done(&second);

	stream_read(&stream, &one, record_new(&first), 3, 10, true, false);
	assert_int_equal(first.replies, 1);
	record_done(&first);
	stream_done(&stream);
}

static void waiting_is_refused_and_interrupted(void **state)
{
	struct stream stream;
	struct stream_cursor cursor = { 0 };
	struct record record;

	stream_init_memory(&stream, 100);
	stream_read(&stream, &cursor, record_new(&record), 0, 10, true, true);
	assert_int_equal(record.error, -EAGAIN);
	stream_read(&stream, &cursor, record_new(&record), 0, 10, true, false);
	assert_int_equal(record.replies, 0);
	record.request.interrupt(&record.request, record.request.data);
	assert_int_equal(record.error, -EINTR);
	stream_append(&stream, "x", 1);
	assert_int_equal(record.replies, 1);
	stream_done(&stream);
}

static void dropped_bytes_leave_a_record(void **state)
{
	struct stream stream;
	struct stream_cursor cursor = { 0 };
	const char *gap = "[poolfs: 25 bytes dropped]\n";
	size_t length = strlen(gap);

	stream_init_memory(&stream, 100);
	for (int i = 0; i < 10; i++)
		stream_append(&stream, "0123456789", 10);
	assert_int_equal(stream.start, 0);
	/* The limit is passed: down to three quarters of it. */
	stream_append(&stream, "0123456789", 10);
	assert_int_equal(stream.start, 35);
	assert_int_equal(stream.end, 110);
	expect(&stream, &cursor, 10, 5, false, "[pool");
	expect(&stream, &cursor, 15, 100, false, gap + 5);
	/* Behind the record come the bytes that are kept, at the file's next offset. */
	expect(&stream, &cursor, 10 + length, 3, false, "567");
	expect(&stream, &cursor, 10 + length + 75, 100, false, "");
	/* Another reader, who begins at the end, sees true offsets. */
	struct stream_cursor late = { 0 };
	expect(&stream, &late, 107, 10, false, "789");
	stream_done(&stream);
}

/* A source whose bytes up to 50 were all dropped. */
static ssize_t nothing_left(struct stream *stream, uint64_t *offset, void *buffer, size_t size)
{
	*offset = 50;
	return 0;
}

static void all_bytes_dropped_leave_a_record_too(void **state)
{
	struct stream stream;
	struct stream_cursor cursor = { 0 };
	const char *gap = "[poolfs: 50 bytes dropped]\n";

	stream_init(&stream, nothing_left, NULL);
	stream_moved(&stream, 0, 50);
	expect(&stream, &cursor, 0, 100, false, gap);
	expect(&stream, &cursor, strlen(gap), 100, false, "");
	stream_done(&stream);
}

/* A source that has everything. */
static ssize_t letters(struct stream *stream, uint64_t *offset, void *buffer, size_t size)
{
	memset(buffer, 'x', size);
	return (ssize_t)size;
}

static void what_is_missing_is_waited_for(void **state)
{
	struct stream stream;
	struct stream_cursor cursor = { 0 };
	struct record first, second, poll;

	stream_init(&stream, letters, NULL);
	stream.missing = 8;
	stream_moved(&stream, 0, 10);
	expect(&stream, &cursor, 8, 5, true, "xx");
	stream_read(&stream, &cursor, record_new(&first), 0, 5, true, true);
	assert_int_equal(first.error, -EAGAIN);
	record_done(&first);
	/* The end of the stream is not the end of what is missing. */
	stream_read(&stream, &cursor, record_new(&first), 0, 5, true, false);
	stream_end(&stream);
	stream_read(&stream, &cursor, record_new(&second), 7, 5, true, false);
	assert_int_equal(first.replies + second.replies, 0);
	cursor.next = 0;
	stream_poll(&stream, &cursor, record_new(&poll), true, NULL);
	assert_int_equal(poll.events, 0);
	record_done(&poll);
	stream.missing = 0;
	stream_moved(&stream, 0, 10);
	assert_int_equal(first.data.size, 5);
	assert_int_equal(second.data.size, 3);
	record_done(&first);
	record_done(&second);

	/* Nor does a stream that goes leave anybody waiting. */
	stream.missing = 8;
	stream_read(&stream, &cursor, record_new(&first), 0, 5, true, false);
	assert_int_equal(first.replies, 0);
	stream_done(&stream);
	assert_int_equal(first.replies, 1);
	record_done(&first);
}

static void a_failed_stream_gives_its_error_at_the_end(void **state)
{
	struct stream stream;
	struct stream_cursor cursor = { 0 };
	struct record record;

	stream_init_memory(&stream, 100);
	stream_read(&stream, &cursor, record_new(&record), 0, 10, true, false);
	stream_fail(&stream, -EIO);
	assert_int_equal(record.error, -EIO);
	stream_read(&stream, &cursor, record_new(&record), 0, 10, true, false);
	assert_int_equal(record.error, -EIO);
	stream_done(&stream);
}

static void polls_fire_once_at_the_next_change(void **state)
{
	struct stream stream;
	struct stream_cursor cursor = { 0 };
	struct record record;

	record_fired = record_freed = 0;
	stream_init_memory(&stream, 100);
	stream_poll(&stream, &cursor, record_new(&record), true, record_poller());
	assert_int_equal(record.events, 0);
	stream_append(&stream, "a", 1);
	stream_append(&stream, "b", 1);
	assert_int_equal(record_fired, 1);
	stream_poll(&stream, &cursor, record_new(&record), true, record_poller());
	assert_int_equal(record.events, POLLIN | POLLRDNORM);
	assert_int_equal(record_freed, 0); /* kept: epoll with edges does not ask again */
	expect(&stream, &cursor, 0, 10, true, "ab");
	stream_poll(&stream, &cursor, record_new(&record), true, NULL);
	assert_int_equal(record.events, 0);
	stream_poll(&stream, &cursor, record_new(&record), true, record_poller());
	assert_int_equal(record_freed, 1); /* the same file has one */
	stream_end(&stream);
	assert_int_equal(record_fired, 2);
	stream_poll(&stream, &cursor, record_new(&record), true, record_poller());
	assert_int_equal(record_freed, 2); /* nothing will change any more */
	stream_done(&stream);
}

static void offsets_never_go_back(void **state)
{
	struct stream stream;

	stream_init_memory(&stream, 100);
	assert_true(stream_moved(&stream, 10, 20));
	assert_false(stream_moved(&stream, 10, 19));
	assert_false(stream_moved(&stream, 9, 20));
	assert_false(stream_moved(&stream, 31, 30));
	assert_int_equal(stream.start, 10);
	assert_int_equal(stream.end, 20);
	stream_done(&stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_is_there),
		cmocka_unit_test(a_read_at_the_end_waits_for_bytes_or_the_end),
		cmocka_unit_test(waiting_is_refused_and_interrupted),
		cmocka_unit_test(dropped_bytes_leave_a_record),
		cmocka_unit_test(all_bytes_dropped_leave_a_record_too),
		cmocka_unit_test(what_is_missing_is_waited_for),
		cmocka_unit_test(a_failed_stream_gives_its_error_at_the_end),
		cmocka_unit_test(polls_fire_once_at_the_next_change),
		cmocka_unit_test(offsets_never_go_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
