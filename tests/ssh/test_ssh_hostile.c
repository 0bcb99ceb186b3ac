/* SPDX-License-Identifier: MIT */
/* SFTP servers that lie (hostile.py): the connection ends, or the one file fails; never more. */
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

#include "backends/ssh/bounds.h"
#include "tests/ssh/harness.h"

/* A server that misbehaves. */
static void open_hostile(struct fixture *fixture, const char *mode)
{
	const char *script = getenv("POOLFS_HOSTILE");
	char program[512];

	snprintf(program, sizeof(program), "%s %s", script ? script : "tests/ssh/hostile.py", mode);
	setenv("SSHD_SFTP", program, 1);
	fixture_start(fixture, NULL, NULL);
	unsetenv("SSHD_SFTP");
	connect_to(fixture, NULL);
	await(fixture, &fixture->up);
}

/* What breaks the protocol ends the connection; a new one can be made. */
static void test_broken(void **state)
{
	static const struct {
		const char *mode;
		enum file_op op;
		int error;
	} cases[] = {
		{ "version", FILE_GETATTR, -EIO },
		{ "bad-root", FILE_GETATTR, -EIO },
		{ "wrong-id", FILE_GETATTR, -EIO },
		{ "wrong-type", FILE_GETATTR, -EIO },
		{ "huge-packet", FILE_GETATTR, -EIO },
		{ "empty-packet", FILE_GETATTR, -EIO },
		{ "short-attrs", FILE_GETATTR, -EIO },
		{ "cut", FILE_GETATTR, -EHOSTDOWN },
		{ "status-for-open", FILE_OPEN, -EIO },
		{ "long-handle", FILE_OPEN, -EIO },
		{ "empty-handle", FILE_OPEN, -EIO },
		{ "twice", FILE_GETATTR, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fixture fixture;
		struct answer answer;

		open_hostile(&fixture, cases[i].mode);
		int error = ask_path(&fixture, cases[i].op, "x", &answer);

		answer_done(&answer);
		if (error != cases[i].error)
			fail_msg("%s: %d", cases[i].mode, error);
		await(&fixture, &fixture.down);
		assert_false(fixture.fatal);
		connect_to(&fixture, NULL);
		await(&fixture, &fixture.up);
		fixture_close(&fixture);
	}
}

/* No answer at all: after the limit all requests fail. */
static void test_silent(void **state)
{
	struct fixture fixture;
	struct answer answer;

	open_hostile(&fixture, "silent");
	assert_int_equal(ask_path(&fixture, FILE_GETATTR, "x", &answer), -ETIMEDOUT);
	answer_done(&answer);
	await(&fixture, &fixture.down);
	fixture_close(&fixture);
}

/* Numbers and names that cannot be. */
static void test_cleaned(void **state)
{
	const struct file_entry *entry;
	struct fixture fixture;
	struct answer answer;
	const char *name;
	size_t position = 0;

	open_hostile(&fixture, "huge-size");
	assert_int_equal(ask_path(&fixture, FILE_GETATTR, "x", &answer), 0);
	assert_int_equal(answer.reply.attr.size, INT64_MAX);
	assert_int_equal(answer.reply.attr.mode, S_IFREG | 0755);
	answer_done(&answer);
	assert_int_equal(ask_path(&fixture, FILE_READLINK, "x", &answer), -EPERM);
	answer_done(&answer);
	assert_int_equal(ask_path(&fixture, FILE_OPENDIR, "x", &answer), 0);
	uint64_t handle = answer.reply.handle;

	answer_done(&answer);
	assert_int_equal(ask_handle(&fixture, FILE_READDIR, handle, &answer), 0);
	assert_int_equal(files_entry_next(answer.bytes.data, answer.bytes.size, &position, &entry,
				 &name), 1);
	assert_memory_equal(name, "good", 4);
	assert_int_equal(files_entry_next(answer.bytes.data, answer.bytes.size, &position, &entry,
				 &name), 1);
	assert_memory_equal(name, "\xff\x01", 2);
	assert_int_equal(position, answer.bytes.size);
	answer_done(&answer);
	assert_int_equal(ask_handle(&fixture, FILE_CLOSE, handle, &answer), 0);
	answer_done(&answer);
	assert_non_null(strstr(fixture.log.data, "4 entries"));
	fixture_close(&fixture);
}

/* Reads that bring more than asked, or one byte at a time. */
static void test_reads(void **state)
{
	static const struct {
		const char *mode;
		int error;
		uint32_t count;
	} cases[] = { { "long-data", -EIO, 0 }, { "short-data", 0, 100 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct file_request request = { .op = FILE_READ, .offset = 50, .length = 100 };
		struct fixture fixture;
		struct answer answer;

		open_hostile(&fixture, cases[i].mode);
		assert_int_equal(ask_open(&fixture, "x", O_RDONLY, &request.handle), 0);
		assert_int_equal(
			ask(&fixture, &request, NULL, NULL, NULL, &answer), cases[i].error);
		if (!cases[i].error)
			assert_int_equal(answer.bytes.size, cases[i].count);
		answer_done(&answer);
		assert_false(fixture.down);
		fixture_close(&fixture);
	}
}

/* Lists a directory to its end: the bytes of its entries. */
static size_t list_endless(const char *mode)
{
	struct fixture fixture;
	struct answer answer;
	size_t total = 0, size;

	open_hostile(&fixture, mode);
	assert_int_equal(ask_path(&fixture, FILE_OPENDIR, "x", &answer), 0);
	uint64_t handle = answer.reply.handle;

	do {
		answer_done(&answer);
		assert_int_equal(ask_handle(&fixture, FILE_READDIR, handle, &answer), 0);
		size = answer.bytes.size;
		total += size;
	} while (size);
	answer_done(&answer);
	assert_int_equal(ask_handle(&fixture, FILE_CLOSE, handle, &answer), 0);
	answer_done(&answer);
	assert_non_null(strstr(fixture.log.data, "the rest is left out"));
	assert_non_null(strstr(fixture.log.data, "status: files_directories_cut 1"));
	fixture_close(&fixture);
	return total;
}

/* A directory without end is cut off, one that lies about its length ends the connection. */
static void test_endless(void **state)
{
	struct fixture fixture;
	struct answer answer;

	assert_true(list_endless("endless") <= sizeof(struct file_entry) + 8);
	size_t each = list_endless("endless-names") / LIMIT_ENTRIES;

	assert_true(each >= sizeof(struct file_entry) + 8 && each <= sizeof(struct file_entry) + 16);
	open_hostile(&fixture, "many-names");
	assert_int_equal(ask_path(&fixture, FILE_OPENDIR, "x", &answer), 0);
	answer_done(&answer);
	await(&fixture, &fixture.down);
	fixture_close(&fixture);
}

/* A server whose handles can be guessed for a while, and then not, or which then does not go by the order of
 * requests: each directory's entries are its own all the same. */
static void test_guesses(void **state)
{
	static const char *const modes[] = { "new-handles", "swapped" };

	for (size_t mode = 0; mode < 2; mode++) {
		struct fixture fixture;

		open_hostile(&fixture, modes[mode]);
		for (int i = 0; i < 30; i++) {
			struct file_request request = { .op = FILE_OPENDIR, .flags = FILES_LIST };
			const struct file_entry *entry;
			struct answer answer;
			size_t position = 0;
			const char *name;
			char path[16];

			snprintf(path, sizeof(path), "d%d", i);
			assert_int_equal(ask(&fixture, &request, path, NULL, NULL, &answer), 0);
			assert_int_equal(answer.reply.handle, 0);
			assert_int_equal(files_entry_next(answer.bytes.data, answer.bytes.size,
						 &position, &entry, &name), 1);
			assert_int_equal(entry->name_size, strlen(path));
			assert_memory_equal(name, path, strlen(path));
			assert_int_equal(position, answer.bytes.size);
			answer_done(&answer);
		}
		assert_false(fixture.down);
		fixture_close(&fixture);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_cleaned),
		cmocka_unit_test(test_reads),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_guesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
