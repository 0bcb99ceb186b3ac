/* SPDX-License-Identifier: MIT */
#include "fs/jsontext.h"

#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"

/* The longest text, in bytes; more is cut. */
#define JSONTEXT_MAX 4096

/* One line. */
json_t *jsontext(const char *text)
{
	char clean[JSONTEXT_MAX];

	if (!text)
		return json_null();
	char *line = memory_format("%.*s", (int)strcspn(text, "\n"), text);
	text_escape(clean, sizeof(clean), line);
	free(line);
	return json_string(clean);
}
