/* SPDX-License-Identifier: MIT */
/*
 * What is wrong with one file, collected so that a person sees all of it at once,
 * in the order of the lines.
 */
#ifndef CONFIG_COMPLAINTS_H
#define CONFIG_COMPLAINTS_H

#include <stddef.h>

struct text;

/* Zero-initialised is empty. */
struct complaints {
	struct complaint {
		int line;
		char *text;
	} *list;
	size_t count;
};

/* Adds one. line 0: about the file as a whole. key: what the line sets, or NULL. */
void complaints_add(struct complaints *complaints, int line, const char *key,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Appends "FILE:LINE: KEY: text" lines to out, escaped and sorted. */
void complaints_print(struct complaints *complaints, const char *file, struct text *out);
void complaints_done(struct complaints *complaints);

#endif
