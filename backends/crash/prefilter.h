/* SPDX-License-Identifier: MIT */
/*
 * Finds fixed texts, many at a time, faster than each byte is looked at (S. Wu, U. Manber, "A
 * fast algorithm for multi-pattern searching", 1994): pairs of bytes tell how far the next
 * place where any text may end is away. No I/O; any thread.
 */
#ifndef CRASH_PREFILTER_H
#define CRASH_PREFILTER_H

#include <stddef.h>
#include <stdint.h>

#define PREFILTER_HASHES 4096
#define PREFILTER_TEXTS_MAX 1024
#define PREFILTER_TEXT_MIN 4	/* bytes */

struct prefilter {
	size_t window;			/* so many first bytes of each text are used */
	uint8_t shift[PREFILTER_HASHES];
	uint16_t first[PREFILTER_HASHES]; /* 1 + a text whose window ends in that pair; 0: none */
	uint16_t *next;			/* for each text: 1 + another one of the same pair */
	const char *const *texts;
	const size_t *sizes;
	size_t count;
};

/* One bit for each text. */
struct prefilter_hits {
	uint64_t bits[PREFILTER_TEXTS_MAX / 64];
};

/* Prepares; texts and sizes (PREFILTER_TEXT_MIN or more each) must outlive it. count is at most
 * PREFILTER_TEXTS_MAX. */
void prefilter_init(struct prefilter *filter, const char *const *texts, const size_t *sizes,
	size_t count);
void prefilter_done(struct prefilter *filter);

/* Where the first of the texts begins in from..end; NULL: none does. */
const char *prefilter_find(const struct prefilter *filter, const char *from, const char *end);
/* Marks every text that is in from..end. Returns how many bits it set, or set again. */
unsigned prefilter_mark(const struct prefilter *filter, const char *from, const char *end,
	struct prefilter_hits *hits);

#endif
