/* SPDX-License-Identifier: MIT */
#include "backends/base/utf8.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* The form of a first byte. */
const struct utf8_form *utf8_form(unsigned char first)
{
	static const struct {
		unsigned char from, to;
		struct utf8_form form;
	} rows[] = {
		{ 0xc2, 0xdf, { 0x80, 0xbf, 2 } },
		{ 0xe0, 0xe0, { 0xa0, 0xbf, 3 } },
		{ 0xe1, 0xec, { 0x80, 0xbf, 3 } },
		{ 0xed, 0xed, { 0x80, 0x9f, 3 } },
		{ 0xee, 0xef, { 0x80, 0xbf, 3 } },
		{ 0xf0, 0xf0, { 0x90, 0xbf, 4 } },
		{ 0xf1, 0xf3, { 0x80, 0xbf, 4 } },
		{ 0xf4, 0xf4, { 0x80, 0x8f, 4 } },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		if (first >= rows[i].from && first <= rows[i].to)
			return &rows[i].form;
	return NULL;
}

/* The length of a sequence. */
size_t utf8_length(const char *text)
{
	const unsigned char *bytes = (const unsigned char *)text;
	const struct utf8_form *form = utf8_form(bytes[0]);

	if (!form || bytes[1] < form->least || bytes[1] > form->most)
		return 0;
	for (size_t i = 2; i < form->length; i++)
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	return form->length;
}
