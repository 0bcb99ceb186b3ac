/* SPDX-License-Identifier: MIT */
/* test_parts DIRECTORY PATTERNS: the parts of the detector, and its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/crash/literal.h"
#include "backends/crash/message.h"
#include "backends/crash/scan.h"
#include "backends/crash/title.h"

static const char *patterns_name;
static struct patterns *patterns;

static void literals_are_certain(void **state)
{
	static const struct {
		const char *expression, *literal;
	} cases[] = {
		{ "^BUG: KASAN: (\\S+) in (\\S+)", "BUG: KASAN: " },
		{ "abc?def", "def" },
		{ "abcd*ef", "abc" },
		{ "abc{0}de", "ab" },
		{ "ab+cde", "cde" },
		{ "a\\[b\\]c", "a[b]c" },
		{ "x[]abc]yz", "yz" },
		{ "x[^]abc]yz", "yz" },
		{ "x[[:alpha:]]yz", "yz" },
		{ "(abcdef|gh)ij", "ij" },
		{ "((a[)]b)c)de", "de" },
		{ "(\\)abc)de", "de" },
		{ "\\d+ abc\\b", " abc" },
		{ "abc\\x41d", "abc" },
		{ "abc\\x41|d", NULL },
		{ "abc|def", NULL },
		{ "(?i)abc", NULL },
		{ "(?:abc)?", NULL },
		{ "(*ANYCRLF)abc", NULL },
		{ "a(?=bc)de", "de" },
		{ "abc$", "abc" },
		{ ".*", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t size = 0;
		char *literal = literal_find(cases[i].expression, &size);

		if (!cases[i].literal)
			assert_null(literal);
		else
			assert_string_equal(literal, cases[i].literal);
		assert_int_equal(size, cases[i].literal ? strlen(cases[i].literal) : 0);
		free(literal);
	}
}

/* Compares with a plain search, over random bytes of a small alphabet. */
static void the_prefilter_finds_what_is_there(void **state)
{
	static const char *const texts[] = { "abca", "bcab", "aaaa", "abcabc", "cccccc", "bacb",
		"abca" };
	enum { COUNT = sizeof(texts) / sizeof(*texts) };
	size_t sizes[COUNT];
	struct prefilter filter;
	unsigned seed = 5;

	for (size_t i = 0; i < COUNT; i++)
		sizes[i] = strlen(texts[i]);
	prefilter_init(&filter, texts, sizes, COUNT);
	for (int round = 0; round < 20000; round++) {
		size_t size = (size_t)rand_r(&seed) % 24;
		char *bytes = memory_new(size + 1), *first = NULL;
		struct prefilter_hits hits = { 0 }, expected = { 0 };

		for (size_t i = 0; i < size; i++)
			bytes[i] = "abc"[rand_r(&seed) % 3];
		for (size_t i = 0; i < COUNT; i++) {
			char *at = memmem(bytes, size, texts[i], sizes[i]);
			if (at && (!first || at < first))
				first = at;
			if (at)
				expected.bits[0] |= UINT64_C(1) << i;
		}
		assert_ptr_equal(prefilter_find(&filter, bytes, bytes + size), first);
		assert_int_equal(prefilter_mark(&filter, bytes, bytes + size, &hits) > 0,
			first != NULL);
		assert_memory_equal(&hits, &expected, sizeof(hits));
		free(bytes);
	}
	prefilter_done(&filter);
}

