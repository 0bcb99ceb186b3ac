/* SPDX-License-Identifier: MIT */
#include "backends/crash/message.h"

#include <ctype.h>
#include <string.h>

/* A log daemon's prefix is shorter than this. */
#define SYSLOG_MAX 160

/* Behind the digits at `at`; at least one. NULL: there is none. */
static const char *skip_digits(const char *at, const char *end)
{
	const char *from = at;

	while (at < end && isdigit((unsigned char)*at))
		at++;
	return at > from ? at : NULL;
}

/* Behind the spaces. */
static const char *skip_spaces(const char *at, const char *end)
{
	while (at < end && *at == ' ')
		at++;
	return at;
}

/* Behind the character c; NULL: it is another one, or at is NULL. */
static const char *skip_char(const char *at, const char *end, char c)
{
	return at && at < end && *at == c ? at + 1 : NULL;
}

/* [    1.234567] */
static const char *skip_time(const char *at, const char *end)
{
	at = skip_char(at, end, '[');
	at = at ? skip_digits(skip_spaces(at, end), end) : NULL;
	at = skip_char(at, end, '.');
	const char *fraction = at;
	at = at ? skip_digits(at, end) : NULL;
	return at && at - fraction >= 3 ? skip_char(at, end, ']') : NULL;
}

/* [  T123] or [  C1] */
static const char *skip_caller(const char *at, const char *end)
{
	at = skip_char(at, end, '[');
	at = at ? skip_spaces(at, end) : NULL;
	if (!at || at == end || (*at != 'T' && *at != 'C'))
		return NULL;
	return skip_char(skip_digits(at + 1, end), end, ']');
}

/* <4> */
static const char *skip_level(const char *at, const char *end)
{
	at = skip_char(at, end, '<');
	return at ? skip_char(skip_digits(at, end), end, '>') : NULL;
}

/* (1)[123:name] */
static const char *skip_task(const char *at, const char *end)
{
	at = skip_char(at, end, '(');
	at = at ? skip_char(skip_digits(at, end), end, ')') : NULL;
	at = skip_char(at, end, '[');
	at = at ? skip_char(skip_digits(at, end), end, ':') : NULL;
	return at ? skip_char(memchr(at, ']', (size_t)(end - at)), end, ']') : NULL;
}

/* c1, which ends with a space */
static const char *skip_processor(const char *at, const char *end)
{
	at = skip_char(at, end, 'c');
	at = at ? skip_digits(at, end) : NULL;
	return at && at < end && *at == ' ' ? at : NULL;
}

/* The beginning of a log daemon's date: "Jan  1" or "2024-01-01" */
static bool is_date(const char *at, size_t size)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	if (size < 20)
		return false;
	for (const char *month = months; *month; month += 3)
		if (memcmp(at, month, 3) == 0)
			return at[3] == ' ';
	return isdigit((unsigned char)at[0]) && isdigit((unsigned char)at[3]) && at[4] == '-' &&
		at[7] == '-';
}

/* A date, a host's name, and "kernel:" */
static const char *skip_syslog(const char *at, const char *end)
{
	static const char name[] = " kernel: ";
	size_t size = (size_t)(end - at) < SYSLOG_MAX ? (size_t)(end - at) : SYSLOG_MAX;
	const char *found = is_date(at, size) ? memmem(at, size, name, sizeof(name) - 1) : NULL;

	return found ? found + sizeof(name) - 2 : NULL; /* its last space goes as after all others */
}

typedef const char *skip(const char *at, const char *end);

static skip *const prefixes[] = { skip_time, skip_caller, skip_level, skip_task, skip_processor,
	skip_syslog };
#define PREFIXES (sizeof(prefixes) / sizeof(*prefixes))

/* Behind all that stands in front of a message, and one space after each. A processor's number
 * is only believed behind something else. */
static const char *skip_prefixes(const char *at, const char *end, bool *stamped)
{
	const char *next;

	do {
		next = NULL;
		for (size_t i = 0; i < PREFIXES && !next; i++)
			if (prefixes[i] != skip_processor || *stamped)
				next = prefixes[i](at, end);
		if (!next)
			break;
		*stamped = true;
		at = next < end && *next == ' ' ? next + 1 : next;
	} while (at < end);
	return at;
}

/* Where the next message's prefix begins, behind `at`; end: nowhere. */
static const char *next_begin(const char *at, const char *end)
{
	for (const char *next = at; next < end; next++) {
		if (*next == '\r')
			return next;
		if (*next == '[' && skip_time(next, end))
			return next;
	}
	return end;
}

/* Takes the line apart. */
size_t message_split(const char *line, size_t size, struct message messages[MESSAGE_MAX])
{
	const char *at = line, *end = line + size;
	size_t count = 0;

	do {
		struct message *message = &messages[count++];

		at += at < end && *at == '\r';
		message->stamped = false;
		message->text = skip_prefixes(at, end, &message->stamped);
		at = count < MESSAGE_MAX ? next_begin(message->text, end) : end;
		message->size = (size_t)(at - message->text);
	} while (at < end);
	return count;
}
