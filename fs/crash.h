/* SPDX-License-Identifier: MIT */
/*
 * The reports of an instance's crashes: crashes/1, crashes/2, ..., each an object with one file,
 * whose bytes are in a spool that the shim wrote (protocol.h, FRAME_CRASH). Loop's thread only.
 */
#ifndef FS_CRASH_H
#define FS_CRASH_H

#include <stddef.h>
#include <stdint.h>

#include "fs/object.h"

struct crash_set;
struct instance;

extern const struct directory crash_set_directory;
extern const struct directory crash_directory;

/* The directory crashes/ of an instance. 0 or -ENFILE. */
int crash_set_new(struct instance *instance, struct crash_set **set);
/* The instance closes: what is open is read on. set may be NULL. */
void crash_set_remove(struct crash_set *set);
struct object *crash_set_object(struct crash_set *set);

/* FRAME_CRASH. 0 or -EPROTO. */
int crash_told(struct instance *instance, uint64_t number, const void *payload, size_t size);

#endif
