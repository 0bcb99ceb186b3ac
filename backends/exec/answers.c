/* SPDX-License-Identifier: MIT */
#include "backends/exec/answers.h"

#include <errno.h>
#include <string.h>

#include "backends/exec/limits.h"

/* Whether text has a byte that a terminal acts on. */
static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	return false;
}

/* Takes one line apart; it is changed. */
static void take_line(char *line, void (*each)(void *data, const char *key, const char *value),
	void (*other)(void *data, const char *line), void *data)
{
	char *space = strchr(line, ' ');

	if (!*line)
		return;
	if (space)
		*space = '\0';
	if (space && space[1] && text_is_name(line) && !has_control(space + 1)) {
		each(data, line, space + 1);
		return;
	}
	if (space)
		*space = ' ';
	other(data, line);
}

/* Takes the whole lines that there are, and those that are too long to become one. */
static void take_lines(struct answers_lines *lines, bool end,
	void (*each)(void *data, const char *key, const char *value),
	void (*other)(void *data, const char *line), void *data)
{
	char line[LIMITS_LINE + 1];

	while (lines->rest.size > 0) {
		const char *newline = memchr(lines->rest.data, '\n', lines->rest.size);
		size_t size = newline ? (size_t)(newline - lines->rest.data) : lines->rest.size;

		if (!newline && !end && size <= LIMITS_LINE)
			return;
		bool cut = size > LIMITS_LINE;
		if (cut)
			size = LIMITS_LINE;
		memcpy(line, lines->rest.data, size);
		line[size] = '\0';
		text_consume(&lines->rest, size + (newline && !cut));
		/* A NUL would hide what is behind it. */
		if (cut || strlen(line) != size)
			other(data, line);
		else
			take_line(line, each, other, data);
	}
}

/* Takes more. */
bool answers_lines_feed(struct answers_lines *lines, const void *bytes, size_t size,
	void (*each)(void *data, const char *key, const char *value),
	void (*other)(void *data, const char *line), void *data)
{
	size_t room = lines->total < LIMITS_STATUS ? LIMITS_STATUS - lines->total : 0;
	bool passes = lines->total <= LIMITS_STATUS && size > room;

	/* It stays beyond the limit, wherever that is. */
	lines->total = passes || lines->total > LIMITS_STATUS ? LIMITS_STATUS + 1 : lines->total + size;
	text_append(&lines->rest, bytes, size < room ? size : room);
	take_lines(lines, false, each, other, data);
	return !passes;
}

/* The end. */
void answers_lines_end(struct answers_lines *lines,
	void (*each)(void *data, const char *key, const char *value),
	void (*other)(void *data, const char *line), void *data)
{
	take_lines(lines, true, each, other, data);
	text_done(&lines->rest);
}

/* Reads the address. */
int answers_address(const char *bytes, size_t size, struct target *target, struct poolfs_err *err)
{
	char line[LIMITS_ADDRESS + 1], clean[LIMITS_ADDRESS + 1];
	const char *what = NULL;

	while (size > 0 && strchr(" \t\r\n", bytes[size - 1]))
		size--;
	if (size > LIMITS_ADDRESS)
		size = LIMITS_ADDRESS;
	memcpy(line, size ? bytes : "", size);
	line[size] = '\0';
	text_escape(clean, sizeof(clean), line);
	if (size == 0)
		what = "address printed nothing: it has to print [USER@]HOST[:PORT]";
	else if (strlen(line) != size || has_control(line) || strchr(line, ' '))
		what = "address printed more than one word: it has to print [USER@]HOST[:PORT] and nothing else";
	if (what)
		return poolfs_err_set(err, -EINVAL, "%s%s%.200s%s", what, *clean ? ", not \"" : "", clean,
			*clean ? "\"" : "");
	if (target_parse_host(line, target, NULL) < 0)
		return poolfs_err_set(err, -EINVAL, "address printed \"%.200s\": it has to print "
			"[USER@]HOST[:PORT]", clean);
	return 0;
}
