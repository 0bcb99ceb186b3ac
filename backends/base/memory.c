/* SPDX-License-Identifier: MIT */
#include "backends/base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the process where there is no memory. */
static void *checked(void *pointer)
{
	if (!pointer) {
		fputs("poolfs: error: out of memory\n", stderr);
		abort();
	}
	return pointer;
}

/* Allocates zeroed memory. */
void *memory_new(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

/* Grows or shrinks. */
void *memory_grow(void *old, size_t size)
{
	return checked(realloc(old, size ? size : 1));
}

/* Copies a string. */
char *memory_string(const char *text)
{
	return text ? checked(strdup(text)) : NULL;
}

/* Formats into fresh memory. */
char *memory_format(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	int length = vasprintf(&text, format, args);
	va_end(args);
	return checked(length < 0 ? NULL : text);
}
