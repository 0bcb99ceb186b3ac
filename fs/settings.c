/* SPDX-License-Identifier: MIT */
#include "fs/settings.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/protocol/protocol.h"

/* The longest time limit: 1,000 hours. */
#define TIMEOUT_MAX_MS 3600000000u

/* A terminal is at most so wide and high. */
#define TTY_MAX 10000ul

/* Copies a value that was written to a NUL-terminated buffer, without its newline. -EINVAL: it is empty
 * and must not be, or does not fit, or has a NUL in it. */
static int take_line(const char *data, size_t size, char *line, size_t room)
{
	if (size && data[size - 1] == '\n')
		size--;
	if (size >= room || memchr(data, '\0', size) || memchr(data, '\n', size))
		return -EINVAL;
	memcpy(line, data, size);
	line[size] = '\0';
	return 0;
}

/* Copies all. */
void settings_copy(struct settings *settings, const struct settings *from)
{
	*settings = (struct settings){ .timeout_ms = from->timeout_ms,
		.columns = from->columns,
		.rows = from->rows };
	text_append(&settings->environment, from->environment.data, from->environment.size);
	text_append(&settings->cwd, from->cwd.data, from->cwd.size);
}

/* Frees. */
void settings_done(struct settings *settings)
{
	text_done(&settings->environment);
	text_done(&settings->cwd);
}

/* timeout */
void settings_show_timeout(const struct settings *settings, struct text *text)
{
	if (settings->timeout_ms % 1000)
		text_printf(text, "%g\n", settings->timeout_ms / 1e3);
	else
		text_printf(text, "%u\n", settings->timeout_ms / 1000);
}

/* environment */
void settings_show_environment(const struct settings *settings, struct text *text)
{
	text_append(text, settings->environment.data, settings->environment.size);
}

/* cwd */
void settings_show_cwd(const struct settings *settings, struct text *text)
{
	if (settings->cwd.size)
		text_printf(text, "%s\n", settings->cwd.data);
}

/* tty */
void settings_show_tty(const struct settings *settings, struct text *text)
{
	if (settings->columns)
		text_printf(text, "%ux%u\n", settings->columns, settings->rows);
	else
		text_printf(text, "0\n");
}

/* timeout, written */
int settings_store_timeout(struct settings *settings, const char *data, size_t size)
{
	char line[32], *end;

	if (take_line(data, size, line, sizeof(line)) < 0 || !isdigit((unsigned char)line[0]))
		return -EINVAL;
	double seconds = strtod(line, &end);
	if (*end || strpbrk(line, "xXpP") || !(seconds * 1e3 <= TIMEOUT_MAX_MS))
		return -EINVAL;
	uint32_t ms = (uint32_t)(seconds * 1e3 + 0.5);
	/* A limit that is not zero stays one. */
	settings->timeout_ms = ms || seconds == 0 ? ms : 1;
	return 0;
}

/* cwd, written */
int settings_store_cwd(struct settings *settings, const char *data, size_t size)
{
	char line[SETTINGS_CWD_MAX + 1];
	int result = take_line(data, size, line, sizeof(line));

	if (result < 0)
		return result;
	text_consume(&settings->cwd, settings->cwd.size);
	text_append(&settings->cwd, line, strlen(line));
	return 0;
}

/* tty, written */
int settings_store_tty(struct settings *settings, const char *data, size_t size)
{
	char line[32];
	unsigned columns = 0, rows = 0;
	int end = 0;

	if (take_line(data, size, line, sizeof(line)) < 0)
		return -EINVAL;
	if (strcmp(line, "0") != 0) {
		if (sscanf(line, "%5ux%5u%n", &columns, &rows, &end) != 2 || line[end] ||
			!isdigit((unsigned char)line[0]) || columns == 0 || rows == 0 ||
			columns > TTY_MAX || rows > TTY_MAX)
			return -EINVAL;
	}
	settings->columns = (uint16_t)columns;
	settings->rows = (uint16_t)rows;
	return 0;
}

