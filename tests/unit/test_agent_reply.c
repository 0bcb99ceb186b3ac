/* SPDX-License-Identifier: MIT */
/* What the agent of a machine answers to file requests is believed only as far as it can be right. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "backends/agent/reply.h"

#define ALL (FILE_ATTR_SIZE | FILE_ATTR_OWNER | FILE_ATTR_MODE | FILE_ATTR_TIMES)

/* An answer, as it comes. */
struct sent {
	struct file_reply reply;
	char data[512];
};

/* The answer that a plain file's attributes make. */
static struct sent plain(void)
{
	return (struct sent){ .reply = { .attr = { .valid = ALL, .mode = S_IFREG | 0644,
		.size = 5, .nlink = 1 } } };
}

/* Checks one; returns the error. */
static int check(uint32_t op, const struct sent *sent, size_t data, struct file_reply *reply,
	struct text *out)
{
	struct reply_to to = { .op = op, .length = 100, .handle = 77, .path = "d/l",
		.root = "/root" };

	text_done(out);
	reply_check(&to, sent, sizeof(sent->reply) + data, reply, out);
	return reply->error;
}

static void attributes(void **state)
{
	struct sent sent = plain();
	struct file_reply reply;
	struct text out = { 0 };

	sent.reply.attr.mode = S_IFREG | 06755;
	assert_int_equal(check(FILE_GETATTR, &sent, 0, &reply, &out), 0);
	assert_int_equal(reply.attr.mode, S_IFREG | 0755);
	assert_int_equal(check(FILE_GETATTR, &sent, 1, &reply, &out), -EIO);
	sent.reply.attr.mode = 0644;
	assert_int_equal(check(FILE_GETATTR, &sent, 0, &reply, &out), -EIO);
	sent.reply.attr.mode = S_IFREG;
	sent.reply.attr.size = UINT64_MAX;
	assert_int_equal(check(FILE_GETATTR, &sent, 0, &reply, &out), -EIO);
	sent.reply.attr.size = 0;
	sent.reply.attr.valid = FILE_ATTR_MODE;
	assert_int_equal(check(FILE_GETATTR, &sent, 0, &reply, &out), -EIO);
}

static void errors(void **state)
{
	static const struct {
		int said, taken;
	} cases[] = { { -ENOENT, -ENOENT }, { -133, -133 }, { -134, -EIO }, { 5, -EIO },
		{ -512, -EIO }, { INT32_MIN, -EIO }, { -ENOSYS, -EIO } };
	struct file_reply reply;
	struct text out = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sent sent = { .reply = { .error = cases[i].said } };

		assert_int_equal(check(FILE_READ, &sent, 10, &reply, &out), cases[i].taken);
		assert_int_equal(out.size, 0);
	}
}

static void too_short(void **state)
{
	struct reply_to to = { .op = FILE_UNLINK };
	struct file_reply reply;
	struct text out = { 0 };
	char bytes[sizeof(struct file_reply)] = "";

	reply_check(&to, bytes, sizeof(bytes) - 1, &reply, &out);
	assert_int_equal(reply.error, -EIO);
	reply_check(&to, bytes, sizeof(bytes), &reply, &out);
	assert_int_equal(reply.error, 0);
}

/* A handle is the one that was given, whatever is said. */
static void handles(void **state)
{
	struct sent sent = plain();
	struct file_reply reply;
	struct text out = { 0 };

	assert_int_equal(check(FILE_OPEN, &sent, 0, &reply, &out), -EIO);
	sent.reply.handle = 5;
	assert_int_equal(check(FILE_OPEN, &sent, 0, &reply, &out), 0);
	assert_int_equal(reply.handle, 77);
	assert_int_equal(check(FILE_GETATTR, &sent, 0, &reply, &out), 0);
	assert_int_equal(reply.handle, 0);
	sent.reply.attr.mode = S_IFDIR;
	assert_int_equal(check(FILE_OPEN, &sent, 0, &reply, &out), -EIO);
	sent.reply.handle = 0;
	assert_int_equal(check(FILE_OPENDIR, &sent, 0, &reply, &out), 0);
	assert_int_equal(reply.handle, 0);
}

