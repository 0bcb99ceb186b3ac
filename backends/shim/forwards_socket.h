/* SPDX-License-Identifier: MIT */
/* The host's ends of forwards: sockets that listen and sockets that connect. */
#ifndef SHIM_FORWARDS_SOCKET_H
#define SHIM_FORWARDS_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "backends/protocol/protocol.h"
#include "backends/transport.h"

/* Longest text of an address, with its NUL. */
#define FORWARDS_ADDRESS (PROTOCOL_FORWARD_PATH_MAX + 1)

/*
 * A listening stream socket at a place of the host, not blocking. A unix socket is for its owner
 * alone, and must not be there. text (FORWARDS_ADDRESS bytes) gets its address. The descriptor, or a
 * negative errno.
 */
int forwards_socket_listen(const struct transport_place *place, char *text);
/* A stream socket that connects, or has connected, to a place of the host, not blocking. */
int forwards_socket_connect(const struct transport_place *place);
/* The text of an address of TCP. */
void forwards_socket_text(enum forward_family family, uint16_t port, char *text);

#endif