/* Whether a line of the environment is right; of an open one, a beginning suffices. */
static bool line_fits(const char *line, size_t size, bool open)
{
	size_t key = 0;

	while (key < size && (isalnum((unsigned char)line[key]) || line[key] == '_'))
		key++;
	if (size && isdigit((unsigned char)line[0]))
		return false;
	if (key == size)
		return open || size == 0;
	return key > 0 && line[key] == '=';
}

/* Whether all lines are right. */
static bool lines_fit(const char *data, size_t size)
{
	while (size) {
		const char *newline = memchr(data, '\n', size);
		size_t length = newline ? (size_t)(newline - data) : size;

		if (!line_fits(data, length, !newline))
			return false;
		size -= length + (newline != NULL);
		data += length + 1;
	}
	return true;
}

/* How long the lines are when the last one is ended. */
static size_t whole_size(const struct text *lines)
{
	return lines->size + (lines->size && lines->data[lines->size - 1] != '\n');
}

/* environment, written */
int settings_write_environment(struct settings *settings, const char *data, size_t size,
	uint64_t offset)
{
	struct text *old = &settings->environment, new = { 0 };

	if (offset > old->size || memchr(data, '\0', size))
		return -EINVAL;
	if (offset + size > SETTINGS_ENVIRONMENT_MAX)
		return -EFBIG;
	text_append(&new, old->data, offset);
	text_append(&new, data, size);
	if (offset + size < old->size)
		text_append(&new, old->data + offset + size, old->size - (offset + size));
	int result = !lines_fit(new.data, new.size) ? -EINVAL : whole_size(&new) >
		SETTINGS_ENVIRONMENT_MAX ? -EFBIG : 0;
	if (result < 0) {
		text_done(&new);
		return result;
	}
	text_done(old);
	*old = new;
	return 0;
}

/* Appends the environment's lines as the protocol wants them: whole, and none empty. */
static size_t frame_environment(const struct text *environment, struct text *payload)
{
	size_t before = payload->size;
	const char *line = environment->data;
	size_t rest = environment->size;

	while (rest) {
		const char *newline = memchr(line, '\n', rest);
		size_t length = newline ? (size_t)(newline - line) : rest;

		if (memchr(line, '=', length)) {
			text_append(payload, line, length);
			text_append(payload, "\n", 1);
		}
		rest -= length + (newline != NULL);
		line += length + 1;
	}
	return payload->size - before;
}

/* The frame. */
void settings_frame(const struct settings *settings, bool input, struct text *payload)
{
	size_t at = payload->size;
	struct frame_run_setup setup = { .timeout_ms = settings->timeout_ms,
		.columns = settings->columns,
		.rows = settings->rows,
		.flags = input ? RUN_INPUT : 0,
		.cwd_size = (uint32_t)settings->cwd.size };

	text_append(payload, &setup, sizeof(setup));
	setup.environment_size = (uint32_t)frame_environment(&settings->environment, payload);
	memcpy(payload->data + at, &setup, sizeof(setup));
	text_append(payload, settings->cwd.data, settings->cwd.size);
}

/* The number of a signal. */
int settings_signal(const char *name, size_t size)
{
	char line[16];
	const char *bare = line;

	if (take_line(name, size, line, sizeof(line)) < 0 || !line[0])
		return 0;
	if (isdigit((unsigned char)line[0])) {
		char *end;
		unsigned long number = strtoul(line, &end, 10);

		return !*end && number <= 31 ? (int)number : 0;
	}
	if (strncmp(bare, "SIG", 3) == 0)
		bare += 3;
	for (int number = 1; number <= 31; number++) {
		const char *abbreviation = sigabbrev_np(number);

		if (abbreviation && strcmp(abbreviation, bare) == 0)
			return number;
	}
	return 0;
}
