/* SPDX-License-Identifier: MIT */
/*
 * The daemon's end of one instance's shim: its directory, its process, its connection
 * (protocol.h). The shim is not trusted: what breaks the protocol's rules ends it. Loop's
 * thread only.
 */
#ifndef FS_SHIM_H
#define FS_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include "backends/protocol/protocol.h"

struct instance;
struct mount;
struct shim;

/* Where FRAME_HELLO .. FRAME_FILE_REPLY go; see instance.h. Below 0: the frame broke a rule. */
struct shim_events {
	int (*frame)(struct instance *instance, const struct frame_header *header,
		const void *payload);
	/* The process ended, or had to be killed, without shim_stop. reason is for people. */
	void (*died)(struct instance *instance, const char *reason);
	/* The process and the directory are gone; the shim is freed when this returns. After shim_stop
	 * only. */
	void (*gone)(struct instance *instance);
};

/*
 * Begins to start the process, in a worker, which first makes the instance's directory with instance.json
 * and the listening socket: that takes the disk's time. A failure there comes as `died`; instance->directory
 * becomes a descriptor of the directory where there is one, and the instance closes it. Frames can be sent at
 * once. 0, or a negative errno: there are no descriptors, or a value is no UTF-8.
 */
int shim_new(struct mount *mount, struct instance *instance, const struct shim_events *events,
	struct shim **shim);

/* Sends a frame; silently nothing when the shim is not there any more (died was or will be called). */
void shim_send(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size);

/* The same for a payload in parts; how many bytes wait for the shim to read them. */
struct iovec;
void shim_send_parts(struct shim *shim, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count);
size_t shim_queued(const struct shim *shim);
/* The same for what nobody waits for: it goes with the next frame, or a moment later (frame.h). */
void shim_send_late(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size);

/* The memory shared with the process (slots.h), which lives as long as the shim; NULL: there is none, or not yet. */
char *shim_slots(const struct shim *shim);

/* A run is about to be sent that has to wait until shim_settled tells of a number above this one: frames of runs, from
 * now on, are kept in order until then. */
void shim_hold(struct shim *shim, uint64_t number);
void shim_settled(struct shim *shim, uint64_t oldest);

/* Ends the machine and the process, killing it after a while, and removes the directory; gone
 * follows. */
void shim_stop(struct shim *shim);

#endif