static void messages_lose_their_prefixes(void **state)
{
	static const struct {
		const char *line, *messages[4];
		bool stamped;
	} cases[] = {
		{ "", { "" } },
		{ "plain", { "plain" } },
		{ "[    1.234567] text", { "text" }, true },
		{ "[    1.234567][  T123]  frame", { " frame" }, true },
		{ "<4>[12345.234567][    C1] text", { "text" }, true },
		{ "[    1.234567] (1)[217:kworker/1:2]text", { "text" }, true },
		{ "[    1.234567] c1 text", { "text" }, true },
		{ "c1 text", { "c1 text" } },
		{ "Jan  3 10:00:01 guest kernel: [    1.234567] text", { "text" }, true },
		{ "2024-03-01T10:00:00+00:00 guest kernel: text", { "text" }, true },
		{ "guest kernel: text", { "guest kernel: text" } },
		{ "# [    1.234567] text", { "# ", "text" } },
		{ "10%\r99%\rtext", { "10%", "99%", "text" } },
		{ "[    1.234567] a[    1.234568] b", { "a", "b" }, true },
		{ "[ 1.2] [x] [1.234567", { "[ 1.2] [x] [1.234567" } },
		{ "[<ffffffff8132a1c0>] f+0x1/0x2", { "[<ffffffff8132a1c0>] f+0x1/0x2" } },
		{ "[    1.234567]", { "" }, true },
		{ "[    1.234567", { "[    1.234567" } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct message messages[MESSAGE_MAX];
		char *line = memory_string(cases[i].line);
		size_t count = message_split(line, strlen(line), messages), wanted = 0;

		while (cases[i].messages[wanted])
			wanted++;
		assert_int_equal(count, wanted);
		assert_int_equal(messages[0].stamped, cases[i].stamped);
		for (size_t k = 0; k < count; k++) {
			assert_int_equal(messages[k].size, strlen(cases[i].messages[k]));
			assert_memory_equal(messages[k].text, cases[i].messages[k],
				messages[k].size);
		}
		free(line);
	}
}

/* ---- Reports -------------------------------------------------------------- */

struct found {
	unsigned opened, worse, count;
	struct scan_report last;
	char title[TITLE_MAX + 1];
	struct text text;
};

static void on_opened(void *data, enum crash_class class)
{
	((struct found *)data)->opened++;
}

static void on_worse(void *data)
{
	((struct found *)data)->worse++;
}

static void on_report(void *data, const struct scan_report *report)
{
	struct found *found = data;

	found->count++;
	found->last = *report;
	snprintf(found->title, sizeof(found->title), "%s", report->title);
	text_done(&found->text);
	text_append(&found->text, report->text, report->size);
}

static const struct scan_events events = { on_opened, on_worse, on_report };
static const char warning[] = "WARNING: CPU: 0 PID: 1 at a.c:1 slot_a+0x1/0x2\n";

static void feed(struct scan *scan, const char *text)
{
	scan_feed(scan, text, strlen(text));
}

static void a_quiet_console_completes_a_report(void **state)
{
	struct found found = { 0 };
	struct scan *scan = scan_new(patterns, &events, &found);

	feed(scan, "one\ntwo\n");
	feed(scan, warning);
	assert_true(scan_is_open(scan) && found.opened == 1 && found.count == 0);
	feed(scan, "Call Trace:\nhalf");
	scan_close(scan);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.last.class, CRASH_REPORT);
	assert_string_equal(found.title, "WARNING in slot_a");
	assert_string_equal(found.text.data, "one\ntwo\nWARNING: CPU: 0 PID: 1 at a.c:1 "
		"slot_a+0x1/0x2\nCall Trace:\n");
	assert_int_equal(found.last.begin, 8);
	assert_int_equal(found.last.end, 8 + strlen(warning) + 12);
	/* The half line is whole later; a closed report is closed. */
	feed(scan, " line\n");
	scan_close(scan);
	scan_end(scan);
	assert_int_equal(found.count, 1);
	text_done(&found.text);
	scan_free(scan);
}

static void a_report_becomes_worse(void **state)
{
	struct found found = { 0 };
	struct scan *scan = scan_new(patterns, &events, &found);

	feed(scan, warning);
	feed(scan, "---[ end trace 0 ]---\n");
	assert_true(scan_is_ending(scan));
	feed(scan, "Kernel panic - not syncing: panic_on_warn set\n");
	assert_true(found.worse == 1 && !scan_is_ending(scan));
	feed(scan, "---[ end Kernel panic - not syncing ]---\n");
	assert_int_equal(found.count, 1);
	assert_int_equal(found.last.class, CRASH_FATAL);
	assert_string_equal(found.title, "WARNING in slot_a");
	text_done(&found.text);
	scan_free(scan);
}

static void a_held_report_takes_everything(void **state)
{
	struct found found = { 0 };
	struct scan *scan = scan_new(patterns, &events, &found);

	scan_hold(scan);
	feed(scan, "user\n");
	feed(scan, warning);
	feed(scan, "---[ end trace 0 ]---\n");
	scan_hold(scan);
	feed(scan, "user\nuser\n---[ end trace 0 ]---\n");
	feed(scan, "BUG: unable to handle kernel paging request at 0\n");
	feed(scan, "user\n");
	assert_int_equal(found.count, 0);
	scan_close(scan);
	assert_int_equal(found.count, 1);
	assert_non_null(strstr(found.text.data, "paging request at 0\nuser\n"));
	text_done(&found.text);
	scan_free(scan);
}

