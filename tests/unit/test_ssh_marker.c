/* SPDX-License-Identifier: MIT */
/* The marker line is taken out of a command's output, in whatever pieces it comes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "backends/base/text.h"
#include "backends/ssh/command.h"
#include "backends/ssh/marker.h"

/* marker_pass */
static void pass(void *data, const char *bytes, size_t size)
{
	assert_true(size > 0);
	text_append(data, bytes, size);
}

/* Feeds text in pieces that end at two places. */
static void feed(struct marker *marker, const char *text, size_t first, size_t second, struct text *out)
{
	size_t size = strlen(text);

	marker_feed(marker, text, first, pass, out);
	marker_feed(marker, text + first, second - first, pass, out);
	marker_feed(marker, text + second, size - second, pass, out);
	marker_end(marker, pass, out);
}

/* A text in which each @ stands for the marker's name and token. */
static struct text filled(const char *text, const struct marker *marker)
{
	struct text out = { 0 };

	text_append(&out, "", 0);
	for (; *text; text++) {
		if (*text == '@')
			text_printf(&out, MARKER_NAME "%s", marker->token);
		else
			text_append(&out, text, 1);
	}
	return out;
}

/* Every split in three of a text, which is filled in. */
static void check(const char *text, const char *expected, uint32_t pid)
{
	struct marker model;

	marker_init(&model);
	struct text line = filled(text, &model), want = filled(expected, &model);

	for (size_t first = 0; first <= line.size; first++) {
		for (size_t second = first; second <= line.size; second++) {
			struct marker marker = model;
			struct text out = { 0 };

			feed(&marker, line.data, first, second, &out);
			assert_string_equal(out.data ? out.data : "", want.data);
			assert_int_equal(marker.pid, pid);
			assert_int_equal(marker.done, pid != 0);
			text_done(&out);
		}
	}
	text_done(&line);
	text_done(&want);
}

static void the_line_is_taken_out(void **state)
{
	check("@ 123\n", "", 123);
	check("@ 123\r\n", "", 123);
	check("@ 4294967295\nout\n", "out\n", 4294967295u);
	check("login\n@ 7\nout%", "login\nout%", 7);
	check("no newline@ 7\npoolfs", "no newlinepoolfs", 7);
	check("ppoolfs-run-poolfs-@ 7\nx", "ppoolfs-run-poolfs-x", 7);
}

static void all_else_stays(void **state)
{
	check("", "", 0);
	check("poolfs-run-", "poolfs-run-", 0);
	check("poolfs-run-00000000000000000000000000000000 12\n",
		"poolfs-run-00000000000000000000000000000000 12\n", 0);
	check("@", "@", 0);
	check("@ 12", "@ 12", 0);
	check("@ \n", "@ \n", 0);
	check("@ 12x\n", "@ 12x\n", 0);
	check("@ 12\rx", "@ 12\rx", 0);
	check("@ 12345678901\n", "@ 12345678901\n", 0);
	check("@ 12\r\r\n", "@ 12\r\r\n", 0);
}

/* Only once: a command may print what it likes. */
static void only_the_first_line_counts(void **state)
{
	struct marker marker;
	struct text out = { 0 };
	char line[128];

	marker_init(&marker);
	snprintf(line, sizeof(line), MARKER_NAME "%s 5\n", marker.token);
	feed(&marker, line, 3, 9, &out);
	feed(&marker, line, 3, 9, &out);
	assert_string_equal(out.data, line);
	text_done(&out);
}

static void tokens_differ(void **state)
{
	struct marker one, other;

	marker_init(&one);
	marker_init(&other);
	assert_int_equal(strlen(one.token), MARKER_TOKEN);
	assert_string_not_equal(one.token, other.token);
}

/* A request, and what goes over standard input. */
static void commands_are_made(void **state)
{
	struct command_shape shape = { .directory = "-a'b", .token = "T", .limit = 1000 };
	struct transport_command command = { .text = "x\ny", .size = 3, .environment = "A=it's\nB=\n",
		.environment_size = 11, .cwd = "/c" };
	struct command_sent sent = { 0 };

	command_make(&shape, &command, &sent);
	assert_string_equal(sent.request.data, "echo poolfs-run-T $$ || exit 255; "
		"export POOLFS_RUN=T; cd './-a'\\''b' || exit 255; cd '/c' || exit 255; "
		"export A='it'\\''s' B=''; x\ny");
	assert_int_equal(sent.script.size, 0);
	command_done(&sent);
	shape.limit = 100;
	command_make(&shape, &command, &sent);
	assert_non_null(strstr(sent.request.data, "count=25 "));
	assert_non_null(strstr(sent.request.data, "$(cat; echo .)"));
	assert_string_equal(sent.script.data, "export A='it'\\''s' B=''; x\ny");
	assert_false(sent.after_marker);
	command_done(&sent);
	command.input = true;
	command.columns = command.rows = 10;
	command_make(&shape, &command, &sent);
	assert_null(strstr(sent.request.data, "cat"));
	assert_memory_equal(sent.request.data, "poolfs_s=$(stty -g)", 19);
	assert_true(sent.after_marker);
	command_done(&sent);
	shape.token = NULL;
	shape.directory = NULL;
	command = (struct transport_command){ .text = "x", .size = 1 };
	command_make(&shape, &command, &sent);
	assert_string_equal(sent.request.data, "x");
	command_done(&sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line_is_taken_out),
		cmocka_unit_test(all_else_stays),
		cmocka_unit_test(only_the_first_line_counts),
		cmocka_unit_test(tokens_differ),
		cmocka_unit_test(commands_are_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
