/* SPDX-License-Identifier: MIT */
/*
 * test_corpus DIRECTORY PATTERNS: every console in DIRECTORY/crashes and DIRECTORY/clean (see
 * meson.build) is scanned at once, by lines, in random pieces and byte by byte: titles and
 * ranges must be as the file says, and all ways give the same reports.
 */
#include <dirent.h>
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
#include "backends/crash/scan.h"

#define REPORTS_MAX 8

static const char *directory, *patterns_name;
static struct patterns *patterns;
static unsigned seed = 20261122;

struct expected {
	char title[256];
	unsigned first, last;
};

struct console {
	char *all;			/* the file */
	const char *text;		/* behind "---" */
	size_t size;
	struct expected reports[REPORTS_MAX];
	size_t count;
};

/* Reads a whole file. */
static char *contents(const char *file, size_t *size)
{
	struct text text = { 0 };
	char piece[4096];
	size_t got;
	FILE *in = fopen(file, "re");

	if (!in)
		fail_msg("%s cannot be read", file);
	while ((got = fread(piece, 1, sizeof(piece), in)) > 0)
		text_append(&text, piece, got);
	fclose(in);
	*size = text.size;
	return text.data;
}

/* Reads one console and what is expected of it. */
static void console_read(const char *file, struct console *console)
{
	size_t size;
	char *line = console->all = contents(file, &size);

	console->count = 0;
	for (; strncmp(line, "---\n", 4) != 0; line = strchr(line, '\n') + 1) {
		struct expected *report = &console->reports[console->count];

		assert_true(console->count < REPORTS_MAX);
		if (sscanf(line, "title: %255[^\n]", report->title) == 1)
			continue;
		assert_int_equal(sscanf(line, "range: %u-%u", &report->first, &report->last), 2);
		console->count++;
	}
	console->text = line + 4;
	console->size = size - (size_t)(console->text - console->all);
}

/* What a scan found. */
struct found {
	struct {
		char title[256];
		uint64_t begin, end;
	} reports[REPORTS_MAX];
	size_t count;
	struct text all;		/* every part of every report */
};

static void note(void *data, const struct scan_report *report)
{
	struct found *found = data;

	assert_int_equal(strlen(report->text), report->size);
	assert_true(found->count < REPORTS_MAX);
	snprintf(found->reports[found->count].title, 256, "%s", report->title);
	found->reports[found->count].begin = report->begin;
	found->reports[found->count++].end = report->end;
	text_printf(&found->all, "%d %s\n%llu %llu\n%s\n", (int)report->class, report->title,
		(unsigned long long)report->begin, (unsigned long long)report->end, report->text);
}

static const struct scan_events events = { .report = note };

/* How many bytes come next. */
static size_t at_once(const char *text, size_t left)
{
	return left;
}

static size_t by_line(const char *text, size_t left)
{
	const char *newline = memchr(text, '\n', left);

	return newline ? (size_t)(newline + 1 - text) : left;
}

static size_t randomly(const char *text, size_t left)
{
	size_t size = (size_t)rand_r(&seed) % 64 + 1;

	return size < left ? size : left;
}

static size_t by_byte(const char *text, size_t left)
{
	return 1;
}

typedef size_t next_size(const char *text, size_t left);

/* Scans in pieces; the memory of each piece ends where the piece does. */
static struct found scan_pieces(const char *text, size_t size, next_size *next)
{
	struct found found = { 0 };
	struct scan *scan = scan_new(patterns, &events, &found);

	text_append(&found.all, "", 0);
	while (size > 0) {
		size_t count = next(text, size);
		char *piece = memory_new(count);

		memcpy(piece, text, count);
		scan_feed(scan, piece, count);
		free(piece);
		text += count;
		size -= count;
	}
	scan_end(scan);
	scan_free(scan);
	return found;
}

/* The number of the line that holds an offset, from 1. */
static unsigned line_at(const struct console *console, unsigned long long offset)
{
	unsigned line = 1;

	for (size_t i = 0; i < offset && i < console->size; i++)
		line += console->text[i] == '\n';
	return line;
}

/* Whether that is what the file says. */
static unsigned compare(const char *name, const struct console *console, const struct found *found)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < found->count; i++) {
		const struct expected *report = &console->reports[i];
		unsigned first = line_at(console, found->reports[i].begin);
		unsigned last = line_at(console, found->reports[i].end - 1);

		if (i < console->count && strcmp(report->title, found->reports[i].title) == 0 &&
			report->first == first && report->last == last)
			continue;
		printf("%s: found \"%s\" in lines %u-%u\n", name, found->reports[i].title, first,
			last);
		wrong++;
	}
	if (found->count == console->count)
		return wrong;
	printf("%s: %zu reports, not %zu\n", name, found->count, console->count);
	return wrong + 1;
}

/* All ways to cut it give the same. */
static unsigned check(const char *file)
{
	static next_size *const others[] = { by_line, randomly, randomly, by_byte };
	struct console console;

	console_read(file, &console);
	struct found found = scan_pieces(console.text, console.size, at_once);
	unsigned wrong = compare(file, &console, &found);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		struct found other = scan_pieces(console.text, console.size, others[i]);

		if (strcmp(found.all.data, other.all.data) != 0) {
			printf("%s: in pieces (%zu), it is\n%s\nand not\n%s", file, i,
				other.all.data, found.all.data);
			wrong++;
		}
		text_done(&other.all);
	}
	text_done(&found.all);
	free(console.all);
	return wrong;
}

/* Checks each file of a directory. */
static void check_all(const char *name, unsigned least)
{
	char *path = memory_format("%s/%s", directory, name);
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned wrong = 0, count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		char *file = memory_format("%s/%s", path, entry->d_name);
		wrong += check(file);
		count++;
		free(file);
	}
	closedir(dir);
	free(path);
	assert_int_equal(wrong, 0);
	assert_true(count >= least);
}

static void crashes_are_found(void **state)
{
	check_all("crashes", 60);
}

static void look_alikes_are_not(void **state)
{
	check_all("clean", 40);
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
		cmocka_unit_test(crashes_are_found),
		cmocka_unit_test(look_alikes_are_not),
	};

	if (argc != 3)
		return 2;
	directory = argv[1];
	patterns_name = argv[2];
	return cmocka_run_group_tests(tests, load, unload);
}
