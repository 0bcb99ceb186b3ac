/* SPDX-License-Identifier: MIT */
/*
 * While no report is open, only the prefilter runs over the bytes, as they came and many lines at
 * a time; a line in which it finds something is looked at as such. What came before it is context:
 * the last lines of the bytes that were passed over are kept for that. While a report is open,
 * every line is looked at.
 */
#include "backends/crash/scan.h"

#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/crash/message.h"
#include "backends/crash/title.h"

#define CONTEXT_LINE_MAX 1024

struct line {
	const char *text;
	size_t size;
	uint64_t begin, end;		/* with its newline */
};

struct scan {
	const struct patterns *patterns;
	const struct scan_events *events;
	void *data;
	uint64_t offset;		/* of the next byte that is not in `partial` */
	struct {
		char text[SCAN_LINE_MAX];
		size_t size;
		uint64_t begin;
	} partial;			/* the incomplete line */
	struct {
		char text[CONTEXT_LINE_MAX];
		size_t size;
	} context[SCAN_CONTEXT];	/* a ring; the oldest at context_count % SCAN_CONTEXT */
	size_t context_count;
	bool open;
	bool ending;			/* a line of the list `end` was the last */
	bool held;			/* all that comes belongs to it */
	enum crash_class class;
	const struct patterns_rule *rule;
	struct text text;		/* context and report, not escaped */
	size_t body;			/* where its second line begins */
	struct message first;		/* of its first line, into first_line */
	char first_line[SCAN_LINE_MAX];
	size_t kept, lines, gap;	/* bytes and lines that belong to it; others behind them */
	uint64_t begin, end;
	char clean[SCAN_LINE_MAX];
};

/* Makes one. */
struct scan *scan_new(const struct patterns *patterns, const struct scan_events *events, void *data)
{
	struct scan *scan = memory_new(sizeof(*scan));

	scan->patterns = patterns;
	scan->events = events;
	scan->data = data;
	return scan;
}

/* Frees. */
void scan_free(struct scan *scan)
{
	if (!scan)
		return;
	text_done(&scan->text);
	free(scan);
}

/* Copies a line without what no text has: carriage returns at its end go, a NUL becomes a space. */
static size_t clean_line(char *out, const char *raw, size_t size, size_t limit)
{
	size = size < limit ? size : limit;
	while (size > 0 && raw[size - 1] == '\r')
		size--;
	memcpy(out, raw, size);
	for (char *nul = out; (nul = memchr(nul, '\0', size - (size_t)(nul - out)));)
		*nul = ' ';
	return size;
}

/* Remembers a line as context of what may come. */
static void remember(struct scan *scan, const char *raw, size_t size)
{
	size_t slot = scan->context_count++ % SCAN_CONTEXT;

	scan->context[slot].size = clean_line(scan->context[slot].text, raw, size,
		CONTEXT_LINE_MAX);
}

/* Remembers the last of many lines, each ended by a newline. */
static void remember_last(struct scan *scan, const char *from, const char *end)
{
	const char *begin = end;

	for (int i = 0; i < SCAN_CONTEXT && begin > from; i++) {
		const char *newline = memrchr(from, '\n', (size_t)(begin - 1 - from));
		begin = newline ? newline + 1 : from;
	}
	while (begin < end) {
		const char *newline = memchr(begin, '\n', (size_t)(end - begin));
		remember(scan, begin, (size_t)(newline - begin));
		begin = newline + 1;
	}
}

/* Completes the report. */
static void close_report(struct scan *scan)
{
	char title[TITLE_MAX + 1];
	struct scan_report report = { .class = scan->class, .title = title, .begin = scan->begin,
		.end = scan->end };

	scan->text.size = scan->kept;
	scan->text.data[scan->kept] = '\0';
	title_make(scan->patterns, scan->rule, &scan->first, scan->text.data + scan->body,
		scan->kept - scan->body, title);
	char *clean = memory_new(4 * scan->kept + 1);
	text_escape_lines(clean, 4 * scan->kept + 1, scan->text.data);
	report.text = clean;
	report.size = strlen(clean);
	scan->open = scan->ending = scan->held = false;
	text_done(&scan->text);
	scan->events->report(scan->data, &report);
	free(clean);
}

/* A line that belongs to the open report. */
static void append(struct scan *scan, const struct line *line)
{
	text_append(&scan->text, line->text, line->size);
	text_append(&scan->text, "\n", 1);
	scan->kept = scan->text.size;
	scan->end = line->end;
	scan->lines += scan->gap + 1;
	scan->gap = 0;
	scan->context_count = 0;
}

/* Begins a report, with its context. */
static void open_report(struct scan *scan, const struct line *line,
	const struct patterns_rule *rule, const struct message *message)
{
	size_t count = scan->context_count < SCAN_CONTEXT ? scan->context_count : SCAN_CONTEXT;

	text_done(&scan->text);
	for (size_t i = scan->context_count - count; i < scan->context_count; i++) {
		text_append(&scan->text, scan->context[i % SCAN_CONTEXT].text,
			scan->context[i % SCAN_CONTEXT].size);
		text_append(&scan->text, "\n", 1);
	}
	memcpy(scan->first_line, line->text, line->size);
	scan->first = *message;
	scan->first.text = scan->first_line + (message->text - line->text);
	scan->open = true;
	scan->ending = false;
	scan->rule = rule;
	scan->class = rule->class;
	scan->begin = line->begin;
	scan->lines = scan->gap = 0;
	append(scan, line);
	scan->body = scan->text.size;
	if (scan->events->opened)
		scan->events->opened(scan->data, rule->class);
}