static void bytes(void **state)
{
	struct sent sent = plain();
	struct file_reply reply;
	struct text out = { 0 };

	memcpy(sent.data, "hello", 5);
	assert_int_equal(check(FILE_READ, &sent, 5, &reply, &out), 0);
	assert_int_equal(reply.count, 5);
	assert_memory_equal(out.data, "hello", 5);
	assert_int_equal(check(FILE_READ, &sent, 101, &reply, &out), -EIO);
	assert_int_equal(out.size, 0);
	sent.reply.handle = 1;
	assert_int_equal(check(FILE_OPEN, &sent, 5, &reply, &out), 0);
	assert_int_equal(check(FILE_OPEN, &sent, 4, &reply, &out), -EIO);
	sent.reply.count = 7;
	assert_int_equal(check(FILE_WRITE, &sent, 0, &reply, &out), 0);
	assert_int_equal(reply.count, 100);
	sent.reply.count = 101;
	assert_int_equal(check(FILE_COPY, &sent, 0, &reply, &out), -EIO);
	text_done(&out);
}

static void links(void **state)
{
	static const struct {
		const char *said, *taken;
		int error;
	} cases[] = { { "x", "x", 0 }, { "/root/a", "../a", 0 }, { "../../x", NULL, -EPERM },
		{ "/etc/passwd", NULL, -EPERM }, { "", NULL, -EIO } };
	struct file_reply reply;
	struct text out = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sent sent = { 0 };

		memcpy(sent.data, cases[i].said, strlen(cases[i].said));
		assert_int_equal(check(FILE_READLINK, &sent, strlen(cases[i].said), &reply, &out),
			cases[i].error);
		if (cases[i].taken)
			assert_string_equal(out.data, cases[i].taken);
	}
	text_done(&out);
}

static void pages(void **state)
{
	struct file_attr attr = { .valid = ALL, .mode = S_IFREG | 04755 };
	struct sent sent = { 0 };
	struct file_reply reply;
	struct text page = { 0 }, out = { 0 };
	const struct file_entry *entry;
	const char *name;
	size_t position = 0;

	files_entry_append(&page, &attr, "name", 4);
	memcpy(sent.data, page.data, page.size);
	assert_int_equal(check(FILE_READDIR, &sent, page.size, &reply, &out), 0);
	assert_int_equal(files_entry_next(out.data, out.size, &position, &entry, &name), 1);
	assert_int_equal(entry->attr.mode, S_IFREG | 0755);
	assert_int_equal(check(FILE_READDIR, &sent, page.size - 8, &reply, &out), -EIO);
	sent.data[sizeof(struct file_entry)] = '/';
	assert_int_equal(check(FILE_READDIR, &sent, page.size, &reply, &out), -EIO);
	assert_int_equal(check(FILE_OPENDIR, &sent, page.size, &reply, &out), -EIO);
	text_done(&page);
	text_done(&out);
}

static void filesystems(void **state)
{
	struct file_statfs statfs = { .block_size = 4096, .name_max = 1000 };
	struct sent sent = { 0 };
	struct file_reply reply;
	struct text out = { 0 };

	memcpy(sent.data, &statfs, sizeof(statfs));
	assert_int_equal(check(FILE_STATFS, &sent, sizeof(statfs), &reply, &out), 0);
	memcpy(&statfs, out.data, sizeof(statfs));
	assert_int_equal(statfs.name_max, FILES_NAME_MAX);
	assert_int_equal(check(FILE_STATFS, &sent, sizeof(statfs) - 1, &reply, &out), -EIO);
	memset(sent.data, 0, sizeof(sent.data));
	assert_int_equal(check(FILE_STATFS, &sent, sizeof(statfs), &reply, &out), -EIO);
	text_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes),
		cmocka_unit_test(errors),
		cmocka_unit_test(too_short),
		cmocka_unit_test(handles),
		cmocka_unit_test(bytes),
		cmocka_unit_test(links),
		cmocka_unit_test(pages),
		cmocka_unit_test(filesystems),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
