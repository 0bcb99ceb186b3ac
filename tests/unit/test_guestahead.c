/* SPDX-License-Identifier: MIT */
/* What is answered before the guest has done it: order, limits, what is told meanwhile, failures, losses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <cmocka.h>

#include "fs/guestahead.h"
#include "fs/tree.h"
#include "tests/unit/far.h"

static struct object *root;

/* Most of all is made below a directory that was made here. */
static struct object *top;

static int begin(void **state)
{
	far_begin("eager");
	root = guestfs_root(far_files);
	top = far_mkdir(root, "top");
	far_answer(FILE_MKDIR);
	return 0;
}

static int end(void **state)
{
	far_end();
	return 0;
}

/* Requests whose answer is a name or an error; *record tells which. */
static void look_up(struct record *record, struct object *parent, const char *name)
{
	guestfs_lookup(record_new(record), parent, name);
}

static void make_link(struct record *record, struct object *file, const char *name)
{
	guestfs_link(record_new(record), file, top, name);
}

static int remove_name(const char *name, bool directory, struct record *record)
{
	guestfs_remove(record_new(record), top, name, directory);
	return record->replies;
}

static int rename_to(struct object *from, const char *name, struct object *to, const char *new_name,
	unsigned flags, struct record *record)
{
	guestfs_rename(record_new(record), from, name, to, new_name, flags);
	return record->replies;
}

static int sync_handle(struct handle *handle)
{
	struct record record;

	guestfs_fsync(record_new(&record), handle);
	far_settle();
	assert_int_equal(record.replies, 1);
	return record.error;
}

/* A directory's fsync: what it tells. */
static int sync_directory(struct object *directory)
{
	struct record record;

	guestfs_opendir(record_new(&record), directory);
	far_settle();
	struct handle *handle = record.handle;
	int error = sync_handle(handle);
	guestfs_release(handle);
	return error;
}

/* The guest has shown that it renames in one step and makes hard links. */
static void teach(void)
{
	struct record record;
	struct object *file;
	struct handle *handle = far_create(top, "first", &file);

	far_settle();
	guestfs_release(handle);
	make_link(&record, file, "second");
	assert_int_equal(record.replies, 0);
	far_answer(FILE_LINK);
	assert_int_equal(record.replies, 1);
	assert_int_equal(rename_to(top, "second", top, "third", 0, &record), 0);
	far_answer(FILE_RENAME);
	assert_int_equal(record.replies, 1);
	assert_int_equal(far_all(), 0);
}

/* What is written waits for the file's handle, and its close for both. */
static void requests_wait_for_what_is_made(void **state)
{
	struct handle *handle = far_create(top, "f", NULL);

	far_write(handle, "one");
	far_write(handle, "two");
	guestfs_release(handle);
	assert_int_equal(far_all(), 1);
	assert_string_equal(far_oldest_of(FILE_OPEN)->path, "top/f");
	assert_int_equal(far_closes, 0);
	far_answer(FILE_OPEN);
	assert_int_equal(far_count(FILE_WRITE), 2);
	assert_int_equal(far_oldest_of(FILE_WRITE)->request.handle, 1);
	far_settle();
	assert_int_equal(far_closes, 1);
	assert_int_equal(far_failures, 0);
	assert_int_equal(guestfs_ahead(far_files), 0);
}

/* Whoever waits for what was answered is told when all before it is done, whatever the order of the answers. */
static void answers_may_come_in_any_order(void **state)
{
	far_mkdir(top, "a");
	far_mkdir(top, "b");
	far_mkdir(top, "c");
	uint64_t newest = guestfs_ahead(far_files);
	struct far_sent *first = far_oldest_of(FILE_MKDIR);
	struct file_reply reply = { .attr = { .valid = FILE_ATTR_MODE, .mode = S_IFDIR | 0755 } };

	for (struct far_sent *sent = first; far_count(FILE_MKDIR) > 1;)
		if ((++sent)->id)
			far_reply(sent, &reply);
	assert_int_equal(far_oldest, newest - 2);
	far_reply(first, &reply);
	assert_int_equal(far_oldest, UINT64_MAX);
	assert_int_equal(guestfs_ahead(far_files), 0);
}

