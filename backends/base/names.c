/* SPDX-License-Identifier: MIT */
#include "backends/base/names.h"

#include <stdlib.h>

#include "backends/base/memory.h"

#define SIZE_FIRST 64u

/* FNV-1a, never 0. */
static uint64_t number(const char *name, size_t size)
{
	uint64_t result = 14695981039346656037u;

	for (size_t i = 0; i < size; i++)
		result = (result ^ (unsigned char)name[i]) * 1099511628211u;
	return result ? result : 1;
}

/* The slot that holds the number, or is free for it. There is always a free one. */
static uint64_t *slot(const struct names *names, uint64_t number)
{
	size_t at = number & (names->size - 1);

	while (names->slots[at] && names->slots[at] != number)
		at = (at + 1) & (names->size - 1);
	return &names->slots[at];
}

/* Twice as many slots. */
static void grow(struct names *names)
{
	struct names larger = { .size = names->size ? 2 * names->size : SIZE_FIRST,
		.count = names->count };

	larger.slots = memory_new(larger.size * sizeof(*larger.slots));
	for (size_t i = 0; i < names->size; i++)
		if (names->slots[i])
			*slot(&larger, names->slots[i]) = names->slots[i];
	free(names->slots);
	*names = larger;
}

/* Adds. */
bool names_add(struct names *names, size_t *total, const char *name, size_t size)
{
	uint64_t wanted = number(name, size);

	if (2 * names->count >= names->size && *total < NAMES_MAX)
		grow(names);
	if (!names->size)
		return true;
	uint64_t *found = slot(names, wanted);
	if (*found)
		return false;
	if (*total >= NAMES_MAX)
		return true;
	*found = wanted;
	names->count++;
	++*total;
	return true;
}

/* Frees. */
void names_done(struct names *names, size_t *total)
{
	free(names->slots);
	*total -= names->count;
	*names = (struct names){ 0 };
}
