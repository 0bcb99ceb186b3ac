/* SPDX-License-Identifier: MIT */
/*
 * Looks at a console for crashes and cuts reports out of it. Bytes come in any pieces, the verdict
 * is the same for all of them; each complete line is looked at once. Lines longer than
 * SCAN_LINE_MAX are looked at, and kept, as far as that. No I/O, no clock; memory is bounded.
 *
 * A report begins with a line that a rule fits. It goes on over lines that belong to reports
 * (the lists part, frame and end, and rules), with at most SCAN_GAP others between two of them,
 * and ends
 * - with a line of the list `last`;
 * - behind a line of the list `end`, with the first line that does not belong to it, or a second
 *   one of that list. A crash that follows is a report of its own, unless its rule says `joins`;
 * - at SCAN_REPORT_LINES or SCAN_REPORT_BYTES;
 * - when scan_close is called, because the console is quiet or at its end.
 * Others than the last lines that belong to it are not part of it. Up to SCAN_CONTEXT lines from
 * before its beginning, and not of the report before, precede it as context.
 */
#ifndef CRASH_SCAN_H
#define CRASH_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/crash/patterns.h"

#define SCAN_LINE_MAX 4096
#define SCAN_GAP 12
#define SCAN_REPORT_LINES 4000
#define SCAN_REPORT_BYTES 262144
#define SCAN_CONTEXT 5

struct scan_report {
	enum crash_class class;		/* the worst in it */
	const char *title;		/* one line, escaped, without newline */
	const char *text;		/* context and report: whole lines, escaped but for tabs */
	size_t size;			/* of text; there is a NUL behind it */
	uint64_t begin, end;		/* the report without its context: offsets in the stream */
};

struct scan_events {
	/* A report begins. May be NULL. */
	void (*opened)(void *data, enum crash_class class);
	/* It became worse: a fatal line in a report that was not. May be NULL. */
	void (*worse)(void *data);
	/* It is complete; what report points to is gone afterwards. */
	void (*report)(void *data, const struct scan_report *report);
};

struct scan;

/* patterns, events and data must outlive it. Events come from within scan_feed and scan_close. */
struct scan *scan_new(const struct patterns *patterns, const struct scan_events *events, void *data);
void scan_free(struct scan *scan);

void scan_feed(struct scan *scan, const void *bytes, size_t size);

/* Whether a report is open; and whether it only waits to see whether something follows it. */
bool scan_is_open(const struct scan *scan);
bool scan_is_ending(const struct scan *scan);

/* From now on every line belongs to the open report, until its bounds or scan_close end it: somebody
 * makes the machine say more. Nothing happens where none is open. */
void scan_hold(struct scan *scan);

/* The console is quiet: completes an open report. An incomplete line stays incomplete. */
void scan_close(struct scan *scan);
/* The stream is at its end: an incomplete line is looked at too. */
void scan_end(struct scan *scan);

#endif
