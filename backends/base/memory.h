/* SPDX-License-Identifier: MIT */
/*
 * Allocation for small objects of our own: never fails, abort(3) ends the
 * process when the machine has no memory left. What a guest or user sizes is
 * capped before it comes here.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* Zeroed memory for one object of size bytes; free() it. */
void *memory_new(size_t size) __attribute__((returns_nonnull, malloc));
/* realloc(3) that does not fail. */
void *memory_grow(void *old, size_t size) __attribute__((returns_nonnull));
/* A copy of text; NULL stays NULL. */
char *memory_string(const char *text);
/* asprintf(3) that does not fail; free() the result. */
char *memory_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The object that holds member at pointer (the field's container_of). */
#define container_of(pointer, type, member) \
	((type *)((char *)(pointer) - offsetof(type, member)))

#endif