/* So many answers may be ahead; so many files being made. */
static void there_are_limits(void **state)
{
	static struct record records[GUEST_MAKING_MAX + 1];
	struct handle *handles[GUEST_MAKING_MAX];
	struct record record;
	char name[16];

	for (unsigned i = 0; i <= GUEST_MAKING_MAX; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		guestfs_create(record_new(&records[i]), top, name, 0644, O_WRONLY);
		assert_int_equal(records[i].replies, i < GUEST_MAKING_MAX);
		if (i < GUEST_MAKING_MAX)
			handles[i] = records[i].handle;
	}
	for (unsigned i = GUEST_MAKING_MAX; i < 1024; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		far_mkdir(top, name);
	}
	guestfs_mkdir(record_new(&record), top, "more", 0755);
	assert_int_equal(record.replies, 0);
	assert_int_equal(remove_name("d300", true, &records[0]), 0);
	far_settle();
	assert_int_equal(record.replies, 1);
	assert_int_equal(records[0].replies, 1);
	assert_int_equal(records[GUEST_MAKING_MAX].replies, 1);
	far_mkdir(top, "again");
	guestfs_release(records[GUEST_MAKING_MAX].handle);
	for (unsigned i = 0; i < GUEST_MAKING_MAX; i++)
		guestfs_release(handles[i]);
	far_settle();
}

/* Attributes are made up until the guest tells them. */
static void attributes_are_foreseen(void **state)
{
	struct stat change = { .st_mode = 0600, .st_size = 2 };
	struct object *object;
	struct record record;
	struct handle *handle = far_create(top, "f", &object);

	far_write(handle, "bytes");
	guestfs_getattr(record_new(&record), object, handle);
	assert_int_equal(record.attr.st_size, 5);
	guestfs_setattr(record_new(&record), object, NULL, &change, TREE_SET_MODE | TREE_SET_SIZE);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.attr.st_mode, S_IFREG | 0600);
	assert_int_equal(record.attr.st_size, 2);
	look_up(&record, top, "f");
	assert_int_equal(record.entry.attr.st_size, 2);
	far_size = 2;
	far_settle();
	guestfs_getattr(record_new(&record), object, NULL);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.attr.st_mtim.tv_sec, 1000);
	guestfs_release(handle);
}

/* That an open file is there says nothing about its name. */
static void open_files_may_have_no_name(void **state)
{
	struct record record;
	struct object *file;
	struct handle *handle = far_create(top, "f", &file);

	far_settle();
	look_up(&record, top, "f");
	assert_int_equal(record.replies, 1);
	guestfs_doubt(far_files);
	guestfs_getattr(record_new(&record), file, handle);
	assert_int_equal(far_oldest_of(FILE_GETATTR)->request.handle, 1);
	far_settle();
	look_up(&record, top, "f");
	assert_int_equal(record.replies, 0);
	far_refuse(FILE_GETATTR, -ENOENT);
	assert_int_equal(record.error, -ENOENT);
	guestfs_release(handle);
}

/* What cannot be made: the file tells it, so does its directory, once; and what was to be written is lost. */
static void failures_are_told(void **state)
{
	struct record record;
	struct handle *handle = far_create(top, "f", NULL);

	far_write(handle, "lost");
	far_refuse(FILE_OPEN, -EACCES);
	assert_int_equal(far_failures, 2);
	assert_string_equal(far_path, "top/f");
	guestfs_flush(record_new(&record), handle);
	assert_true(record.error == -EACCES || record.error == -ESTALE);
	assert_int_not_equal(sync_handle(handle), 0);
	guestfs_release(handle);
	look_up(&record, top, "f");
	assert_int_equal(far_count(FILE_GETATTR), 1);
	far_refuse(FILE_GETATTR, -ENOENT);
	assert_int_equal(record.error, -ENOENT);
	assert_int_equal(sync_directory(top), -EACCES);
	assert_int_equal(sync_directory(top), 0);
}

