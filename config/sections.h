/* SPDX-License-Identifier: MIT */
/*
 * The syntax of a configuration file: sections, and "key = value" lines in them, read
 * with inih. What inih would silently read in another way than it was meant (a line
 * that is too long, an indented line, a missing '=') is a complaint.
 */
#ifndef CONFIG_SECTIONS_H
#define CONFIG_SECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct complaints;

struct section_item {
	char *key, *value;
	int line;
	bool comment;			/* one follows the value */
};

struct section {
	char *name;			/* what stands between [ and ] */
	int line;
	struct section_item *items;	/* in the order of the file; keys may repeat */
	size_t count;
	bool incomplete;		/* a wrong line was left out */
};

/* Zero-initialised is empty. */
struct sections {
	struct section *list;		/* in the order of the file; names may repeat */
	size_t count;
	mode_t mode;			/* of the file */
};

/* Reads file. -errno with a complaint when it cannot be read at all; wrong lines are complaints
 * and left out, the result is 0. In either case call sections_done. */
int sections_read(struct sections *sections, const char *file, struct complaints *complaints);
void sections_done(struct sections *sections);

/* The line where the section sets key first, or the section's own. */
int section_line(const struct section *section, const char *key);

#endif
