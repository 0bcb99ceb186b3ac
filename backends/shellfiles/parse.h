/* SPDX-License-Identifier: MIT */
/*
 * What the shell in the machine prints, taken apart and checked: all of it is hostile. No I/O.
 */
#ifndef SHELLFILES_PARSE_H
#define SHELLFILES_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/protocol/files.h"

/* A file, as the program's `at` prints it. ls tells no device: 0. */
struct parse_file {
	struct file_attr attr;
	uint64_t device, inode;
};

#define PARSE_TOOLS 80u

/* The answer to the program's request 1. */
struct parse_hello {
	struct parse_file root;
	unsigned umask;
	bool by_ls;			/* attributes come from ls */
	bool links_by_ls;		/* targets of links, too */
	char tools[PARSE_TOOLS];	/* what was found, in the words of program.c */
	int64_t now;			/* the machine's clock, seconds since 1970, on the minute */
	char path[FILES_PATH_MAX + 1];	/* of the root, absolute */
};

/* 0, or -EIO when that is no such answer. */
int parse_hello(const char *bytes, size_t size, struct parse_hello *hello);

/*
 * The attributes of one file at the front of bytes, up to the blank before its name; *used is where the
 * name begins. 0, or -EIO. Sizes, types, times and modes are made such as protocol/files.h says.
 */
int parse_attr(const struct parse_hello *hello, const char *bytes, size_t size,
	struct parse_file *file, size_t *used);
/* The same, then the name of a path as it was asked for ("" for the root) and the end of the line;
 * *used is where the next line begins. */
int parse_named(const struct parse_hello *hello, const char *bytes, size_t size, const char *path,
	struct parse_file *file, size_t *used);

/* The numbers of a filesystem, from stat -f or df -P -k. 0, or -EIO. */
int parse_statfs(const char *bytes, size_t size, struct file_statfs *statfs);

/* What the end of an answer means: 0 or a negative errno. bytes are the messages that a tool printed. */
int parse_code(const char *code, const char *bytes, size_t size);

#endif