/* Nobody knows what became of what was under way. */
static void losses_are_told(void **state)
{
	struct record record;
	struct handle *handle = far_create(top, "f", NULL);

	far_write(handle, "lost");
	far_mkdir(top, "d");
	far_lose();
	assert_int_equal(far_failures, 3);
	assert_int_equal(far_error, -EIO);
	assert_int_equal(guestfs_ahead(far_files), 0);
	guestfs_mkdir(record_new(&record), top, "e", 0755);
	assert_int_equal(record.error, -EHOSTDOWN);
	far_return();
	assert_int_equal(sync_handle(handle), -EIO);
	guestfs_release(handle);
	assert_int_equal(sync_directory(top), -EIO);
}

/* A removed name is absent at once, and stays so when what was done to it before ends. */
static void removed_names_are_absent(void **state)
{
	struct record record;
	struct handle *handle = far_create(top, "f", NULL);

	guestfs_release(handle);
	assert_int_equal(remove_name("f", false, &record), 1);
	assert_int_equal(record.error, 0);
	for (int i = 0; i < 3; i++) {
		look_up(&record, top, "f");
		assert_int_equal(record.replies, 1);
		assert_int_equal(record.error, -ENOENT);
		if (far_all())
			far_settle();
	}
	far_mkdir(top, "f");
	look_up(&record, top, "f");
	assert_int_equal(record.entry.attr.st_mode & S_IFMT, S_IFDIR);
	far_settle();
}

/* A directory goes ahead of the guest when all that was in it does. */
static void directories_are_known_to_be_empty(void **state)
{
	struct record record;
	struct object *sub = far_mkdir(top, "sub");

	far_mkdir(sub, "d");
	far_settle();
	assert_int_equal(remove_name("sub", true, &record), 0);
	far_refuse(FILE_RMDIR, -ENOTEMPTY);
	assert_int_equal(record.error, -ENOTEMPTY);
	guestfs_remove(record_new(&record), sub, "d", true);
	assert_int_equal(record.replies, 1);
	assert_int_equal(remove_name("sub", true, &record), 1);
	assert_int_equal(far_count(FILE_RMDIR), 2);
	assert_string_equal(far_oldest_of(FILE_RMDIR)->path, "top/sub/d");
	far_settle();
	far_mkdir(top, "sub");
	far_settle();
	guestfs_doubt(far_files);
	assert_int_equal(remove_name("sub", true, &record), 0);
	far_settle();
	assert_int_equal(far_failures, 0);
}

/* What was listed is in it until it is removed. */
static void listed_directories_are_known_too(void **state)
{
	struct record record;
	struct object *sub = far_mkdir(top, "sub");

	far_settle();
	guestfs_doubt(far_files);
	guestfs_opendir(record_new(&record), sub);
	far_list((const char *const[]){ "f", NULL });
	guestfs_release(record.handle);
	look_up(&record, sub, "f");
	assert_int_equal(record.replies, 1);
	assert_int_equal(remove_name("sub", true, &record), 0);
	far_refuse(FILE_RMDIR, -ENOTEMPTY);
	guestfs_remove(record_new(&record), sub, "f", false);
	assert_int_equal(record.replies, 1);
	assert_int_equal(remove_name("sub", true, &record), 1);
	far_settle();
}

/* A directory that was not empty after all: who syncs its directory is told. */
static void removals_may_fail(void **state)
{
	struct record record;

	far_mkdir(top, "d");
	far_settle();
	assert_int_equal(remove_name("d", true, &record), 1);
	far_refuse(FILE_RMDIR, -ENOTEMPTY);
	assert_int_equal(far_failures, 1);
	assert_string_equal(far_path, "top/d");
	look_up(&record, top, "d");
	assert_int_equal(far_count(FILE_GETATTR), 1);
	far_settle();
	assert_int_equal(sync_directory(top), -ENOTEMPTY);
}

