/* SPDX-License-Identifier: MIT */
/*
 * Waits until a server in the guest answers behind a forwarded port. QEMU's user network
 * accepts each connection on the host at once and asks the guest afterwards; while the guest's
 * network is down it repeats that ever more seldom, first after several seconds. A connection
 * that began too early so makes a boot up to twice as long. We knock with new ones instead.
 */
#ifndef QEMU_KNOCK_H
#define QEMU_KNOCK_H

#include <stdint.h>

struct knock;
struct uv_loop_s;

/* Connects to 127.0.0.1:port again and again until a byte comes back (an SSH server speaks first);
 * then calls answered, once, from the loop. */
void knock_start(struct uv_loop_s *loop, uint16_t port, void (*answered)(void *data), void *data,
	struct knock **knock);

/* Ends it; no callback from now on. The memory goes on a later turn of the loop. NULL is fine. */
void knock_free(struct knock *knock);

#endif
