/* SPDX-License-Identifier: MIT */
/*
 * UTF-8 as RFC 3629, section 4, has it: no overlong forms, no surrogates, nothing beyond
 * U+10FFFF. Overlong forms matter here because a lenient terminal takes C0 9B for ESC.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/* What may follow a first byte: the second lies in least..most, all others in 80..BF. */
struct utf8_form {
	unsigned char least, most;
	unsigned char length;	/* of the whole sequence, 2 to 4 bytes */
};

/* The form that a first byte of 80..FF begins; NULL: none. */
const struct utf8_form *utf8_form(unsigned char first);
/* The length in bytes of the well-formed sequence of several bytes at text, which ends by NUL; 0:
 * there is none. */
size_t utf8_length(const char *text);

#endif