/* Renaming and linking wait until the guest has shown that it can. */
static void the_first_ones_wait(void **state)
{
	struct record record;
	struct object *file;

	teach();
	struct handle *handle = far_create(top, "f", &file);
	make_link(&record, file, "g");
	assert_int_equal(record.replies, 1);
	assert_int_equal(rename_to(top, "g", top, "h", 0, &record), 1);
	assert_string_equal(far_oldest_of(FILE_RENAME)->path2, "top/h");
	far_settle();
	guestfs_release(handle);
	far_lose();
	far_return();
	assert_int_equal(rename_to(top, "h", top, "i", 0, &record), 0);
	struct file_reply several = { 0 };
	far_reply(far_oldest_of(FILE_RENAME), &several);
	assert_int_equal(rename_to(top, "i", top, "j", 0, &record), 0);
	far_settle();
}

/* What is asked for by a new name waits for the file, too. */
static void linked_files_are_waited_for(void **state)
{
	struct record record, link;
	struct object *file;

	teach();
	struct handle *handle = far_create(top, "f", &file);
	far_write(handle, "bytes");
	make_link(&link, file, "g");
	assert_int_equal(remove_name("f", false, &record), 1);
	guestfs_open(record_new(&record), far_object(&link), O_RDONLY);
	assert_int_equal(far_count(FILE_OPEN), 1);
	far_answer(FILE_OPEN);
	assert_int_equal(far_count(FILE_WRITE), 1);
	assert_string_equal(far_oldest_of(FILE_OPEN)->path, "top/g");
	assert_true(far_oldest_of(FILE_WRITE)->id < far_oldest_of(FILE_OPEN)->id);
	far_settle();
	assert_int_equal(record.replies, 1);
	guestfs_release(record.handle);
	guestfs_release(handle);
	make_link(&link, far_object(&link), "h");
	assert_int_equal(link.replies, 0); /* how many names it has by now, only the guest knows */
	far_settle();
}

/* Whoever renames one name of a file to another one keeps both. */
static void names_of_one_file_do_not_replace_each_other(void **state)
{
	struct record record;
	struct object *file;

	teach();
	struct handle *handle = far_create(top, "f", &file);
	make_link(&record, file, "g");
	far_settle();
	guestfs_release(handle);
	assert_int_equal(rename_to(top, "f", top, "g", 0, &record), 0);
	far_settle();
}

/* RENAME_NOREPLACE, other filesystems, and directories with something in them. */
static void renaming_waits_for_what_is_not_known(void **state)
{
	struct object *old, *sub;
	struct record record;

	teach();
	look_up(&record, root, "old");
	struct file_reply there = { .attr = { .valid = FILE_ATTR_MODE, .mode = S_IFDIR | 0755 } };
	far_reply(far_oldest_of(FILE_GETATTR), &there);
	old = far_object(&record);
	sub = far_mkdir(top, "sub");
	far_mkdir(sub, "d");
	far_mkdir(top, "e");
	far_settle();
	assert_int_equal(rename_to(top, "e", old, "e", 0, &record), 0);
	far_settle();
	assert_int_equal(rename_to(old, "e", old, "f", RENAME_NOREPLACE, &record), 0);
	far_settle();
	assert_int_equal(rename_to(old, "f", root, "top", 0, &record), 0);
	far_refuse(FILE_RENAME, -ENOTEMPTY);
	assert_int_equal(record.error, -ENOTEMPTY);
	assert_int_equal(rename_to(sub, "d", top, "d", RENAME_NOREPLACE, &record), 1);
	far_mkdir(top, "empty");
	assert_int_equal(rename_to(top, "d", top, "empty", 0, &record), 1);
	assert_int_equal(remove_name("sub", true, &record), 1);
	guestfs_rename(record_new(&record), top, "empty", top, "x", 8);
	assert_int_equal(record.error, -EINVAL);
	far_settle();
	assert_int_equal(far_failures, 0);
}

/* What the guest refused to rename has its old name again, also for what is below it. */
static void refused_renaming_is_taken_back(void **state)
{
	struct record record;

	teach();
	struct object *sub = far_mkdir(top, "sub");
	far_settle();
	assert_int_equal(rename_to(top, "sub", top, "other", 0, &record), 1);
	far_refuse(FILE_RENAME, -EACCES);
	assert_int_equal(far_failures, 1);
	far_mkdir(sub, "d");
	assert_string_equal(far_oldest_of(FILE_MKDIR)->path, "top/sub/d");
	far_settle();
	assert_int_equal(sync_directory(top), -EACCES);
	/* Unless something else has that name by now. */
	assert_int_equal(rename_to(top, "sub", top, "other", 0, &record), 1);
	far_mkdir(top, "sub");
	far_refuse(FILE_RENAME, -EACCES);
	guestfs_mkdir(record_new(&record), sub, "e", 0755);
	assert_string_equal(far_oldest_of(FILE_MKDIR)->path, "top/sub");
	far_settle();
}

