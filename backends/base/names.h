/* SPDX-License-Identifier: MIT */
/*
 * The names that a listing brought, to find those that come again: a directory has each name
 * once. Kept are numbers made of the names, of NAMES_MAX names of all listings together at most;
 * beyond that every name counts as new.
 */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_MAX 131072u

struct names {
	uint64_t *slots;	/* 0: empty */
	size_t size;		/* a power of two, or 0 */
	size_t count;
};

/* Adds a name; *total counts those of all listings. false: it was there. */
bool names_add(struct names *names, size_t *total, const char *name, size_t size);
void names_done(struct names *names, size_t *total);

#endif
