/* SPDX-License-Identifier: MIT */
/* What a machine's programs say on standard output, taken with care. No I/O; any thread. */
#ifndef EXEC_ANSWERS_H
#define EXEC_ANSWERS_H

#include "backends/base/text.h"
#include "backends/remote/target.h"

/* Lines "KEY VALUE" of create, that come in pieces; zero-initialised is empty. */
struct answers_lines {
	struct text rest;	/* of a line whose end did not come yet */
	size_t total;		/* bytes that came */
};

/*
 * Takes size bytes more, at most LIMITS_STATUS in all: what is beyond is dropped. Calls each for
 * every whole line that is one: KEY is a name (text_is_name), VALUE is not empty and has no
 * control bytes; and other for every one that is not, with its text, cut to LIMITS_LINE bytes.
 * False: the limit was passed by this call.
 */
bool answers_lines_feed(struct answers_lines *lines, const void *bytes, size_t size,
	void (*each)(void *data, const char *key, const char *value),
	void (*other)(void *data, const char *line), void *data);
/* The end: a last line without a newline counts too. Frees. */
void answers_lines_end(struct answers_lines *lines,
	void (*each)(void *data, const char *key, const char *value),
	void (*other)(void *data, const char *line), void *data);

/* The one line of address, of size bytes: [USER@]HOST[:PORT]. 0; -EINVAL with what it was and
 * what would be right. */
int answers_address(const char *bytes, size_t size, struct target *target, struct poolfs_err *err);

#endif
