/* SPDX-License-Identifier: MIT */
/* What a machine's programs may print. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends/exec/answers.h"
#include "backends/exec/limits.h"

static struct text told;

static void each(void *data, const char *key, const char *value)
{
	text_printf(&told, "%s=%s;", key, value);
}

static void other(void *data, const char *line)
{
	text_printf(&told, "?%zu;", strlen(line));
}

/* Feeds bytes in pieces of that size, and compares what was told. */
static void feed(const char *bytes, size_t size, size_t piece, const char *expected)
{
	struct answers_lines lines = { 0 };

	for (size_t at = 0; at < size; at += piece)
		assert_true(answers_lines_feed(&lines, bytes + at, size - at < piece ? size - at : piece,
			each, other, NULL));
	answers_lines_end(&lines, each, other, NULL);
	assert_string_equal(told.data ? told.data : "", expected);
	text_done(&told);
}

static void lines_come_in_pieces(void **state)
{
	static const char text[] = "a b\nkey  two words\n\nodd\n.x y\nk \nesc \033[1m\nn\0ul x\nlast one";

	for (size_t piece = 1; piece < sizeof(text); piece++)
		feed(text, sizeof(text) - 1, piece, "a=b;key= two words;?3;?4;?2;?8;?1;last=one;");
	feed("", 0, 1, "");
	feed("\n\n\n", 3, 1, "");
}

static void long_lines_are_cut(void **state)
{
	char text[3 * LIMITS_LINE + 3];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\n';
	memcpy(text, "k ", 2);
	feed(text, sizeof(text), 100, "?1024;?1024;?1024;?2;");
	text[LIMITS_LINE] = '\n';
	struct answers_lines lines = { 0 };
	answers_lines_feed(&lines, text, LIMITS_LINE + 1, each, other, NULL);
	assert_int_equal(told.size, LIMITS_LINE + 1);
	assert_int_equal(lines.rest.size, 0);
	answers_lines_end(&lines, each, other, NULL);
	text_done(&told);
}

static void there_is_an_end_to_it(void **state)
{
	struct answers_lines lines = { 0 };
	char piece[1000];
	unsigned passed = 0;

	for (size_t i = 0; i < sizeof(piece); i += 4)
		memcpy(piece + i, "k v\n", 4);
	for (int i = 0; i < 1000; i++)
		passed += !answers_lines_feed(&lines, piece, sizeof(piece), each, other, NULL);
	assert_int_equal(passed, 1);
	assert_int_equal(told.size, LIMITS_STATUS);
	answers_lines_end(&lines, each, other, NULL);
	text_done(&told);
}

static void address(const char *text, const char *user, const char *host, unsigned port)
{
	struct target target;

	assert_int_equal(answers_address(text, strlen(text), &target, NULL), 0);
	assert_string_equal(target.user, user);
	assert_string_equal(target.host, host);
	assert_int_equal(target.port, port);
}

static void addresses(void **state)
{
	static const char *const bad[] = { "", "\n \n", "a b", "a\nb\n", "-o", "root@", "@h", "h:0", "h:65536", "h:x",
		"\033[1m", "a;b", "$(id)", "-l@h", "\"h\"", "h:22 # x" };
	struct target target;
	struct poolfs_err err;
	char text[4 * LIMITS_ADDRESS];

	address("host", "", "host", 0);
	address("root@10.0.0.1:2222\n", "root", "10.0.0.1", 2222);
	address("u@[::1]:22\r\n", "u", "::1", 22);
	address("fe80::1%eth0", "", "fe80::1%eth0", 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(answers_address(bad[i], strlen(bad[i]), &target, &err), -EINVAL);
		assert_null(strpbrk(err.text, "\033\n"));
		assert_non_null(strstr(err.text, "has to print [USER@]HOST[:PORT]"));
	}
	memset(text, 'h', sizeof(text));
	assert_int_equal(answers_address(text, sizeof(text), &target, &err), -EINVAL);
	assert_int_equal(answers_address("h\0x", 3, &target, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_in_pieces),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(there_is_an_end_to_it),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
