/* SPDX-License-Identifier: MIT */
/*
 * The connection under an SSH session, TCP or a program's, with a buffer each way. libssh2 gets its
 * bytes from wire_receive and leaves them with wire_send, which takes everything: so
 * libssh2 never stops in the middle of a packet, and operations of many channels may
 * be mixed freely (a half-sent packet would bind it to the one operation that sent it).
 * Who feeds libssh2 looks at wire_queued and stops when much waits.
 *
 * Loop's thread only; the events come from the loop.
 */
#ifndef SSH_WIRE_H
#define SSH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct wire;
struct uv_loop_s;

struct wire_events {
	/* The name was resolved; connecting begins. */
	void (*resolved)(void *data);
	/* Connected: wire_fd, wire_receive and wire_send work. */
	void (*connected)(void *data);
	/* There is something to receive. */
	void (*input)(void *data);
	/* The connection could not be made or has ended; nothing more comes. */
	void (*closed)(void *data, const char *reason);
};

struct wire_target {
	const char *host;
	uint16_t port;
	/* As in struct poolfs_address; must live as long as the wire. */
	const char *const *proxy;
	const char *const *proxy_environment;
};

/* Begins to resolve and connect; every address of the name is tried in turn. A wire through a proxy is
 * connected at once: neither `resolved` nor `connected` is called. 0, or a negative errno when the name
 * cannot be one or the proxy cannot be started. */
int wire_new(struct uv_loop_s *loop, const struct wire_target *target,
	const struct wire_events *events, void *data, struct wire **wire);
/* Closes; what was flushed before may still arrive. No event comes any more; the memory goes on a
 * later turn. NULL is allowed. */
void wire_free(struct wire *wire);

int wire_fd(const struct wire *wire);
/* Takes up to size bytes, but no more than wire_allow left. -EAGAIN: nothing there. -ECONNRESET:
 * the connection has ended and all was taken. */
ssize_t wire_receive(struct wire *wire, void *data, size_t size);
/* How many bytes wire_receive gives out until the next wire_allow. */
void wire_allow(struct wire *wire, size_t size);
/* Bytes that wait to be received. */
size_t wire_waiting(const struct wire *wire);
/* Keeps all of data for the next wire_flush. */
void wire_send(struct wire *wire, const void *data, size_t size);
/* Bytes that wait to be sent. */
size_t wire_queued(const struct wire *wire);
/* Sends what there is, and reads on where there is room again. */
void wire_flush(struct wire *wire);
/* The loop's time (uv_now) when bytes last arrived. */
uint64_t wire_heard(const struct wire *wire);

#endif
