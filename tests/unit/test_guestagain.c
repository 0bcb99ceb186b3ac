/* SPDX-License-Identifier: MIT */
/* Open files whose connection was lost: which go on, which fail for good, what is told of what they wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <uv.h>
#include <cmocka.h>

#include "fs/guestagain.h"
#include "tests/unit/far.h"

static struct object *file;

/* The file "f", which the kernel has looked up. */
static int begin(void **state)
{
	struct record record;

	far_begin("strict");
	guestfs_lookup(record_new(&record), guestfs_root(far_files), "f");
	far_answer(FILE_GETATTR);
	file = far_object(&record);
	return 0;
}

static int end(void **state)
{
	far_end();
	return 0;
}

/* How a request ended. */
static int end_of(struct record *record)
{
	assert_int_equal(record->replies, 1);
	record_done(record);
	return record->error;
}

static struct handle *open_file(int flags)
{
	struct record record;

	guestfs_open(record_new(&record), file, flags);
	far_answer(FILE_OPEN);
	assert_int_equal(end_of(&record), 0);
	return record.handle;
}

static void lose_and_return(void)
{
	far_lose();
	far_return();
}

static void read_file(struct record *record, struct handle *handle)
{
	guestfs_read(record_new(record), handle, 0, 100);
}

/* Its fsync: what it tells. */
static int sync_file(struct handle *handle)
{
	struct record record;

	guestfs_fsync(record_new(&record), handle);
	far_settle();
	assert_int_equal(record.replies, 1);
	return record.error;
}

/* Waits until an open file that was left alone is looked at. */
static void wait_for_look(void)
{
	while (!far_count(FILE_GETATTR))
		uv_run(uv_default_loop(), UV_RUN_ONCE);
}

/* It is opened as it was, but neither made nor emptied; whoever waits for that goes on. */
static void the_same_goes_on(void **state)
{
	struct handle *handle = open_file(O_RDWR | O_TRUNC);
	struct record one, other;

	lose_and_return();
	read_file(&one, handle);
	read_file(&other, handle);
	assert_int_equal(far_all(), 1);
	assert_int_equal(far_oldest_of(FILE_OPEN)->request.flags, O_RDWR);
	assert_string_equal(far_oldest_of(FILE_OPEN)->path, "f");
	far_answer(FILE_OPEN);
	assert_int_equal(far_count(FILE_READ), 2);
	assert_int_equal(far_oldest_of(FILE_READ)->request.handle, 2);
	far_settle();
	assert_int_equal(end_of(&one), 0);
	assert_int_equal(end_of(&other), 0);
	guestfs_release(handle);
	assert_int_equal(far_closed, 2);
}

/* Another file in its place: it is closed, and the open one has gone. */
static void another_one_is_stale(void **state)
{
	struct handle *handle = open_file(O_RDONLY);
	struct record record;

	lose_and_return();
	read_file(&record, handle);
	far_size = 7;
	far_answer(FILE_OPEN);
	assert_int_equal(end_of(&record), -ESTALE);
	assert_int_equal(far_closed, 2);
	read_file(&record, handle);
	assert_int_equal(end_of(&record), -ESTALE);
	assert_int_equal(far_all(), 0);
	guestfs_release(handle);
	assert_int_equal(far_closes, 1);
}

/* Nothing there is final as well; a guest that does not answer in time is not. */
static void some_errors_are_final(void **state)
{
	struct handle *handle = open_file(O_RDONLY);
	struct record record;
	struct file_reply nothing = { 0 };

	lose_and_return();
	read_file(&record, handle);
	far_refuse(FILE_OPEN, -ETIMEDOUT);
	assert_int_equal(end_of(&record), -ETIMEDOUT);
	read_file(&record, handle);
	far_reply(far_oldest_of(FILE_OPEN), &nothing);
	assert_int_equal(end_of(&record), -EIO);
	read_file(&record, handle);
	far_refuse(FILE_OPEN, -EACCES);
	assert_int_equal(end_of(&record), -ESTALE);
	read_file(&record, handle);
	assert_int_equal(end_of(&record), -ESTALE);
	guestfs_release(handle);
	handle = open_file(O_RDONLY);
	lose_and_return();
	far_lose();
	read_file(&record, handle);
	assert_int_equal(end_of(&record), -EHOSTDOWN);
	guestfs_release(handle);
}

