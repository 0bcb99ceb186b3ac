/* SPDX-License-Identifier: MIT */
/*
 * The directories forward/ and expose/ of an instance: a file for each forward. Making the file asks
 * the shim for the forward, reading it waits until that works, removing it ends it. Each directory
 * and each file is an object of its own, which open files keep when the instance is gone.
 * Loop's thread only.
 */
#ifndef FS_FORWARD_H
#define FS_FORWARD_H

#include <stddef.h>
#include <stdint.h>

#include "backends/protocol/protocol.h"
#include "fs/control.h"

struct instance;
struct forward_set;

/* Tables of the two types of objects. */
extern const struct directory forward_set_directory;
extern const struct directory forward_directory;

/* A directory of an instance. 0, or -ENFILE. */
int forward_set_new(struct instance *instance, enum forward_direction direction,
	struct forward_set **set);
/* The instance goes: removes the directory and what is in it. NULL is allowed. */
void forward_set_remove(struct forward_set *set);
struct object *forward_set_object(struct forward_set *set);

/* FRAME_FORWARD_STATE: false when it breaks the protocol. */
bool forward_set_told(struct forward_set *set, uint64_t id,
	const struct frame_forward_state *notice, const char *text, size_t size);
/* The machine is gone, and its forwards for good. */
void forward_set_lose(struct forward_set *set);
/* set may be NULL. Lines "forward/8080 active 127.0.0.1:39211" for `status`, and those of failed ones for `error`. */
void forward_set_status(const struct forward_set *set, struct text *text);
void forward_set_errors(const struct forward_set *set, struct text *text);

#endif
