/* SPDX-License-Identifier: MIT */
/*
 * Memory that the daemon and a shim share, for what is read and written in bulk: it does not go through
 * their socket then, which copies it twice and wakes each end many times. It consists of SLOTS_COUNT pieces,
 * numbered from 1 on. The daemon lends one to a request (FRAME_FILE_SLOT in protocol.h) until that is
 * answered; what it writes it puts there before, what it reads it finds there afterwards.
 *
 * The memory is a file without a name (memfd_create(2)) whose size is sealed, so that neither end can
 * take pages from under the other. The daemon does not rely on anything in it.
 */
#ifndef PROTOCOL_SLOTS_H
#define PROTOCOL_SLOTS_H

#include <stdint.h>

#include "backends/protocol/files.h"

#define SLOTS_COUNT 8u
#define SLOTS_SIZE  ((size_t)SLOTS_COUNT * FILES_DATA_MAX)

/* A new one: its descriptor, to be closed on exec, or a negative errno. Any thread. */
int slots_make(void);
/* Maps what slots_make made: SLOTS_SIZE bytes, which cost nothing until they are used. 0 (then slots_unmap
 * ends it), -ENXIO when the descriptor is something else, or another negative errno. Any thread. */
int slots_map(int fd, char **memory);
/* NULL is allowed. */
void slots_unmap(char *memory);
/* Forgets what is in it, and gives its pages back. No slot may be lent. */
void slots_clear(char *memory);

/* Slot number 1 to SLOTS_COUNT: FILES_DATA_MAX bytes, aligned to a page. */
static inline char *slots_at(char *memory, uint32_t number)
{
	return memory + (size_t)(number - 1) * FILES_DATA_MAX;
}

#endif
