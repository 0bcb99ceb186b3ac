/* SPDX-License-Identifier: MIT */
/* Stream sockets at the places where forwards listen and that they reach, on loopback or a path. */
#ifndef PROTOCOL_SOCKETS_H
#define PROTOCOL_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/protocol/protocol.h"

/* Longest text of an address, with its NUL. */
#define SOCKETS_ADDRESS (PROTOCOL_FORWARD_PATH_MAX + 1)

struct sockets_place {
	enum forward_family family;
	uint16_t port;		/* of TCP; 0 to listen at any */
	const char *path;	/* of FORWARD_UNIX, absolute, PROTOCOL_FORWARD_PATH_MAX bytes at most */
};

/*
 * A listening stream socket at a place, not blocking. A unix socket has the mode that the umask
 * leaves, and must not be there. text (SOCKETS_ADDRESS bytes) gets its address. The descriptor, or a
 * negative errno.
 */
int sockets_listen(const struct sockets_place *place, char *text);
/* A stream socket that connects, or has connected, to a place, not blocking; or a negative errno. */
int sockets_connect(const struct sockets_place *place);
/* Whether fd is a stream socket of this family. */
bool sockets_is_stream(int fd, enum forward_family family);
/* The port of TCP that a socket has; 0: none. */
uint16_t sockets_port(int fd);
/* The text of an address of TCP. */
void sockets_text(enum forward_family family, uint16_t port, char *text);
/* From now on a close of the socket gives its peer a reset, as far as its family has that. */
void sockets_linger(int fd);
/* Closes a socket so that its peer gets a reset. */
void sockets_reset(int fd);

#endif