/* One more crash in the open report. */
static void join(struct scan *scan, const struct line *line, const struct patterns_rule *rule)
{
	append(scan, line);
	scan->ending = false;
	if (rule->class <= scan->class)
		return;
	scan->class = rule->class;
	if (scan->events->worse)
		scan->events->worse(scan->data);
}

/* Whether one of the messages is in a list. */
static bool any_in(const struct scan *scan, enum patterns_list list,
	const struct message *messages, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (patterns_in(scan->patterns, list, messages[i].text, messages[i].size, NULL))
			return true;
	return false;
}

/* A line that does not belong to the open report, unless one that does follows. */
static void pass_over(struct scan *scan, const struct line *line)
{
	bool over = scan->ending || scan->gap == SCAN_GAP;

	scan->gap++;
	text_append(&scan->text, line->text, line->size);
	text_append(&scan->text, "\n", 1);
	remember(scan, line->text, line->size);
	if (over)
		close_report(scan);
}

/* A line that no rule fits, while a report is open. */
static void follow(struct scan *scan, const struct line *line, const struct message *messages,
	size_t count)
{
	bool end = any_in(scan, PATTERNS_END, messages, count);

	if (scan->held) {
		append(scan, line);
	} else if (any_in(scan, PATTERNS_LAST, messages, count)) {
		append(scan, line);
		close_report(scan);
	} else if (end && scan->ending) {
		pass_over(scan, line);
	} else if (end) {
		append(scan, line);
		scan->ending = true;
	} else if (any_in(scan, PATTERNS_PART, messages, count) ||
		any_in(scan, PATTERNS_FRAME, messages, count)) {
		append(scan, line);
	} else {
		pass_over(scan, line);
	}
}

/* Looks at a whole line. */
static void look(struct scan *scan, const char *raw, size_t size, uint64_t begin, uint64_t end)
{
	struct line line = { .text = scan->clean, .begin = begin, .end = end };
	struct message messages[MESSAGE_MAX];
	struct prefilter_hits hits = { 0 };
	size_t which = 0;

	line.size = clean_line(scan->clean, raw, size, SCAN_LINE_MAX);
	size_t count = message_split(line.text, line.size, messages);
	const struct patterns_rule *rule = NULL;
	if (prefilter_mark(patterns_prefilter(scan->patterns), line.text, line.text + line.size,
		    &hits))
		rule = patterns_rule(scan->patterns, &hits, messages, count, &which);
	if (rule && scan->open && scan->ending && !rule->joins)
		close_report(scan);
	if (rule && scan->open)
		join(scan, &line, rule);
	else if (rule)
		open_report(scan, &line, rule, &messages[which]);
	else if (scan->open)
		follow(scan, &line, messages, count);
	else
		remember(scan, raw, size);
	if (scan->open && (scan->lines + scan->gap >= SCAN_REPORT_LINES ||
				  scan->text.size >= SCAN_REPORT_BYTES))
		close_report(scan);
}

/* Looks at many lines, each ended by a newline. */
static void look_all(struct scan *scan, const char *from, const char *end)
{
	const struct prefilter *filter = patterns_prefilter(scan->patterns);

	while (from < end) {
		const char *line = from, *newline;
		const char *hit = scan->open ? from : prefilter_find(filter, from, end);

		if (!hit) {
			remember_last(scan, from, end);
			scan->offset += (uint64_t)(end - from);
			return;
		}
		if (hit > from && (newline = memrchr(from, '\n', (size_t)(hit - from))))
			line = newline + 1;
		remember_last(scan, from, line);
		scan->offset += (uint64_t)(line - from);
		newline = memchr(hit, '\n', (size_t)(end - hit));
		from = newline + 1;
		uint64_t begin = scan->offset;
		scan->offset += (uint64_t)(from - line);
		look(scan, line, (size_t)(newline - line), begin, scan->offset);
	}
}

/* Adds to the incomplete line; what is too long is left out. */
static void collect(struct scan *scan, const char *bytes, size_t size)
{
	size_t room = sizeof(scan->partial.text) - scan->partial.size;

	memcpy(scan->partial.text + scan->partial.size, bytes, size < room ? size : room);
	scan->partial.size += size < room ? size : room;
	scan->offset += size;
}

/* The incomplete line is complete. */
static void look_partial(struct scan *scan)
{
	look(scan, scan->partial.text, scan->partial.size, scan->partial.begin, scan->offset);
	scan->partial.size = 0;
	scan->partial.begin = scan->offset;
}

/* Takes bytes. */
void scan_feed(struct scan *scan, const void *bytes, size_t size)
{
	const char *at = bytes, *end = at + size;
	const char *last = size ? memrchr(at, '\n', size) : NULL;

	if (last && scan->offset > scan->partial.begin) {
		const char *newline = memchr(at, '\n', size);

		collect(scan, at, (size_t)(newline - at));
		scan->offset++;
		look_partial(scan);
		at = newline + 1;
	}
	if (last) {
		look_all(scan, at, last + 1);
		at = last + 1;
		scan->partial.begin = scan->offset;
	}
	if (at < end)
		collect(scan, at, (size_t)(end - at));
}

/* Whether a report is open. */
bool scan_is_open(const struct scan *scan)
{
	return scan->open;
}

/* Whether it may be complete. */
bool scan_is_ending(const struct scan *scan)
{
	return scan->open && scan->ending;
}

/* All belongs to the open report from now on. */
void scan_hold(struct scan *scan)
{
	scan->held = scan->open;
	scan->ending = false;
}

/* Nothing comes at present. */
void scan_close(struct scan *scan)
{
	if (scan->open)
		close_report(scan);
}

/* Nothing comes any more. */
void scan_end(struct scan *scan)
{
	if (scan->offset > scan->partial.begin)
		look_partial(scan);
	scan_close(scan);
}
