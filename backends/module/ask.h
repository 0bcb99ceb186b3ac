/* SPDX-License-Identifier: MIT */
/* One question to a shim about a module (describe.h), and its answer. */
#ifndef MODULE_ASK_H
#define MODULE_ASK_H

#include "backends/backend.h"

struct json_t;

/* How long an answer may take, in milliseconds, and how long it may be, in bytes. */
#define ASK_LIMIT_MS 10000
#define ASK_ANSWER_MAX 4194304u

/*
 * Runs SHIM OPTION FILE with question as its standard input (NULL: nothing), and waits. 0 with *answer,
 * the member `member` of what it answered, for json_decref; or a negative errno with err, which is what
 * the answer says, or why there is none. Blocks; any thread that has no child processes of its own.
 */
int ask_module(const char *shim, const char *option, const char *file, const struct json_t *question,
	const char *member, struct json_t **answer, struct poolfs_err *err);

#endif
