/* SPDX-License-Identifier: MIT */
/*
 * A run's transcript: what it wrote and what the console printed meanwhile, in whole lines in
 * the order in which they became complete, each after "[stdout] ", "[stderr] " or "[console] ".
 * The bytes come in any pieces; a carriage return before a newline stays. No line is lost and
 * none comes twice:
 *
 * - A line longer than PROTOCOL_TRANSCRIPT_LINE is cut into pieces of that size. Each but the last
 *   ends with " [poolfs: line continues]" and a newline, and the next begins with the prefix.
 * - A last line without newline gets one at the run's end.
 * - A console line that began before the run did is left out; the console's part begins with the
 *   first line that begins after the run's start.
 */
#ifndef SHIM_TRANSCRIPT_H
#define SHIM_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sink;
struct text;

enum transcript_source {
	TRANSCRIPT_STDOUT,
	TRANSCRIPT_STDERR,
	TRANSCRIPT_CONSOLE,
	TRANSCRIPT_SOURCES
};

struct transcript {
	struct transcript_part {
		char *line;		/* size bytes of the incomplete line */
		size_t size, room;
		bool skip;		/* the line began too early */
	} parts[TRANSCRIPT_SOURCES];
};

/* How much a transcript has of one source's bytes, counted without making it. */
struct transcript_count {
	uint64_t size;		/* bytes that come out */
	size_t waiting;		/* of the incomplete line; at most PROTOCOL_TRANSCRIPT_LINE */
};

/* Zeroed memory is an empty transcript. The next newline of this source ends a line that is left
 * out. */
void transcript_skip_line(struct transcript *transcript, enum transcript_source source);
/* Appends to out what bytes make complete. */
void transcript_feed(struct transcript *transcript, enum transcript_source source, const char *bytes,
	size_t size, struct text *out);
/* At most so many bytes come out for one byte of output, besides what waits in incomplete lines. */
#define TRANSCRIPT_GROWTH 16u
/* How many bytes come out for the incomplete lines, at most. */
size_t transcript_waiting(const struct transcript *transcript);
/* Appends the incomplete lines, completed, and frees the memory. */
void transcript_end(struct transcript *transcript, struct text *out);

/* Counts what transcript_feed appends for these bytes of stdout, and transcript_end for the last line,
 * where nothing of another source is between them. Zeroed memory has counted nothing. */
void transcript_count(struct transcript_count *count, const char *bytes, size_t size);
void transcript_count_end(struct transcript_count *count);

#endif
