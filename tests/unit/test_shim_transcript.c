/* SPDX-License-Identifier: MIT */
/* The lines of a transcript, put together from pieces. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "backends/base/text.h"
#include "backends/protocol/protocol.h"
#include "backends/shim/transcript.h"

#define MARK " [poolfs: line continues]\n"

/* Feeds a text to stdout in pieces that end at two places. */
static void split(const char *text, const char *expected)
{
	size_t size = strlen(text);

	for (size_t first = 0; first <= size; first++) {
		for (size_t second = first; second <= size; second++) {
			struct transcript transcript = { 0 };
			struct text out = { 0 };

			transcript_feed(&transcript, TRANSCRIPT_STDOUT, text, first, &out);
			transcript_feed(&transcript, TRANSCRIPT_STDOUT, text + first, second - first, &out);
			transcript_feed(&transcript, TRANSCRIPT_STDOUT, text + second, size - second, &out);
			transcript_end(&transcript, &out);
			assert_string_equal(out.data ? out.data : "", expected);
			text_done(&out);
		}
	}
}

static void lines_come_whole(void **state)
{
	split("", "");
	split("\n", "[stdout] \n");
	split("one\ntwo\n", "[stdout] one\n[stdout] two\n");
	split("one\r\n\n\nlast", "[stdout] one\r\n[stdout] \n[stdout] \n[stdout] last\n");
}

static void sources_do_not_mix(void **state)
{
	struct transcript transcript = { 0 };
	struct text out = { 0 };

	transcript_skip_line(&transcript, TRANSCRIPT_CONSOLE);
	transcript_feed(&transcript, TRANSCRIPT_STDOUT, "ou", 2, &out);
	transcript_feed(&transcript, TRANSCRIPT_CONSOLE, "before", 6, &out);
	transcript_feed(&transcript, TRANSCRIPT_STDERR, "err\nmore", 8, &out);
	transcript_feed(&transcript, TRANSCRIPT_CONSOLE, " start\nkernel", 13, &out);
	transcript_feed(&transcript, TRANSCRIPT_STDOUT, "t\n", 2, &out);
	transcript_feed(&transcript, TRANSCRIPT_CONSOLE, " line\n\n", 7, &out);
	transcript_end(&transcript, &out);
	assert_string_equal(out.data, "[stderr] err\n[stdout] out\n[console] kernel line\n[console] \n"
		"[stderr] more\n");
	text_done(&out);
}

/* A line of `size` bytes in pieces of `piece`, with and without newline. */
static void long_line(size_t size, size_t piece, const char *end)
{
	struct transcript transcript = { 0 };
	struct text in = { 0 }, out = { 0 }, expected = { 0 };

	for (size_t i = 0; i < size; i++)
		text_append(&in, &"abcdefghijk"[i % 11], 1);
	for (size_t at = 0; at == 0 || at < size; at += PROTOCOL_TRANSCRIPT_LINE) {
		size_t rest = size - at;

		text_printf(&expected, "[stdout] ");
		text_append(&expected, in.data + at,
			rest < PROTOCOL_TRANSCRIPT_LINE ? rest : PROTOCOL_TRANSCRIPT_LINE);
		text_printf(&expected, "%s", rest > PROTOCOL_TRANSCRIPT_LINE ? MARK : "\n");
	}
	text_printf(&in, "%s", end);
	for (size_t at = 0; at < in.size; at += piece)
		transcript_feed(&transcript, TRANSCRIPT_STDOUT, in.data + at,
			in.size - at < piece ? in.size - at : piece, &out);
	for (int i = 0; i < TRANSCRIPT_SOURCES; i++)
		assert_true(transcript.parts[i].room <= PROTOCOL_TRANSCRIPT_LINE);
	transcript_end(&transcript, &out);
	assert_int_equal(out.size, expected.size);
	assert_memory_equal(out.data, expected.data, out.size);
	text_done(&in);
	text_done(&out);
	text_done(&expected);
}

static void long_lines_are_cut(void **state)
{
	static const size_t sizes[] = { 65535, 65536, 65537, 131071, 131072, 131073, 300000 };
	static const size_t pieces[] = { 1, 7, 4096, 65535, 65536, 65537, 1000000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++) {
			long_line(sizes[i], pieces[k], "\n");
			long_line(sizes[i], pieces[k], "");
		}
	}
}

/* Lines of up to `longest` bytes in pieces of up to `piece`: at every moment so much has come out as was
 * counted. */
static void counted(size_t longest, size_t piece)
{
	struct transcript transcript = { 0 };
	struct transcript_count count = { 0 };
	struct text in = { 0 }, out = { 0 };

	while (in.size < 400000) {
		text_printf(&in, "%*s", (int)((size_t)random() % (longest + 1)), "");
		text_append(&in, "\n", 1);
	}
	in.size -= (size_t)random() % 2;
	for (size_t at = 0, size; at < in.size; at += size) {
		size = 1 + (size_t)random() % piece;
		size = size < in.size - at ? size : in.size - at;
		transcript_feed(&transcript, TRANSCRIPT_STDOUT, in.data + at, size, &out);
		transcript_count(&count, in.data + at, size);
		assert_int_equal(count.size, out.size);
		assert_int_equal(count.waiting, transcript.parts[TRANSCRIPT_STDOUT].size);
	}
	transcript_end(&transcript, &out);
	transcript_count_end(&count);
	assert_int_equal(count.size, out.size);
	text_done(&in);
	text_done(&out);
}

static void what_is_counted_comes_out(void **state)
{
	static const size_t longest[] = { 0, 1, 60, 3000, 5000, 65537, 200000 };
	static const size_t pieces[] = { 70, 4096, 4097, 40000, 300000 };

	srandom(1);
	for (size_t i = 0; i < sizeof(longest) / sizeof(*longest); i++)
		for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++)
			counted(longest[i], pieces[k]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_whole),
		cmocka_unit_test(sources_do_not_mix),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(what_is_counted_comes_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
