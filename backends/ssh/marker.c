/* SPDX-License-Identifier: MIT */
/*
 * No proper end of "poolfs-run-TOKEN NUMBER" is also a beginning of it, as its first letter
 * occurs nowhere else in it: so after a mismatch the search goes on at the byte that did not
 * fit, and all that was held back passes.
 */
#include "backends/ssh/marker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NAME_SIZE  (sizeof(MARKER_NAME) - 1)
#define FIXED_SIZE (NAME_SIZE + MARKER_TOKEN + 1)

/* Starts with a token that was never used. */
void marker_init(struct marker *marker)
{
	unsigned char random[MARKER_TOKEN / 2];

	*marker = (struct marker){ .done = false };
	if (getentropy(random, sizeof(random)))
		abort();
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(marker->token + 2 * i, 3, "%02x", random[i]);
}

/* The token's first digits. */
uint64_t marker_number(const char *token)
{
	char digits[16];
	uint64_t number;

	snprintf(digits, sizeof(digits), "%.15s", token);
	number = strtoull(digits, NULL, 16);
	return number ? number : 1;
}

/* The byte that has to stand at a fixed place of the line. */
static char expected(const struct marker *marker, size_t at)
{
	if (at < NAME_SIZE)
		return MARKER_NAME[at];
	return at < NAME_SIZE + MARKER_TOKEN ? marker->token[at - NAME_SIZE] : ' ';
}

/* Whether the line can go on with this byte. */
static bool fits(const struct marker *marker, char byte)
{
	size_t size = marker->size, digits = size - FIXED_SIZE;

	if (size < FIXED_SIZE)
		return byte == expected(marker, size);
	if (marker->held[size - 1] == '\r')
		return byte == '\n';
	if (byte >= '0' && byte <= '9')
		return digits < MARKER_DIGITS;
	return digits > 0 && (byte == '\r' || byte == '\n');
}

/* Keeps a byte that fits. */
static void hold(struct marker *marker, char byte)
{
	marker->held[marker->size++] = byte;
	if (byte != '\n')
		return;
	marker->pid = (uint32_t)strtoul(marker->held + FIXED_SIZE, NULL, 10);
	marker->size = 0;
	marker->done = true;
}

/* Passes what was held back. */
void marker_end(struct marker *marker, marker_pass *pass, void *data)
{
	size_t size = marker->size;

	marker->size = 0;
	if (size)
		pass(data, marker->held, size);
}

/* Looks for the line. */
void marker_feed(
	struct marker *marker, const char *bytes, size_t size, marker_pass *pass, void *data)
{
	const char *end = bytes + size;

	while (bytes < end && !marker->done) {
		if (!marker->size) {
			const char *found = memchr(bytes, MARKER_NAME[0], (size_t)(end - bytes));
			const char *stop = found ? found : end;

			if (stop > bytes)
				pass(data, bytes, (size_t)(stop - bytes));
			bytes = stop;
			if (!found)
				return;
		}
		if (fits(marker, *bytes))
			hold(marker, *bytes++);
		else
			marker_end(marker, pass, data);
	}
	if (bytes < end)
		pass(data, bytes, (size_t)(end - bytes));
}