static void foreign_lines_end_a_report(void **state)
{
	struct found found = { 0 };
	struct scan *scan = scan_new(patterns, &events, &found);

	feed(scan, warning);
	for (int i = 0; i < SCAN_GAP; i++)
		feed(scan, "user\n");
	feed(scan, "Call Trace:\n");
	assert_int_equal(found.count, 0);
	for (int i = 0; i <= SCAN_GAP; i++)
		feed(scan, "user\n");
	assert_int_equal(found.count, 1);
	assert_true(found.text.size > 12 &&
		strcmp(found.text.data + found.text.size - 12, "Call Trace:\n") == 0);
	/* They are the next one's context. */
	feed(scan, warning);
	scan_end(scan);
	assert_int_equal(strncmp(found.text.data, "user\nuser\nuser\nuser\nuser\nWARN", 29), 0);
	text_done(&found.text);
	scan_free(scan);
}

/* A guest that never stops. */
static void reports_are_bounded(void **state)
{
	struct found found = { 0 };
	struct scan *scan = scan_new(patterns, &events, &found);
	char line[SCAN_LINE_MAX + 100];

	feed(scan, warning);
	for (int i = 0; i < SCAN_REPORT_LINES; i++)
		feed(scan, " slot+0x1/0x2\n");
	assert_int_equal(found.count, 1);
	memset(line, '\x01', sizeof(line));
	memcpy(line, " +0x1/0x2", 9);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	feed(scan, warning);
	for (int i = 0; i < SCAN_REPORT_BYTES / SCAN_LINE_MAX + 2; i++)
		feed(scan, line);
	assert_int_equal(found.count, 2);
	assert_true(found.text.size <= 4 * (SCAN_REPORT_BYTES + SCAN_LINE_MAX));
	scan_end(scan);
	text_done(&found.text);
	scan_free(scan);
}

/* Expressions that go back and forth for ever are given up. */
static void matching_is_bounded(void **state)
{
	struct patterns *evil;
	struct poolfs_err err;
	struct found found = { 0 };
	char file[] = "/tmp/test_crash.XXXXXX", line[SCAN_LINE_MAX];
	int fd = mkstemp(file);
	FILE *out = fdopen(fd, "w");

	fputs("fatal ^(?:(a+)+)+ evil$\nfatal ^good evil\n", out);
	fclose(out);
	assert_int_equal(patterns_load(file, NULL, &evil, &err), 0);
	remove(file);
	memset(line, 'a', sizeof(line));
	strcpy(line + 2000, "! evil\n");
	struct scan *scan = scan_new(evil, &events, &found);
	feed(scan, line);
	assert_int_equal(found.opened, 0);
	feed(scan, "good evil\n");
	assert_int_equal(found.opened, 1);
	scan_end(scan);
	scan_free(scan);
	text_done(&found.text);
	patterns_free(evil);
}

static void nul_bytes_become_spaces(void **state)
{
	struct found found = { 0 };
	struct scan *scan = scan_new(patterns, &events, &found);

	scan_feed(scan, "a\0b\r\nKernel panic - not syncing: x\0y\r\n", 38);
	scan_end(scan);
	assert_string_equal(found.text.data, "a b\nKernel panic - not syncing: x y\n");
	assert_string_equal(found.title, "kernel panic: x y");
	assert_int_equal(found.last.end, 38);
	text_done(&found.text);
	scan_free(scan);
}

static int load(void **state)
{
	struct poolfs_err err;

	if (patterns_load(NULL, patterns_name, &patterns, &err) == 0)
		return 0;
	printf("%s\n", err.text);
	return -1;
}

static int unload(void **state)
{
	patterns_free(patterns);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_are_certain),
		cmocka_unit_test(the_prefilter_finds_what_is_there),
		cmocka_unit_test(messages_lose_their_prefixes),
		cmocka_unit_test(a_quiet_console_completes_a_report),
		cmocka_unit_test(a_report_becomes_worse),
		cmocka_unit_test(a_held_report_takes_everything),
		cmocka_unit_test(foreign_lines_end_a_report),
		cmocka_unit_test(reports_are_bounded),
		cmocka_unit_test(matching_is_bounded),
		cmocka_unit_test(nul_bytes_become_spaces),
	};

	if (argc != 3)
		return 2;
	patterns_name = argv[2];
	return cmocka_run_group_tests(tests, load, unload);
}
