/* SPDX-License-Identifier: MIT */
/*
 * Structs that grow at their end and tell their size, between two sides of which one may be older:
 * what the shorter one lacks is zero, as with Linux's copy_struct_from_user. No I/O; any thread.
 */
#ifndef BASE_GROWN_H
#define BASE_GROWN_H

#include <stddef.h>

/* No struct is longer; a size beyond it is none. */
#define GROWN_MAX 4096u

/* Copies a struct of from_size bytes into ours: cut, or filled with zeros. 0; -E2BIG: what is cut off is
 * not zero, so that it means something that is not known here; -EINVAL: from_size is no size. */
int grown_copy(void *to, size_t to_size, const void *from, size_t from_size);

#endif
