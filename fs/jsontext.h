/* SPDX-License-Identifier: MIT */
/* Texts of foreign origin as JSON strings. */
#ifndef FS_JSONTEXT_H
#define FS_JSONTEXT_H

#include <jansson.h>

/* The first line of text, escaped as text_escape does, so that it is UTF-8 whatever it was; JSON's
 * null for NULL. The caller owns it. */
json_t *jsontext(const char *text);

#endif
