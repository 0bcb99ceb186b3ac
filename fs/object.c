/* SPDX-License-Identifier: MIT */
#include "fs/object.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "backends/base/memory.h"

struct slot {
	struct object *object;	/* NULL: free */
	uint32_t generation;
	uint32_t next_free;	/* of a free slot; 0 ends the list */
};

/* One table for the program: node ids are of one mount, and a process serves one. */
static struct slot *slots;
static uint32_t slot_count, slot_capacity, first_free;

/* Finds a free slot, or makes one. */
static int slot_take(void)
{
	if (first_free) {
		uint32_t slot = first_free;

		first_free = slots[slot].next_free;
		return (int)slot;
	}
	if (slot_count == OBJECT_SLOTS)
		return -ENFILE;
	if (slot_count == slot_capacity) {
		slot_capacity = slot_capacity ? slot_capacity * 2 : 64;
		slots = memory_grow(slots, slot_capacity * sizeof(*slots));
	}
	slots[slot_count] = (struct slot){ 0 };
	return (int)slot_count++;
}

/* Ends the node ids. Slot 0 stays the mount's for ever, so that 0 can end the free list. */
static void slot_free(uint32_t number)
{
	struct slot *slot = &slots[number];

	slot->object = NULL;
	slot->generation++;
	if (number) {
		slot->next_free = first_free;
		first_free = number;
	}
}

/* Enters an object. */
int object_init(struct object *object, enum object_type type, void (*free)(struct object *))
{
	int slot = slot_take();

	if (slot < 0)
		return slot;
	slots[slot].object = object;
	*object = (struct object){ .type = type,
		.slot = (uint32_t)slot,
		.generation = slots[slot].generation,
		.refs = 1,
		.free = free };
	return 0;
}

/* One more reference. */
struct object *object_ref(struct object *object)
{
	object->refs++;
	return object;
}

/* One reference less. */
void object_unref(struct object *object)
{
	assert(object->refs > 0);
	if (--object->refs > 0)
		return;
	slot_free(object->slot);
	object->free(object);
}

/* Marks it. */
void object_remove(struct object *object)
{
	object->dead = true;
}

/* Packs a node id. */
uint64_t object_node(const struct object *object, unsigned file)
{
	return (uint64_t)object->generation << 32 | (uint64_t)object->slot << 8 | file;
}

/* Unpacks a node id. */
struct object *object_find_open(uint64_t node, unsigned *file)
{
	uint32_t slot = (uint32_t)(node >> 8) & (OBJECT_SLOTS - 1);

	if (slot >= slot_count || slots[slot].generation != node >> 32)
		return NULL;
	*file = node & 0xff;
	return slots[slot].object;
}

/* The same of the living. */
struct object *object_find(uint64_t node, unsigned *file)
{
	struct object *object = object_find_open(node, file);

	return object && !object->dead ? object : NULL;
}

/* Frees the table. */
void object_table_free(void)
{
	free(slots);
	slots = NULL;
	slot_count = slot_capacity = first_free = 0;
}
