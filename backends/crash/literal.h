/* SPDX-License-Identifier: MIT */
/* The fixed text that every match of a regular expression holds: what is searched for first. */
#ifndef CRASH_LITERAL_H
#define CRASH_LITERAL_H

#include <stddef.h>

/*
 * The longest text that certainly stands in whatever the expression (PCRE2's syntax, valid)
 * matches; found without a full understanding of it, so it may be shorter than it could be.
 * Alternatives outside of parentheses, and option settings such as (?i), have none. NULL, or a
 * string of *size bytes to free.
 */
char *literal_find(const char *expression, size_t *size);

#endif
