/* SPDX-License-Identifier: MIT */
#include "backends/shim/transcript.h"

#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/protocol/protocol.h"

#define ROOM_FIRST  256u
#define PREFIX_ROOM 16u
#define LINE_SHORT  4096u

/* Newlines are counted in so many bytes at once, which hold no line that is to be cut; and in so many of
 * those at a time. */
#define COUNT_PIECE 2048u
#define COUNT_LANES 16u
_Static_assert(COUNT_PIECE <= PROTOCOL_TRANSCRIPT_LINE && COUNT_PIECE / COUNT_LANES <= UINT8_MAX,
	"see count_piece and count_newlines");

static const char continues[] = " [poolfs: line continues]\n";

static const struct {
	char text[PREFIX_ROOM]; /* of one size, to be copied without a look at it */
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
static void take_line(struct transcript_part *part, enum transcript_source source,
	const char *bytes, size_t size, struct text *out)
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

/* Has room for size bytes more in out. */
static void make_room(struct text *out, size_t size)
{
	if (out->capacity - out->size > size)
		return;
	out->capacity = 2 * (out->capacity + size + ROOM_FIRST);
	out->data = memory_grow(out->data, out->capacity);
}

/* Puts out complete lines that are short, as most are, as fast as that can be done: it is what a
 * transcript costs. Gives the first byte that it did not take. */
static const char *take_short(
	enum transcript_source source, const char *bytes, const char *end, struct text *out)
{
	while (bytes < end) {
		size_t size =
			(size_t)(end - bytes) < LINE_SHORT ? (size_t)(end - bytes) : LINE_SHORT;
		const char *newline = memchr(bytes, '\n', size);

		if (!newline)
			break;
		size = (size_t)(newline + 1 - bytes);
		make_room(out, PREFIX_ROOM + size);
		char *to = out->data + out->size;

		memcpy(to, prefixes[source].text, PREFIX_ROOM);
		memcpy(to + prefixes[source].size, bytes, size);
		out->size += prefixes[source].size + size;
		bytes += size;
	}
	return bytes;
}

/* Takes bytes. */
void transcript_feed(struct transcript *transcript, enum transcript_source source,
	const char *bytes, size_t size, struct text *out)
{
	struct transcript_part *part = &transcript->parts[source];
	const char *end = bytes + size;

	while (bytes < end) {
		if (!part->size && !part->skip)
			bytes = take_short(source, bytes, end, out);
		if (bytes == end)
			break;
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
		const char *next = newline ? newline + 1 : end;

		if (!part->skip)
			take_line(part, source, bytes, (size_t)(next - bytes), out);
		else if (newline)
			part->skip = false;
		bytes = next;
	}
}

/* What waits, each with its prefix. */
size_t transcript_waiting(const struct transcript *transcript)
{
	size_t waiting = 0;

	for (int i = 0; i < TRANSCRIPT_SOURCES; i++)
		waiting += transcript->parts[i].size + PREFIX_ROOM;
	return waiting;
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

/* Counts a line, or the part of it that came. */
static void count_line(struct transcript_count *count, size_t size, bool ended)
{
	const size_t prefix = prefixes[TRANSCRIPT_STDOUT].size;

	size += count->waiting;
	while (size > PROTOCOL_TRANSCRIPT_LINE) {
		count->size += prefix + PROTOCOL_TRANSCRIPT_LINE + sizeof(continues) - 1;
		size -= PROTOCOL_TRANSCRIPT_LINE;
	}
	if (ended)
		count->size += prefix + size + 1;
	count->waiting = ended ? 0 : size;
}

/* How many newlines there are among COUNT_PIECE bytes or less. All output passes here: it is done for
 * many bytes at a time, in lanes of which none sees more than 255. */
static size_t count_newlines(const char *bytes, size_t size)
{
	typedef uint8_t lanes __attribute__((vector_size(COUNT_LANES), aligned(1), may_alias));
	lanes found = { 0 };
	size_t i = 0, count = 0;

	for (; i + COUNT_LANES <= size; i += COUNT_LANES)
		found -= (lanes)(*(const lanes *)(bytes + i) == (uint8_t)'\n');
	for (; i < size; i++)
		count += bytes[i] == '\n';
	for (i = 0; i < COUNT_LANES; i++)
		count += found[i];
	return count;
}

/* Counts a piece of stdout: its first line, the whole ones that follow, which are short, and the
 * beginning of another. */
static void count_piece(struct transcript_count *count, const char *bytes, size_t size)
{
	size_t lines = count_newlines(bytes, size);

	if (lines) {
		const char *first = memchr(bytes, '\n', size), *last = memrchr(bytes, '\n', size);

		count_line(count, (size_t)(first - bytes), true);
		count->size += (lines - 1) * prefixes[TRANSCRIPT_STDOUT].size + (size_t)(last - first);
		size -= (size_t)(last + 1 - bytes);
	}
	count_line(count, size, false);
}

/* Counts bytes of stdout. */
void transcript_count(struct transcript_count *count, const char *bytes, size_t size)
{
	while (size) {
		size_t piece = size < COUNT_PIECE ? size : COUNT_PIECE;

		count_piece(count, bytes, piece);
		bytes += piece;
		size -= piece;
	}
}

/* Counts the last line. */
void transcript_count_end(struct transcript_count *count)
{
	if (count->waiting)
		count_line(count, 0, true);
}
