/* SPDX-License-Identifier: MIT */
#include "backends/backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Sets the text of an error. */
int poolfs_err_set(struct poolfs_err *err, int code, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	/* The arguments may point into err itself. */
	char text[sizeof(err->text)];
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(err->text, text, sizeof(text));
	return code;
}

/* Adds a prefix. */
void poolfs_err_prefix(struct poolfs_err *err, const char *format, ...)
{
	/* However long both are, some of the text is left. */
	char prefix[sizeof(err->text) / 4], text[sizeof(err->text)];
	va_list args;

	if (!err)
		return;
	va_start(args, format);
	vsnprintf(prefix, sizeof(prefix), format, args);
	va_end(args);
	memcpy(text, err->text, sizeof(text));
	snprintf(err->text, sizeof(err->text), "%s: %.*s", prefix,
		(int)(sizeof(err->text) - sizeof(prefix) - sizeof(": ")), text);
}
