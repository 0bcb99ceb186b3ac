/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "backends/base/text.h"

static void escape_is_one_safe_line(void **state)
{
	char out[128];

	text_escape(out, sizeof(out), "a\tb\n\x1b[31m \x7f \xc2\x85 gr\xc3\xbc\xc3\x9f \xff\xfe");
	assert_string_equal(out,
		"a\\tb\\n\\x1b[31m \\x7f \\xc2\\x85 gr\xc3\xbc\xc3\x9f \\xff\\xfe");
	text_escape(out, 8, "0123456789");
	assert_string_equal(out, "0123456");
	text_escape(out, 4, "ab\n\n");
	assert_string_equal(out, "ab");
	text_escape_lines(out, sizeof(out), "a\n\tb\r\n");
	assert_string_equal(out, "a\n\tb\\x0d\n");
	text_escape(out, sizeof(out), "cut \xe2\x82");
	assert_string_equal(out, "cut \\xe2\\x82");
	/* Overlong forms of ESC and U+009B, a surrogate, and beyond the last code point (RFC 3629). */
	text_escape(out, sizeof(out), "\xc0\x9b \xe0\x82\x9b \xed\xa0\x80 \xf4\x90\x80\x80");
	assert_string_equal(out,
		"\\xc0\\x9b \\xe0\\x82\\x9b \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80");
}

static void names_follow_the_rule(void **state)
{
	char longest[65];

	assert_true(text_is_name("a"));
	assert_true(text_is_name("0-a_b.C"));
	static const char *const bad[] = { "", ".", "..", ".a", "-a", "_a", "a/b", "a b", "a\n",
		"\xc3\xa4", "a,b" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(text_is_name(bad[i]));
	memset(longest, 'x', 64);
	longest[64] = '\0';
	assert_false(text_is_name(longest));
	longest[63] = '\0';
	assert_true(text_is_name(longest));
}

static void buffer_grows_and_shrinks(void **state)
{
	struct text text = { 0 };

	for (int i = 0; i < 1000; i++)
		text_printf(&text, "%d,", i);
	assert_int_equal(text.size, 3890);
	assert_memory_equal(text.data, "0,1,2,", 6);
	text_consume(&text, 2);
	assert_memory_equal(text.data, "1,2,", 4);
	text_consume(&text, text.size);
	assert_int_equal(text.size, 0);
	text_append(&text, "x\0y", 3);
	assert_memory_equal(text.data, "x\0y\0", 4);
	text_done(&text);
	assert_null(text.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escape_is_one_safe_line),
		cmocka_unit_test(names_follow_the_rule),
		cmocka_unit_test(buffer_grows_and_shrinks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
