/* SPDX-License-Identifier: MIT */
#include "backends/base/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/utf8.h"

/* Writes one byte of foreign text safely; returns how many characters it took, 4 at most. */
static int escape_byte(char *out, unsigned char byte, bool lines)
{
	if (byte == '\n' || byte == '\t') {
		if (lines)
			return sprintf(out, "%c", byte);
		return sprintf(out, "%s", byte == '\n' ? "\\n" : "\\t");
	}
	if (byte < 0x20 || byte == 0x7f)
		return sprintf(out, "\\x%02x", byte);
	return sprintf(out, "%c", byte);
}

/* Both public forms of escaping. */
static void escape(char *out, size_t size, const char *text, bool lines)
{
	const unsigned char *in = (const unsigned char *)text;
	size_t used = 0;

	while (*in) {
		char piece[16];
		size_t length = 1, took;

		if (*in < 0x80) {
			took = (size_t)escape_byte(piece, *in, lines);
		} else if ((length = utf8_length((const char *)in)) > 0 && !(in[0] == 0xc2 && in[1] < 0xa0)) {
			memcpy(piece, in, took = length);
		} else {
			length = 1;
			took = (size_t)sprintf(piece, "\\x%02x", *in);
		}
		if (used + took >= size)
			break;
		memcpy(out + used, piece, took);
		used += took;
		in += length;
	}
	out[used] = '\0';
}

/* One line. */
void text_escape(char *out, size_t size, const char *text)
{
	escape(out, size, text, false);
}

/* Several lines. */
void text_escape_lines(char *out, size_t size, const char *text)
{
	escape(out, size, text, true);
}

/* Checks a name by the rule in the header. */
bool text_is_name(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length > TEXT_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			    "0123456789._-") == length;
}

/* Makes room for size more bytes and a NUL. */
static void reserve(struct text *text, size_t size)
{
	size_t need = text->size + size + 1;

	if (need <= text->capacity)
		return;
	text->capacity = need < 128 ? 128 : need + need / 2;
	text->data = memory_grow(text->data, text->capacity);
}

/* Appends bytes. */
void text_append(struct text *text, const void *data, size_t size)
{
	reserve(text, size);
	if (size)
		memcpy(text->data + text->size, data, size);
	text->size += size;
	text->data[text->size] = '\0';
}

/* Appends formatted text. */
void text_printf(struct text *text, const char *format, ...)
{
	va_list args, again;

	va_start(args, format);
	va_copy(again, args);
	int length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length > 0) {
		reserve(text, (size_t)length);
		vsnprintf(text->data + text->size, (size_t)length + 1, format, again);
		text->size += (size_t)length;
	}
	va_end(again);
}

/* Drops the oldest bytes. */
void text_consume(struct text *text, size_t size)
{
	text->size -= size;
	if (text->size)
		memmove(text->data, text->data + size, text->size);
	if (text->data)
		text->data[text->size] = '\0';
}

/* Frees. */
void text_done(struct text *text)
{
	free(text->data);
	*text = (struct text){ 0 };
}
