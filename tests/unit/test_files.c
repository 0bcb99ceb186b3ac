/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends/base/text.h"
#include "backends/protocol/files.h"

static char strings[2 * (FILES_PATH_MAX + 1)];

static void paths(void **state)
{
	static const char *const good[] = {
		"", "a", "a/b", "...", ".a", "a/..b", "\xff\x01/ ", "a/b/c/d",
	};
	static const char *const bad[] = {
		"/", "/a", "a/", "a//b", ".", "..", "a/.", "a/..", "./a", "../a", "a/../b",
	};
	char longest[FILES_PATH_MAX + 2];

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(files_path_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(files_path_valid(bad[i], strlen(bad[i])));
	assert_false(files_path_valid("a\0b", 3));
	memset(longest, 'a', sizeof(longest));
	assert_true(files_path_valid(longest, 255));
	assert_false(files_path_valid(longest, 256));
	for (size_t i = 255; i < sizeof(longest); i += 256)
		longest[i] = '/';
	assert_true(files_path_valid(longest, FILES_PATH_MAX));
	assert_false(files_path_valid(longest, FILES_PATH_MAX + 1));
}

/* Builds a payload in exactly sized memory, so that a sanitizer sees any read beyond it. */
static int decode(struct file_request request, const char *rest, size_t rest_size,
	struct file_call *call)
{
	static char *payload;

	free(payload);
	payload = malloc(sizeof(request) + rest_size);
	memcpy(payload, &request, sizeof(request));
	memcpy(payload + sizeof(request), rest, rest_size);
	int result = files_decode(payload, sizeof(request) + rest_size, strings, call);
	if (result < 0) {
		free(payload);
		payload = NULL;
	}
	return result;
}

static void decodes_what_is_right(void **state)
{
	struct file_call call;

	assert_int_equal(decode((struct file_request){ .op = FILE_GETATTR }, "", 0, &call), 0);
	assert_string_equal(call.path, "");
	assert_int_equal(decode((struct file_request){ .op = FILE_RENAME, .path_size = 3,
		.path2_size = 1 }, "a/bc", 4, &call), 0);
	assert_string_equal(call.path, "a/b");
	assert_string_equal(call.path2, "c");
	assert_int_equal(decode((struct file_request){ .op = FILE_SYMLINK, .path_size = 1,
		.path2_size = 5 }, "a/../x", 6, &call), 0);
	assert_string_equal(call.path2, "/../x");
	assert_int_equal(decode((struct file_request){ .op = FILE_WRITE, .handle = 7,
		.offset = INT64_MAX, .data_size = 3 }, "x\0y", 3, &call), 0);
	assert_memory_equal(call.data, "x\0y", 3);
	assert_int_equal(call.request->handle, 7);
	/* Frees what decode kept. */
	assert_int_equal(decode((struct file_request){ .op = FILE_OPS }, "", 0, &call), -EPROTO);
}

static void refuses_what_is_malformed(void **state)
{
	static const struct {
		struct file_request request;
		const char *rest;
		size_t size;
	} bad[] = {
		{ { .op = FILE_OPS }, "", 0 },
		{ { .op = UINT32_MAX }, "", 0 },
		{ { .op = FILE_GETATTR, .path_size = 2 }, "a", 1 },
		{ { .op = FILE_GETATTR }, "a", 1 },
		{ { .op = FILE_GETATTR, .path_size = UINT32_MAX, .path2_size = 2 }, "a", 1 },
		{ { .op = FILE_GETATTR, .path_size = UINT32_MAX - 10,
		    .data_size = 12 }, "a", 1 },
		{ { .op = FILE_GETATTR, .path_size = 1, .path2_size = 1 }, "ab", 2 },
		{ { .op = FILE_GETATTR, .path_size = 1, .data_size = 1 }, "ab", 2 },
		{ { .op = FILE_GETATTR, .path_size = 2 }, "..", 2 },
		{ { .op = FILE_GETATTR, .path_size = 3 }, "a\0b", 3 },
		{ { .op = FILE_MKDIR }, "", 0 },
		{ { .op = FILE_RMDIR }, "", 0 },
		{ { .op = FILE_RENAME, .path_size = 1 }, "a", 1 },
		{ { .op = FILE_RENAME, .path_size = 1, .path2_size = 2 }, "a..", 3 },
		{ { .op = FILE_LINK, .path_size = 1, .path2_size = 2 }, "a/b", 3 },
		{ { .op = FILE_SYMLINK, .path_size = 1, .path2_size = 3 }, "ax\0y", 4 },
		{ { .op = FILE_READ, .length = 1 }, "", 0 },
		{ { .op = FILE_READ, .handle = 1, .length = FILES_DATA_MAX + 1 }, "", 0 },
		{ { .op = FILE_READ, .handle = 1, .offset = UINT64_MAX }, "", 0 },
		{ { .op = FILE_WRITE, .data_size = 1 }, "a", 1 },
		{ { .op = FILE_CLOSE }, "", 0 },
		{ { .op = FILE_READDIR }, "", 0 },
		{ { .op = FILE_SETATTR, .attr.size = UINT64_MAX }, "", 0 },
	};
	struct file_call call;
	size_t short_size = sizeof(struct file_request) - 1;
	void *short_one = malloc(short_size);

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (decode(bad[i].request, bad[i].rest, bad[i].size, &call) != -EPROTO)
			fail_msg("request %zu was taken", i);
	memset(short_one, 0, short_size);
	assert_int_equal(files_decode(short_one, short_size, strings, &call), -EPROTO);
	assert_int_equal(files_decode(short_one, 0, strings, &call), -EPROTO);
	free(short_one);
}

/* The data of a slot are not in the payload; only what is read or written has one. */
static void slots_hold_the_data(void **state)
{
	static const struct {
		struct file_request request;
		size_t more;
		int result;
	} cases[] = {
		{ { .op = FILE_WRITE, .handle = 1, .data_size = FILES_DATA_MAX }, 0, 0 },
		{ { .op = FILE_READ, .handle = 1, .length = FILES_DATA_MAX }, 0, 0 },
		{ { .op = FILE_WRITE, .handle = 1, .data_size = 4 }, 4, -EPROTO },
		{ { .op = FILE_WRITE, .handle = 1, .data_size = FILES_DATA_MAX + 1 }, 0, -EPROTO },
		{ { .op = FILE_WRITE, .data_size = 4 }, 0, -EPROTO },
		{ { .op = FILE_READ, .handle = 1, .data_size = 4 }, 0, -EPROTO },
		{ { .op = FILE_GETATTR, .handle = 1 }, 0, -EPROTO },
		{ { .op = FILE_OPS }, 0, -EPROTO },
	};
	struct {
		struct file_request request;
		char more[4];
	} payload = { .more = { 'd', 'a', 't', 'a' } };
	const char slot[] = "slot";

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct file_call call = { 0 };

		payload.request = cases[i].request;
		int result = files_decode_apart(&payload, sizeof(payload.request) + cases[i].more, strings,
			slot, &call);
		if (result != cases[i].result)
			fail_msg("request %zu: %d", i, result);
		assert_ptr_equal(call.data, result ? NULL : slot);
	}
}

