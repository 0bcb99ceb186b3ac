/* SPDX-License-Identifier: MIT */
#include "backends/crash/prefilter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"

/* The number of the pair of bytes that ends at `at`. */
static inline unsigned pair(const char *at)
{
	return ((unsigned)(unsigned char)at[-1] << 4 ^ (unsigned char)at[0]) % PREFILTER_HASHES;
}

/* Enters one text. */
static void add(struct prefilter *filter, size_t index)
{
	const char *text = filter->texts[index];
	size_t last = filter->window - 1;

	for (size_t i = 1; i <= last; i++)
		if (filter->shift[pair(text + i)] > last - i)
			filter->shift[pair(text + i)] = (uint8_t)(last - i);
	filter->next[index] = filter->first[pair(text + last)];
	filter->first[pair(text + last)] = (uint16_t)(index + 1);
}

/* Prepares. */
void prefilter_init(struct prefilter *filter, const char *const *texts, const size_t *sizes,
	size_t count)
{
	assert(count <= PREFILTER_TEXTS_MAX);
	*filter = (struct prefilter){ .window = UINT8_MAX, .texts = texts, .sizes = sizes,
		.count = count };
	for (size_t i = 0; i < count; i++)
		if (sizes[i] < filter->window)
			filter->window = sizes[i];
	assert(filter->window >= PREFILTER_TEXT_MIN);
	memset(filter->shift, (int)filter->window - 1, sizeof(filter->shift));
	filter->next = memory_new((count + 1) * sizeof(*filter->next));
	for (size_t i = 0; i < count; i++)
		add(filter, i);
}

/* Frees. */
void prefilter_done(struct prefilter *filter)
{
	free(filter->next);
	filter->next = NULL;
}

/* The next place, from `at` on, where the window of a text may end; NULL: there is none. */
static inline const char *candidate(const struct prefilter *filter, const char *at,
	const char *end)
{
	while (at < end) {
		size_t shift = filter->shift[pair(at)];

		if (shift == 0)
			return at;
		at += shift;
	}
	return NULL;
}

/* Whether a text begins at `at`. */
static inline int is_at(const struct prefilter *filter, size_t index, const char *at,
	const char *end)
{
	return (size_t)(end - at) >= filter->sizes[index] &&
		memcmp(at, filter->texts[index], filter->sizes[index]) == 0;
}

/* Finds the first. */
const char *prefilter_find(const struct prefilter *filter, const char *from, const char *end)
{
	size_t last = filter->window - 1;
	const char *at = (size_t)(end - from) > last ? from + last : end;

	while ((at = candidate(filter, at, end))) {
		for (unsigned i = filter->first[pair(at)]; i; i = filter->next[i - 1])
			if (is_at(filter, i - 1, at - last, end))
				return at - last;
		at++;
	}
	return NULL;
}

/* Marks all. */
unsigned prefilter_mark(const struct prefilter *filter, const char *from, const char *end,
	struct prefilter_hits *hits)
{
	size_t last = filter->window - 1;
	const char *at = (size_t)(end - from) > last ? from + last : end;
	unsigned count = 0;

	while ((at = candidate(filter, at, end))) {
		for (unsigned i = filter->first[pair(at)]; i; i = filter->next[i - 1]) {
			if (!is_at(filter, i - 1, at - last, end))
				continue;
			hits->bits[(i - 1) / 64] |= UINT64_C(1) << (i - 1) % 64;
			count++;
		}
		at++;
	}
	return count;
}
