/* SPDX-License-Identifier: MIT */
#include "fs/guestslots.h"

/* The first that is free: its pages were used last. */
uint32_t guest_slots_lend(struct guest_slots *slots, uint64_t id)
{
	for (uint32_t i = 0; i < SLOTS_COUNT; i++) {
		if (slots->lent[i].id)
			continue;
		slots->lent[i].id = id;
		slots->lent[i].after = 0;
		slots->used = true;
		return i + 1;
	}
	return 0;
}

/* Takes back what the answer frees. */
void guest_slots_answered(struct guest_slots *slots, uint64_t id)
{
	for (uint32_t i = 0; i < SLOTS_COUNT; i++)
		if (slots->lent[i].id == id || (slots->lent[i].after && slots->lent[i].after <= id))
			slots->lent[i].id = slots->lent[i].after = 0;
}

/* Notes when it is free at the latest. */
void guest_slots_cancelled(struct guest_slots *slots, uint64_t id, uint64_t next)
{
	for (uint32_t i = 0; i < SLOTS_COUNT; i++)
		if (slots->lent[i].id && (!id || slots->lent[i].id == id) && !slots->lent[i].after)
			slots->lent[i].after = next;
}

/* Empties the memory when nobody has any of it. */
void guest_slots_rest(struct guest_slots *slots, char *memory, uint64_t now)
{
	if (!slots->used || !memory || now - slots->cleared < GUEST_SLOTS_KEPT)
		return;
	for (uint32_t i = 0; i < SLOTS_COUNT; i++)
		if (slots->lent[i].id)
			return;
	slots_clear(memory);
	slots->used = false;
	slots->cleared = now;
}
