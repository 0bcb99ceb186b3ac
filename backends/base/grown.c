/* SPDX-License-Identifier: MIT */
#include "backends/base/grown.h"

#include <errno.h>
#include <string.h>

/* Copies what both have. */
int grown_copy(void *to, size_t to_size, const void *from, size_t from_size)
{
	const unsigned char *bytes = from;

	if (from_size == 0 || from_size > GROWN_MAX)
		return -EINVAL;
	for (size_t i = to_size; i < from_size; i++)
		if (bytes[i] != 0)
			return -E2BIG;
	memset(to, 0, to_size);
	memcpy(to, from, from_size < to_size ? from_size : to_size);
	return 0;
}
