/* SPDX-License-Identifier: MIT */
#include "backends/shim/journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backends/base/text.h"
#include "backends/shim/shim.h"

/* Bytes that are escaped in one go; one byte becomes four characters at most. */
#define PIECE 1024

/* Makes the log's file. */
void journal_init(struct shim *shim)
{
	sink_init(&shim->journal.spool, shim, SPOOL_LOG, 0, JOURNAL_LIMIT);
	sink_make(&shim->journal.spool);
}

/* Appends text that is safe already. */
static void journal_append(struct journal *journal, const char *text, size_t size)
{
	if (size == 0)
		return;
	sink_append(&journal->spool, text, size);
	journal->within = text[size - 1] != '\n';
}

/* Writes a message. */
void journal_printf(struct shim *shim, const char *format, ...)
{
	char raw[4096], clean[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	if (shim->journal.within)
		journal_append(&shim->journal, "\n", 1);
	text_escape_lines(clean, sizeof(clean) - 1, raw);
	size_t size = strlen(clean);
	if (size == 0 || clean[size - 1] != '\n')
		clean[size++] = '\n';
	journal_append(&shim->journal, clean, size);
}

/* Writes what a tool printed; carriage returns go, a NUL is shown as \x01. */
void journal_bytes(struct shim *shim, const void *data, size_t size)
{
	const char *bytes = data;
	char raw[PIECE + 1], clean[4 * PIECE + 1];

	while (size > 0) {
		size_t used = 0;
		size_t take = size < PIECE ? size : PIECE;
		for (size_t i = 0; i < take; i++)
			if (bytes[i] != '\r')
				raw[used++] = bytes[i] ? bytes[i] : '\x01';
		raw[used] = '\0';
		text_escape_lines(clean, sizeof(clean), raw);
		journal_append(&shim->journal, clean, strlen(clean));
		bytes += take;
		size -= take;
	}
}
