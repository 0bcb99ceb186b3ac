/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "backends/shim/filter.h"

static const struct {
	const char *in, *out;
} rows[] = {
	{ "plain text\tand\nlines\n", "plain text\tand\nlines\n" },
	{ "a\r\nb\rc", "a \nb c" },
	{ "\x1b[31m\x07\x08\x7f", "?[31m???" },
	/* Control Sequence Introducer: as one byte, and as U+009B in UTF-8. */
	{ "\x9b 31m \xc2\x9b 31m", "? 31m \xc2? 31m" },
	{ "gr\xc3\xbc\xc3\x9f \xc3\x80 \xe2\x82\xac \xf0\x9f\x90\xa7", "gr\xc3\xbc\xc3\x9f \xc3\x80 \xe2\x82\xac \xf0\x9f\x90\xa7" },
	/* Overlong, a surrogate, too large: their C1 bytes are no part of a sequence. */
	{ "\xc0\x9b \xe0\x82\x9b \xed\xa0\x80 \xf4\x90\x80\x80", "\xc0? \xe0?? \xed\xa0? \xf4???" },
	/* A sequence that is cut short by another, or by a control. */
	{ "\xe2\x82\x1b[0m \xe2\xc2\x9b", "\xe2\x82?[0m \xe2\xc2?" },
	{ "\xff\xfe\xa0", "\xff\xfe\xa0" },
};

/* Filters in pieces of so many bytes. */
static void check(size_t row, size_t piece)
{
	struct filter filter = { 0 };
	char data[128];
	size_t size = strlen(rows[row].in);

	memcpy(data, rows[row].in, size);
	for (size_t at = 0; at < size; at += piece)
		filter_apply(&filter, data + at, piece < size - at ? piece : size - at);
	assert_int_equal(size, strlen(rows[row].out));
	assert_memory_equal(data, rows[row].out, size);
}

static void every_row_in_any_pieces(void **state)
{
	for (size_t row = 0; row < sizeof(rows) / sizeof(*rows); row++)
		for (size_t piece = 1; piece <= 64; piece++)
			check(row, piece);
}

/* No control is left, whatever comes. */
static void nothing_gets_through(void **state)
{
	struct filter filter = { 0 };
	unsigned char last = 0;
	uint32_t random = 1;

	for (int i = 0; i < 1000000; i++) {
		random = random * 1664525u + 1013904223u; /* Numerical Recipes */
		unsigned char byte = (unsigned char)(random >> 24);
		filter_apply(&filter, (char *)&byte, 1);
		assert_true(byte >= 0x20 || byte == '\n' || byte == '\t');
		assert_int_not_equal(byte, 0x7f);
		assert_false(last == 0xc2 && byte >= 0x80 && byte < 0xa0);
		assert_false(last < 0xc2 && (last < 0x80 || last >= 0xc0) && byte >= 0x80 && byte < 0xa0);
		last = byte;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_in_any_pieces),
		cmocka_unit_test(nothing_gets_through),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
