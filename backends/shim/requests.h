/* SPDX-License-Identifier: MIT */
/*
 * File requests on their way from the daemon to the transport and back. Handles that a
 * daemon left open when it went are closed for it.
 */
#ifndef SHIM_REQUESTS_H
#define SHIM_REQUESTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/protocol/files.h"

/* Outstanding requests; one more gets -EAGAIN. */
#define REQUESTS_MAX 4096u
/* With so many bytes of requests and answers under way, no frame of the daemon is read. */
#define REQUESTS_BYTES_MAX (32u * 1048576u)
/* Open handles; one more gets -EMFILE. */
#define REQUESTS_HANDLES_MAX 65536u

struct request;
struct shim;

TAILQ_HEAD(request_queue, request);

struct requests {
	struct request_queue all;
	unsigned count;
	size_t bytes;
	uint64_t key;			/* the last one that the transport was given */
	uint64_t *handles;		/* open ones */
	size_t handle_count, handle_room;
	char strings[2 * (FILES_PATH_MAX + 1)];
};

void requests_init(struct shim *shim);
/* The frames FRAME_FILE, FRAME_FILE_SLOT and FRAME_CANCEL. */
int requests_add(struct shim *shim, uint64_t id, const void *payload, size_t size);
int requests_add_slot(struct shim *shim, uint64_t id, const void *payload, size_t size);
int requests_cancel(struct shim *shim, uint64_t id, const void *payload, size_t size);
/* The daemon is gone: its requests and handles are of no use. */
void requests_drop(struct shim *shim);
/* The connection to the machine is gone, and all handles with it; what waits is answered by the
 * transport. */
void requests_disconnected(struct shim *shim);
/* The transport was freed: what waits is answered here. */
void requests_cut(struct shim *shim);

#endif
