/* SPDX-License-Identifier: MIT */
/* Files that are opened before anybody asks for them: which, for whom they are good, and what becomes of the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <uv.h>
#include <cmocka.h>

#include "fs/guestnext.h"
#include "fs/tree.h"
#include "tests/unit/far.h"

static const char *const sorted[] = { "a", "b", "c", "d", "e", "f", NULL };

static int begin(void **state)
{
	far_begin("eager");
	return 0;
}

static int end(void **state)
{
	far_end();
	return 0;
}

/* Lists the top directory, whatever is known of it. */
static void list(const char *const *names)
{
	struct record record;

	guestfs_doubt(far_files);
	guestfs_opendir(record_new(&record), guestfs_root(far_files));
	far_list(names);
	guestfs_release(record.handle);
}

static struct object *file(const char *name)
{
	struct record record;

	guestfs_lookup(record_new(&record), guestfs_root(far_files), name);
	assert_int_equal(record.replies, 1);
	return far_object(&record);
}

static void open_one(struct record *record, const char *name)
{
	guestfs_open(record_new(record), file(name), O_RDONLY);
}

/* Opens and closes files one after the other. */
static void open_all(const char *const *names)
{
	struct record record;

	for (; *names; names++) {
		open_one(&record, *names);
		far_answer(FILE_OPEN);
		assert_int_equal(record.replies, 1);
		guestfs_release(record.handle);
	}
}

/* Has "d", "e" and "f" opened ahead. */
static void open_three(void)
{
	list(sorted);
	open_all((const char *const[]){ "a", "b", NULL });
	assert_int_equal(far_all(), 0);
	open_all((const char *const[]){ "c", NULL });
	assert_int_equal(far_count(FILE_OPEN), 3);
	far_closes = 0;
}

static void the_next_ones_are_there(void **state)
{
	struct record under_way, there;

	open_three();
	open_one(&under_way, "d");
	assert_int_equal(under_way.replies, 0);
	assert_int_equal(far_count(FILE_OPEN), 3);
	far_settle();
	assert_int_equal(under_way.replies, 1);
	assert_int_equal(under_way.error, 0);
	open_one(&there, "e");
	assert_int_equal(there.replies, 1);
	assert_int_equal(far_all(), 0);
	guestfs_release(under_way.handle);
	assert_int_equal(far_closed, 4);
	guestfs_release(there.handle);
	assert_int_equal(far_closed, 5);
	/* What is open for one is not for another. */
	open_one(&there, "e");
	assert_int_equal(there.replies, 0);
	far_settle();
	guestfs_release(there.handle);
}

/* Either order will do, but not any. */
static void orders(void **state)
{
	list((const char *const[]){ "c", "a", "f", "d", "b", "e", NULL });
	open_all((const char *const[]){ "a", "b", "c", NULL });
	assert_int_equal(far_count(FILE_OPEN), 3);
	assert_string_equal(far_oldest_of(FILE_OPEN)->path, "d");
	guestfs_close_ahead(far_files);
	far_settle();
	open_all((const char *const[]){ "f", "d", "b", NULL });
	assert_int_equal(far_count(FILE_OPEN), 1);
	assert_string_equal(far_oldest_of(FILE_OPEN)->path, "e");
	guestfs_close_ahead(far_files);
	far_settle();
	open_all((const char *const[]){ "a", "c", "e", "b", "d", "f", NULL });
	assert_int_equal(far_all(), 0);
}

/* Neither large files, nor in a pool where opening asks the guest. */
static void not_always(void **state)
{
	list((const char *const[]){ "a", "b", "c", "d+", "e", "f+", NULL });
	open_all((const char *const[]){ "a", "b", "c", NULL });
	assert_int_equal(far_count(FILE_OPEN), 1);
	assert_string_equal(far_oldest_of(FILE_OPEN)->path, "e");
	far_settle();
	far_end();
	far_begin("strict");
	list(sorted);
	open_all((const char *const[]){ "a", "b", "c", NULL });
	assert_int_equal(far_all(), 0);
}

