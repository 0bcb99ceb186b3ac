/* SPDX-License-Identifier: MIT */
/*
 * A unix socket on which we listen and to which an emulator connects, once: its
 * console, or its monitor. We listen first, so that nothing it writes is lost. The
 * name leaves the directory as soon as the connection is there. Loop's thread only.
 */
#ifndef QEMU_PEER_H
#define QEMU_PEER_H

#include <stdbool.h>
#include <stddef.h>

#include "backends/backend.h"

struct peer;
struct uv_loop_s;

struct peer_events {
	void (*connected)(void *data);	/* may be NULL */
	void (*bytes)(void *data, const void *bytes, size_t size);
	/* It closed its end (code 0) or the socket failed (negative errno); once. */
	void (*closed)(void *data, int code);
};

/* What may wait to be written, in bytes. */
#define PEER_WAITING_MAX 65536

/* Listens at path, which is relative to the current directory or short (108 bytes). An old socket
 * of that name is replaced. */
int peer_listen(struct uv_loop_s *loop, const char *path, const struct peer_events *events,
	void *data, struct peer **peer, struct poolfs_err *err);

/* Writes as much as PEER_WAITING_MAX allows and returns how much that was: 0 while nobody is
 * connected; a negative errno once it is gone. */
int peer_write(struct peer *peer, const void *bytes, size_t size);

/* Delivers what has already arrived, now: for when the other process has ended. `closed` does not
 * come from it. */
void peer_drain(struct peer *peer);

/* No callback from now on. The memory goes on a later turn of the loop. NULL is fine. */
void peer_free(struct peer *peer);

#endif
