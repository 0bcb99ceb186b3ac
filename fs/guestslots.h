/* SPDX-License-Identifier: MIT */
/*
 * Which of an instance's slots (backends/protocol/slots.h) are lent to requests. A slot is free again when
 * its request is answered. One that was cancelled may be left without an answer: then the slot is
 * free when a request is answered that was sent after the cancellation, as the shim takes all in order.
 *
 * Loop's thread only.
 */
#ifndef FS_GUESTSLOTS_H
#define FS_GUESTSLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/protocol/slots.h"

/* Data of so many bytes are worth a slot: fewer go through the socket in one piece. */
#define GUEST_SLOT_LEAST 131072u

struct guest_slots {
	struct {
		uint64_t id;		/* of the request that has it; 0: it is free */
		uint64_t after;		/* not 0: an answer to this request, or to a later one, frees it too */
	} lent[SLOTS_COUNT];
	bool used;			/* there may be something in the memory */
	uint64_t cleared;		/* ns: when it was emptied last */
};

/* Lends one to the request. Its number, or 0: all are lent. */
uint32_t guest_slots_lend(struct guest_slots *slots, uint64_t id);
/* The request is answered. */
void guest_slots_answered(struct guest_slots *slots, uint64_t id);
/* Requests before `next` may stay without an answer: that one, or with id 0 all. */
void guest_slots_cancelled(struct guest_slots *slots, uint64_t id, uint64_t next);
/* A good moment to give memory back that nobody uses, if that was not done within GUEST_SLOTS_KEPT: new pages
 * cost more than the copy that they save. memory: what slots_map gave; now: in nanoseconds. */
#define GUEST_SLOTS_KEPT 1000000000u
void guest_slots_rest(struct guest_slots *slots, char *memory, uint64_t now);

#endif
