/* SPDX-License-Identifier: MIT */
/*
 * The title of a report: short, the same for every report of the same fault, on one line, and
 * safe for terminals. Addresses, numbers and offsets are left out or replaced by ADDR and NUM.
 * No I/O.
 */
#ifndef CRASH_TITLE_H
#define CRASH_TITLE_H

#include <stddef.h>

#define TITLE_MAX 240	/* bytes */

struct patterns;
struct patterns_rule;
struct message;

/* Makes the title of a report: message is its first, which rule fits; text (size bytes, whole lines)
 * are the lines behind that one. */
void title_make(const struct patterns *patterns, const struct patterns_rule *rule,
	const struct message *message, const char *text, size_t size, char title[TITLE_MAX + 1]);

#endif
