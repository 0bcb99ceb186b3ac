/* SPDX-License-Identifier: MIT */
/*
 * The check of a machine's host key: against a known_hosts file for machines that
 * existed before, else against the key of the first connection that logged in.
 */
#ifndef SSH_HOSTKEY_H
#define SSH_HOSTKEY_H

#include <stdint.h>

#include "backends/base/text.h"
#include "backends/ssh/session.h"

struct hostkey {
	const char *host;		/* owned by the address, as the next two */
	uint16_t port;
	const char *known_hosts;	/* NULL: pin */
	bool accept_new;		/* the key of a host that the file does not have is added to it */
	struct text pinned;		/* the key that is pinned; empty: none yet */
};

/* Before the handshake: prefers the types of key that are known for the host, so that the server
 * shows one that can be checked. Reads the file. 0, or a negative errno after session_lose. */
int hostkey_prepare(struct hostkey *hostkey, struct session *session);
/* After the handshake: 0, or -EACCES after session_lose. */
int hostkey_check(struct hostkey *hostkey, struct session *session);
/* After the login: pins the key where that is the rule. */
void hostkey_pin(struct hostkey *hostkey, struct session *session);

#endif
