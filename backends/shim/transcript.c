/* SPDX-License-Identifier: MIT */
#include "backends/shim/transcript.h"

#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/protocol/protocol.h"

#define ROOM_FIRST 256u

static const char continues[] = " [poolfs: line continues]\n";

static const struct {
	const char *text;
	size_t size;
} prefixes[TRANSCRIPT_SOURCES] = {
	[TRANSCRIPT_STDOUT] = { "[stdout] ", 9 },
	[TRANSCRIPT_STDERR] = { "[stderr] ", 9 },
	[TRANSCRIPT_CONSOLE] = { "[console] ", 10 },
};

/* Begins in the middle of a line. */
void transcript_skip_line(struct transcript *transcript, enum transcript_source source)
{
	transcript->parts[source].skip = true;
}

/* Keeps the beginning of a line; it fits. */
static void keep(struct transcript_part *part, const char *bytes, size_t size)
{
	while (part->room - part->size < size) {
		part->room = part->room ? part->room * 2 : ROOM_FIRST;
		if (part->room > PROTOCOL_TRANSCRIPT_LINE)
			part->room = PROTOCOL_TRANSCRIPT_LINE;
		part->line = memory_grow(part->line, part->room);
	}
	if (size)
		memcpy(part->line + part->size, bytes, size);
	part->size += size;
}

/* Puts out the prefix and what was kept. */
static void put_begin(struct transcript_part *part, enum transcript_source source, struct text *out)
{
	text_append(out, prefixes[source].text, prefixes[source].size);
	if (part->size)
		text_append(out, part->line, part->size);
	part->size = 0;
}

/* Takes bytes of one line, without a newline or ended by one; cuts it where it is too long. */
static void take_line(struct transcript_part *part, enum transcript_source source, const char *bytes,
	size_t size, struct text *out)
{
	bool ended = bytes[size - 1] == '\n';

	while (part->size + size - ended > PROTOCOL_TRANSCRIPT_LINE) {
		size_t rest = PROTOCOL_TRANSCRIPT_LINE - part->size;

		put_begin(part, source, out);
		text_append(out, bytes, rest);
		text_append(out, continues, sizeof(continues) - 1);
		bytes += rest;
		size -= rest;
	}
	if (!ended) {
		keep(part, bytes, size);
		return;
	}
	put_begin(part, source, out);
	text_append(out, bytes, size);
}

/* Takes bytes. */
void transcript_feed(struct transcript *transcript, enum transcript_source source, const char *bytes,
	size_t size, struct text *out)
{
	struct transcript_part *part = &transcript->parts[source];
	const char *end = bytes + size;

	while (bytes < end) {
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
		const char *next = newline ? newline + 1 : end;

		if (!part->skip)
			take_line(part, source, bytes, (size_t)(next - bytes), out);
		else if (newline)
			part->skip = false;
		bytes = next;
	}
}

/* Completes. */
void transcript_end(struct transcript *transcript, struct text *out)
{
	for (int i = 0; i < TRANSCRIPT_SOURCES; i++) {
		struct transcript_part *part = &transcript->parts[i];

		if (part->size) {
			put_begin(part, (enum transcript_source)i, out);
			text_append(out, "\n", 1);
		}
		free(part->line);
		*part = (struct transcript_part){ 0 };
	}
}