static void entries_go_around(void **state)
{
	static const char *const names[] = { "a", "1234567", "12345678", "\xff", "a b\n" };
	const struct file_entry *entry;
	struct text page = { 0 };
	size_t position = 0;
	const char *name;

	for (uint32_t i = 0; i < 5; i++) {
		struct file_attr attr = { .mode = i };
		files_entry_append(&page, &attr, names[i], strlen(names[i]));
	}
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(1, files_entry_next(page.data, page.size, &position, &entry,
			&name));
		assert_int_equal(entry->attr.mode, i);
		assert_int_equal(entry->name_size, strlen(names[i]));
		assert_memory_equal(name, names[i], entry->name_size);
	}
	assert_int_equal(files_entry_next(page.data, page.size, &position, &entry, &name), 0);
	assert_int_equal(position, page.size);
	text_done(&page);
}

/* One entry whose name_size is given, in size bytes of memory. */
static int step(const char *text, uint32_t name_size, size_t size)
{
	struct file_entry head = { .name_size = name_size };
	const struct file_entry *entry;
	size_t position = 0;
	const char *name;
	char *page = calloc(1, size + 1);
	char *exact = malloc(size);

	memcpy(page, &head, size < sizeof(head) ? size : sizeof(head));
	if (size > sizeof(head))
		strncpy(page + sizeof(head), text, size - sizeof(head));
	memcpy(exact, page, size);
	int result = files_entry_next(exact, size, &position, &entry, &name);
	free(exact);
	free(page);
	return result;
}

static void malformed_entries_are_refused(void **state)
{
	size_t head = sizeof(struct file_entry);

	assert_int_equal(step("a", 1, head + 8), 1);
	assert_int_equal(step("a", 1, head - 1), -EPROTO);
	assert_int_equal(step("a", 1, head + 7), -EPROTO);
	assert_int_equal(step("a", 9, head + 8), -EPROTO);
	assert_int_equal(step("a", UINT32_MAX, head + 8), -EPROTO);
	assert_int_equal(step("a", 256, head + 512), -EPROTO);
	assert_int_equal(step("", 0, head + 8), -EPROTO);
	assert_int_equal(step(".", 1, head + 8), -EPROTO);
	assert_int_equal(step("..", 2, head + 8), -EPROTO);
	assert_int_equal(step("a/b", 3, head + 8), -EPROTO);
	assert_int_equal(step("a", 2, head + 8), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(decodes_what_is_right),
		cmocka_unit_test(refuses_what_is_malformed),
		cmocka_unit_test(slots_hold_the_data),
		cmocka_unit_test(entries_go_around),
		cmocka_unit_test(malformed_entries_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