/* What could not be made is not there, whatever name it has by then; what has its old name by then is. */
static void refused_directories_may_have_another_name(void **state)
{
	struct record record;

	teach();
	struct object *first = far_mkdir(top, "d");
	assert_int_equal(rename_to(top, "d", top, "e", 0, &record), 1);
	struct object *second = far_mkdir(top, "d");
	far_refuse(FILE_MKDIR, -EACCES);
	far_refuse(FILE_RENAME, -ENOENT);
	far_settle();
	far_mkdir(second, "x");
	assert_string_equal(far_oldest_of(FILE_MKDIR)->path, "top/d/x");
	guestfs_mkdir(record_new(&record), first, "x", 0755);
	assert_int_equal(record.error, -ESTALE);
	far_settle();
}

/* The kernel takes nothing but files as what it creates, and forgets others at once. */
static void what_is_created_is_a_file(void **state)
{
	struct file_reply reply = { .handle = 77, .attr = { .valid = FILE_ATTR_MODE, .mode = S_IFDIR | 0755 } };
	struct record record;

	far_end();
	far_begin("strict");
	guestfs_create(record_new(&record), guestfs_root(far_files), "f", 0644, O_RDWR);
	far_reply(far_oldest_of(FILE_OPEN), &reply);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.error, -EIO);
	assert_int_equal(far_closes, 1);
	assert_int_equal(far_closed, 77);
}

/* Both directories tell that a renaming failed. */
static void refused_renaming_is_told(void **state)
{
	struct record record;

	teach();
	struct object *sub = far_mkdir(top, "sub");
	far_mkdir(sub, "d");
	far_settle();
	assert_int_equal(rename_to(sub, "d", top, "d", 0, &record), 1);
	far_refuse(FILE_RENAME, -EACCES);
	assert_int_equal(sync_directory(sub), -EACCES);
	assert_int_equal(sync_directory(top), -EACCES);
	assert_int_equal(sync_directory(root), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_wait_for_what_is_made, begin, end),
		cmocka_unit_test_setup_teardown(answers_may_come_in_any_order, begin, end),
		cmocka_unit_test_setup_teardown(there_are_limits, begin, end),
		cmocka_unit_test_setup_teardown(attributes_are_foreseen, begin, end),
		cmocka_unit_test_setup_teardown(open_files_may_have_no_name, begin, end),
		cmocka_unit_test_setup_teardown(failures_are_told, begin, end),
		cmocka_unit_test_setup_teardown(losses_are_told, begin, end),
		cmocka_unit_test_setup_teardown(removed_names_are_absent, begin, end),
		cmocka_unit_test_setup_teardown(directories_are_known_to_be_empty, begin, end),
		cmocka_unit_test_setup_teardown(listed_directories_are_known_too, begin, end),
		cmocka_unit_test_setup_teardown(removals_may_fail, begin, end),
		cmocka_unit_test_setup_teardown(the_first_ones_wait, begin, end),
		cmocka_unit_test_setup_teardown(linked_files_are_waited_for, begin, end),
		cmocka_unit_test_setup_teardown(names_of_one_file_do_not_replace_each_other, begin, end),
		cmocka_unit_test_setup_teardown(renaming_waits_for_what_is_not_known, begin, end),
		cmocka_unit_test_setup_teardown(refused_renaming_is_taken_back, begin, end),
		cmocka_unit_test_setup_teardown(refused_renaming_is_told, begin, end),
		cmocka_unit_test_setup_teardown(refused_directories_may_have_another_name, begin, end),
		cmocka_unit_test_setup_teardown(what_is_created_is_a_file, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
