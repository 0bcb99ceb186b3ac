/* SPDX-License-Identifier: MIT */
#include "backends/base/shell.h"

#include <string.h>

/* Quotes. */
void shell_word(struct text *out, const char *bytes, size_t size)
{
	text_append(out, "'", 1);
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] == '\'')
			text_append(out, "'\\''", 4);
		else
			text_append(out, bytes + i, 1);
	}
	text_append(out, "'", 1);
}

/* "./" keeps `cd` from taking a name for an option, or from looking it up in CDPATH. */
void shell_cd(struct text *out, const char *directory)
{
	struct text name = { 0 };

	if (!directory || !*directory)
		return;
	if (!strncmp(directory, "~/", 2))
		directory += 2;
	text_printf(&name, "%s%s", *directory == '/' ? "" : "./", directory);
	text_printf(out, "cd ");
	shell_word(out, name.data, name.size);
	text_printf(out, " || exit 255; ");
	text_done(&name);
}

/* Turns lines into one export. */
void shell_export(struct text *out, const char *lines, size_t size)
{
	const char *end = lines + size;

	if (!size)
		return;
	text_printf(out, "export");
	while (lines < end) {
		const char *newline = memchr(lines, '\n', (size_t)(end - lines));
		const char *stop = newline ? newline : end;
		const char *equals = memchr(lines, '=', (size_t)(stop - lines));

		if (equals) {
			text_printf(out, " %.*s=", (int)(equals - lines), lines);
			shell_word(out, equals + 1, (size_t)(stop - equals - 1));
		}
		lines = stop + 1;
	}
	text_printf(out, "; ");
}
