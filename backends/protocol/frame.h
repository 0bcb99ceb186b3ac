/* SPDX-License-Identifier: MIT */
/*
 * Frames over a unix socket, on a libuv loop: used by both ends of protocol.h.
 * One `struct frame_link` is one connection. Loop's thread only. The process ignores SIGPIPE.
 */
#ifndef PROTOCOL_FRAME_H
#define PROTOCOL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "backends/protocol/protocol.h"

struct frame_link;
struct uv_loop_s;

struct frame_link_events {
	/* One whole frame. payload is aligned to 8, header->size bytes, valid during the call.
	 * Below 0: the peer broke the protocol; the link closes and `closed` follows. */
	int (*frame)(void *data, const struct frame_header *header, const void *payload);
	/* The connection ended (0: the peer closed it; negative errno: an error, a malformed frame,
	 * or a peer that does not read what we send). Not called after frame_link_free. */
	void (*closed)(void *data, int reason);
};

/* Takes over the connected socket fd (made non-blocking and close-on-exec here). */
struct frame_link *frame_link_new(struct uv_loop_s *loop, int fd,
	const struct frame_link_events *events, void *data);

/* Closes; no event comes any more. The memory goes on a later turn of the loop. May be called from
 * within an event. NULL is allowed. */
void frame_link_free(struct frame_link *link);

/*
 * Sends a frame whose payload is the parts joined (copied before the return where the socket does not
 * take them at once), 8 parts at most. 0; -EMSGSIZE when it is longer than PROTOCOL_PAYLOAD_MAX;
 * -EPIPE after the end; -ENOBUFS when more than FRAME_QUEUE_MAX bytes wait already (the peer does
 * not read: `closed` follows).
 */
#define FRAME_QUEUE_MAX (64u * 1048576u)
int frame_link_send(struct frame_link *link, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count);

/* The same for a frame that nobody waits for. Where others followed such frames soon, it goes with the next one,
 * or after FRAME_LATE_MS, so that neither end wakes up for it alone. Order is kept. (Longer than the kernel's tick,
 * of 4 ms mostly: an alarm that comes before it is set in the hardware each time, which costs as much as is saved.) */
#define FRAME_LATE_MS 5u
int frame_link_send_late(struct frame_link *link, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count);

/* Delivers no more frames, and goes on: so the peer has to wait. The end of the connection is not
 * noticed meanwhile. May be called from within an event. */
void frame_link_pause(struct frame_link *link, bool pause);

/* Bytes that wait to be sent. */
size_t frame_link_queued(const struct frame_link *link);

#endif
