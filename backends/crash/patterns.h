/* SPDX-License-Identifier: MIT */
/*
 * What a crash looks like on a console: rules and lists of regular expressions (PCRE2), read
 * from files whose format is described in poolfs.conf(5), "Crash patterns". A rule says
 * which line begins a report, how bad that is, and what the report's title is. Expressions see
 * messages (message.h) of a hostile guest: matching has limits, and what goes beyond them does
 * not match. Reads files only in patterns_load; an object is used by one thread at a time.
 */
#ifndef CRASH_PATTERNS_H
#define CRASH_PATTERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"
#include "backends/crash/prefilter.h"

/* A longer line of a file is an error. */
#define PATTERNS_LINE_MAX 8192
/* Longest file, in bytes; deepest nesting of `include`. */
#define PATTERNS_FILE_MAX 1048576
#define PATTERNS_DEPTH_MAX 8
/* Groups of a rule's two expressions together, the whole match left out. */
#define PATTERNS_GROUPS_MAX 9

enum crash_class {
	CRASH_REPORT,	/* the kernel found something wrong, and goes on */
	CRASH_FATAL,	/* it, or the task that ran, is at its end */
};

struct message;
struct pcre2_real_code_8;

/* A line that begins a report. */
struct patterns_rule {
	enum crash_class class;
	bool stamped;				/* only messages that have a prefix */
	bool joins;				/* belongs to a report that has just ended */
	struct pcre2_real_code_8 *line, *with;	/* with: a later line, NULL: none is wanted */
	char *title;				/* NULL: the message itself */
};

/* The lists: an expression each, in which all of a file's are joined. */
enum patterns_list {
	PATTERNS_EXCEPT,	/* begins no report, though a rule says so */
	PATTERNS_PART,		/* belongs to a report */
	PATTERNS_FRAME,		/* the same; group 1 is a function's name */
	PATTERNS_END,		/* the report may end here */
	PATTERNS_LAST,		/* it does end here */
	PATTERNS_SKIP,		/* the whole name of a function that is never guilty */
	PATTERNS_LISTS
};

struct patterns;

/* A text of a message; NULL, 0 where a group did not take part. */
struct patterns_group {
	const char *text;
	size_t size;
};

/* The file that is installed with the program, or stands beside it in a build directory. free() it. */
char *patterns_default(void);

/*
 * Reads file (may be NULL) and then fallback (may be NULL), so that the first one's rules are tried
 * first. -errno with the file, the line and what would be right in err.
 */
int patterns_load(const char *file, const char *fallback, struct patterns **patterns,
	struct poolfs_err *err);
void patterns_free(struct patterns *patterns);

/* The fixed texts of the rules: a line in which none stands begins no report. */
const struct prefilter *patterns_prefilter(const struct patterns *patterns);

/* The first rule of those marked in hits that fits one of the messages, and no exception does; the
 * message's index goes to *which. NULL: none. */
const struct patterns_rule *patterns_rule(const struct patterns *patterns,
	const struct prefilter_hits *hits, const struct message *messages, size_t count,
	size_t *which);

/* Whether a text is in a list; for PATTERNS_FRAME, *group is the function's name. group may be NULL. */
bool patterns_in(const struct patterns *patterns, enum patterns_list list, const char *text,
	size_t size, struct patterns_group *group);

/* The groups of one expression (of a rule) on a text: false when it does not match. Returns through
 * count how many groups it has; at most PATTERNS_GROUPS_MAX are set. */
bool patterns_groups(const struct patterns *patterns, const struct pcre2_real_code_8 *expression,
	const char *text, size_t size, struct patterns_group groups[PATTERNS_GROUPS_MAX],
	unsigned *count);

#endif