/* A guest may list a name several times: behind it comes the end in either order. */
static void names_that_are_listed_twice(void **state)
{
	list((const char *const[]){ "a", "b", "c", "d/", "d/", "d/", "d/", NULL });
	open_all((const char *const[]){ "a", "b", "c", NULL });
	assert_int_equal(far_all(), 0);
	list((const char *const[]){ "a", "b", "c", "d/", "e/", "d/", "e/", "f", NULL });
	open_all((const char *const[]){ "a", "b", "c", NULL });
	assert_int_equal(far_count(FILE_OPEN), 1);
	assert_string_equal(far_oldest_of(FILE_OPEN)->path, "f");
	far_settle();
}

/* So many at once, however many there are. */
static void they_are_limited(void **state)
{
	char words[100][4];
	const char *names[101] = { NULL };

	for (unsigned i = 0; i < 100; i++) {
		snprintf(words[i], sizeof(words[i]), "n%02u", i);
		names[i] = words[i];
	}
	list(names);
	open_all((const char *const[]){ "n00", "n01", "n02", NULL });
	assert_int_equal(far_count(FILE_OPEN), NEXT_MAX);
	far_settle();
	open_all((const char *const[]){ "n90", "n91", "n92", NULL });
	assert_int_equal(far_all(), 0);
}

/* What was changed since from here, or by a command, is opened anew. */
static void changes_are_seen(void **state)
{
	struct stat change = { .st_mode = 0600 };
	struct record record;

	open_three();
	far_settle();
	guestfs_setattr(record_new(&record), file("d"), NULL, &change, TREE_SET_MODE);
	far_settle();
	open_one(&record, "d");
	assert_int_equal(far_closes, 1);
	assert_int_equal(far_closed, 4);
	assert_int_equal(far_count(FILE_OPEN), 1);
	far_settle();
	guestfs_release(record.handle);
	struct object *e = file("e");
	guestfs_doubt(far_files);
	guestfs_open(record_new(&record), e, O_RDONLY);
	assert_int_equal(far_count(FILE_OPEN), 1);
	far_settle();
	guestfs_release(record.handle);
	guestfs_open(record_new(&record), e, O_RDWR);
	assert_int_equal(far_count(FILE_OPEN), 1);
	far_settle();
	guestfs_release(record.handle);
}

/* What nobody opens is closed after a while, and before a command begins also what is still under way. */
static void the_others_are_closed(void **state)
{
	open_three();
	far_settle();
	while (far_closes < 3)
		uv_run(uv_default_loop(), UV_RUN_ONCE);
	open_three();
	far_answer(FILE_OPEN);
	guestfs_close_ahead(far_files);
	assert_int_equal(far_closes, 1);
	far_settle();
	assert_int_equal(far_closes, 3);
}

/* Who waits for one may be interrupted; the guest may refuse it; the connection may be lost. */
static void they_may_fail(void **state)
{
	struct record record;

	open_three();
	open_one(&record, "d");
	record.request.interrupt(&record.request, record.request.data);
	assert_int_equal(record.error, -EINTR);
	open_one(&record, "e");
	far_refuse(FILE_OPEN, -EACCES);
	assert_int_equal(record.error, -EACCES);
	far_refuse(FILE_OPEN, -EACCES);
	open_one(&record, "f");
	assert_int_equal(far_count(FILE_OPEN), 1);
	far_settle();
	guestfs_release(record.handle);
	open_three();
	far_answer(FILE_OPEN);
	struct object *d = file("d");
	far_lose();
	far_return();
	far_closes = 0;
	guestfs_open(record_new(&record), d, O_RDONLY);
	assert_int_equal(far_count(FILE_OPEN), 1);
	far_settle();
	guestfs_release(record.handle);
	assert_int_equal(far_closes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_next_ones_are_there, begin, end),
		cmocka_unit_test_setup_teardown(orders, begin, end),
		cmocka_unit_test_setup_teardown(not_always, begin, end),
		cmocka_unit_test_setup_teardown(names_that_are_listed_twice, begin, end),
		cmocka_unit_test_setup_teardown(they_are_limited, begin, end),
		cmocka_unit_test_setup_teardown(changes_are_seen, begin, end),
		cmocka_unit_test_setup_teardown(the_others_are_closed, begin, end),
		cmocka_unit_test_setup_teardown(they_may_fail, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