/* What was just written cannot be told from what somebody else wrote; once it was looked at, it can. */
static void written_files_are_looked_at(void **state)
{
	struct handle *handle = open_file(O_RDWR);
	struct record record;

	far_write(handle, "bytes");
	far_settle();
	wait_for_look();
	assert_int_equal(far_oldest_of(FILE_GETATTR)->request.handle, 1);
	far_size = 5;
	far_answer(FILE_GETATTR);
	lose_and_return();
	read_file(&record, handle);
	far_settle();
	assert_int_equal(end_of(&record), 0);
	far_write(handle, "more");
	far_settle();
	lose_and_return();
	read_file(&record, handle);
	far_settle();
	assert_int_equal(end_of(&record), -ESTALE);
	guestfs_release(handle);
}

/* A look that was under way when the file was changed again tells nothing. */
static void late_looks_do_not_count(void **state)
{
	struct handle *handle = open_file(O_RDWR);
	struct record record;

	far_write(handle, "bytes");
	far_settle();
	wait_for_look();
	far_write(handle, "again");
	far_size = 5;
	far_settle();
	lose_and_return();
	read_file(&record, handle);
	far_settle();
	assert_int_equal(end_of(&record), -ESTALE);
	guestfs_release(handle);
}

/* Who waits for the file may be interrupted, or close it; what is opened for nobody is closed. */
static void nobody_has_to_wait(void **state)
{
	struct handle *handle = open_file(O_RDONLY);
	struct record one, other;

	lose_and_return();
	read_file(&one, handle);
	read_file(&other, handle);
	one.request.interrupt(&one.request, one.request.data);
	assert_int_equal(end_of(&one), -EINTR);
	far_settle();
	assert_int_equal(end_of(&other), 0);
	lose_and_return();
	read_file(&one, handle);
	one.request.interrupt(&one.request, one.request.data);
	guestfs_release(handle);
	unsigned before = far_closes;
	far_answer(FILE_OPEN);
	assert_int_equal(far_closes, before + 1);
	assert_int_equal(far_closed, 3);
}

/* What was written and not synced before a loss may be lost: each who could have written it is told, once. */
static void losses_are_told_by_fsync(void **state)
{
	struct handle *one = open_file(O_RDWR), *two = open_file(O_RDWR);

	far_write(one, "bytes");
	far_settle();
	far_size = 5;
	wait_for_look();
	far_settle();
	lose_and_return();
	struct handle *after = open_file(O_RDWR);
	assert_int_equal(sync_file(one), -EIO);
	assert_int_equal(sync_file(two), -EIO);
	assert_int_equal(sync_file(after), 0);
	assert_int_equal(sync_file(one), 0);
	guestfs_release(one);
	guestfs_release(two);
	guestfs_release(after);
}

/* What was synced is safe; what was written while that was under way may not be. */
static void synced_is_safe(void **state)
{
	struct handle *handle = open_file(O_RDWR);
	struct record record;

	far_write(handle, "bytes");
	assert_int_equal(sync_file(handle), 0);
	lose_and_return();
	struct handle *other = open_file(O_RDWR);
	assert_int_equal(sync_file(other), 0);
	far_write(other, "bytes");
	guestfs_fsync(record_new(&record), other);
	far_write(other, "bytes");
	far_settle();
	assert_int_equal(end_of(&record), 0);
	lose_and_return();
	assert_int_equal(sync_file(other), -EIO);
	guestfs_release(handle);
	guestfs_release(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_same_goes_on, begin, end),
		cmocka_unit_test_setup_teardown(another_one_is_stale, begin, end),
		cmocka_unit_test_setup_teardown(some_errors_are_final, begin, end),
		cmocka_unit_test_setup_teardown(written_files_are_looked_at, begin, end),
		cmocka_unit_test_setup_teardown(late_looks_do_not_count, begin, end),
		cmocka_unit_test_setup_teardown(nobody_has_to_wait, begin, end),
		cmocka_unit_test_setup_teardown(losses_are_told_by_fsync, begin, end),
		cmocka_unit_test_setup_teardown(synced_is_safe, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
