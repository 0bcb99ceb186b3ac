/* SPDX-License-Identifier: MIT */
#include "config/complaints.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"

/* Longer ones are cut. */
#define COMPLAINT_MAX 4096

/* Adds a complaint behind those of the same and of earlier lines. */
static void insert(struct complaints *complaints, int line, char *text)
{
	size_t at = complaints->count;

	complaints->list = memory_grow(complaints->list,
		(complaints->count + 1) * sizeof(*complaints->list));
	for (; at > 0 && complaints->list[at - 1].line > line; at--)
		complaints->list[at] = complaints->list[at - 1];
	complaints->list[at] = (struct complaint){ .line = line, .text = text };
	complaints->count++;
}

/* Formats and adds. */
void complaints_add(struct complaints *complaints, int line, const char *key,
	const char *format, ...)
{
	char text[COMPLAINT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	insert(complaints, line, memory_format("%s%s%s", key ? key : "", key ? ": " : "", text));
}

/* Writes all. */
void complaints_print(struct complaints *complaints, const char *file, struct text *out)
{
	char safe[COMPLAINT_MAX];

	for (size_t i = 0; i < complaints->count; i++) {
		const struct complaint *complaint = &complaints->list[i];

		text_escape(safe, sizeof(safe), file);
		text_printf(out, "%s:", safe);
		if (complaint->line)
			text_printf(out, "%d:", complaint->line);
		text_escape(safe, sizeof(safe), complaint->text);
		text_printf(out, " %s\n", safe);
	}
}

/* Frees. */
void complaints_done(struct complaints *complaints)
{
	for (size_t i = 0; i < complaints->count; i++)
		free(complaints->list[i].text);
	free(complaints->list);
	*complaints = (struct complaints){ 0 };
}
