/* SPDX-License-Identifier: MIT */
#include "backends/shim/filter.h"

#include <stdbool.h>

#include "backends/base/utf8.h"

/* U+0080..U+009F are C2 80..9F: the second byte is what has to go. */
#define C1_LEAD 0xc2
#define C1_END 0xa0

/* A byte that continues no sequence. */
static unsigned char filter_first(struct filter *filter, unsigned char byte)
{
	const struct utf8_form *form = utf8_form(byte);

	if (form)
		*filter = (struct filter){ form->least, form->most,
			(unsigned char)(form->length - 1) };
	if (byte == C1_LEAD)
		filter->least = C1_END;
	if (byte == '\r')
		return ' ';
	if (byte == '\n' || byte == '\t')
		return byte;
	return byte < 0x20 || byte == 0x7f || (byte >= 0x80 && byte < C1_END) ? '?' : byte;
}

/* One byte. */
static unsigned char filter_byte(struct filter *filter, unsigned char byte)
{
	bool continues = filter->left > 0 && byte >= filter->least && byte <= filter->most;

	if (!continues) {
		filter->left = 0;
		return filter_first(filter, byte);
	}
	*filter = (struct filter){ 0x80, 0xbf, (unsigned char)(filter->left - 1) };
	return byte;
}

/* Some bytes. */
void filter_apply(struct filter *filter, char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (char)filter_byte(filter, (unsigned char)data[i]);
}
