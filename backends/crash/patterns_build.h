/* SPDX-License-Identifier: MIT */
/* How patterns.c is told, statement by statement, what patterns_file.c reads. */
#ifndef CRASH_PATTERNS_BUILD_H
#define CRASH_PATTERNS_BUILD_H

#include "backends/crash/patterns.h"

struct patterns_builder;

struct patterns_builder *patterns_builder_new(void);
void patterns_builder_free(struct patterns_builder *builder);

/* Each: 0, or a negative errno with what is wrong in err, without file and line. */
int patterns_add_rule(struct patterns_builder *builder, enum crash_class class, bool stamped,
	bool joins, const char *expression, struct poolfs_err *err);
/* To the last rule. */
int patterns_add_with(struct patterns_builder *builder, const char *expression,
	struct poolfs_err *err);
int patterns_add_title(struct patterns_builder *builder, const char *title, struct poolfs_err *err);
int patterns_add_list(struct patterns_builder *builder, enum patterns_list list,
	const char *expression, struct poolfs_err *err);

/* What was added, ready for use; the builder is empty then, and still to be freed. */
int patterns_build(struct patterns_builder *builder, struct patterns **patterns,
	struct poolfs_err *err);

#endif
