/* SPDX-License-Identifier: MIT */
/*
 * Text: a growing buffer, and the escaping that everything foreign goes through
 * before a person's terminal sees it. No I/O; any thread.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Writes text into out (size bytes, always ended by NUL) so that it fits on one
 * line of a terminal: newlines and tabs become "\n" and "\t", other control
 * bytes, DEL and C1 controls (also as UTF-8 C2 80..9F) become "\xNN". Cut when
 * it does not fit.
 */
void text_escape(char *out, size_t size, const char *text);

/* The same, but newlines and tabs stay: for texts of several lines. */
void text_escape_lines(char *out, size_t size, const char *text);

/*
 * A pool's, instance's or run's name: a letter or digit, then letters, digits,
 * '.', '_' or '-', 63 bytes at most.
 */
#define TEXT_NAME_MAX 63
bool text_is_name(const char *name);

/* A growing byte buffer; zero-initialised is empty. data is owned by the buffer. */
struct text {
	char *data;	/* size bytes, then a NUL; NULL while empty */
	size_t size;
	size_t capacity;
};

/* Append; abort(3) on lack of memory, as every small allocation of ours does. */
void text_append(struct text *text, const void *data, size_t size);
void text_printf(struct text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3), nonnull(1, 2)));
/* Removes size bytes from the front; size is at most text->size. */
void text_consume(struct text *text, size_t size);
/* Frees the memory and leaves an empty buffer. */
void text_done(struct text *text);

#endif
