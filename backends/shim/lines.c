/* SPDX-License-Identifier: MIT */
#include "backends/shim/lines.h"

#include <string.h>

#include "backends/base/text.h"

/* Adds a piece without newline to the incomplete line. */
static void lines_collect(struct lines *lines, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size && lines->size < LINES_SIZE - 1; i++)
		if (bytes[i] != '\r')
			lines->line[lines->size++] = bytes[i] ? bytes[i] : ' ';
}

/* The line is complete. */
static void lines_end(struct lines *lines)
{
	char *kept = lines->kept[lines->count++ % LINES_KEPT];
	size_t size = lines->size < LINES_KEPT_SIZE ? lines->size : LINES_KEPT_SIZE - 1;

	lines->line[lines->size] = '\0';
	memcpy(kept, lines->line, size);
	kept[size] = '\0';
	lines->size = 0;
}

/* Takes bytes. */
void lines_feed(struct lines *lines, const void *bytes, size_t size)
{
	const char *at = bytes, *end = at + size;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		lines_collect(lines, at, (size_t)((newline ? newline : end) - at));
		if (!newline)
			break;
		lines_end(lines);
		at = newline + 1;
	}
}

/* Gives the last lines. */
void lines_tail(const struct lines *lines, struct text *out)
{
	unsigned long kept = lines->size > 0 ? LINES_KEPT - 1 : LINES_KEPT;
	unsigned long first = lines->count > kept ? lines->count - kept : 0;

	for (unsigned long i = first; i < lines->count; i++)
		text_printf(out, "%s\n", lines->kept[i % LINES_KEPT]);
	if (lines->size > 0) {
		size_t size = lines->size < LINES_KEPT_SIZE ? lines->size : LINES_KEPT_SIZE - 1;
		text_append(out, lines->line, size);
		text_append(out, "\n", 1);
	}
}
