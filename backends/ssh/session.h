/* SPDX-License-Identifier: MIT */
/*
 * What all parts of one connection share: libssh2's session, the wire below it, and
 * how it ends. A part that finds the connection broken calls session_lose; the
 * transport ends everything on its next turn, so that no part is pulled away from
 * under its own feet.
 */
#ifndef SSH_SESSION_H
#define SSH_SESSION_H

#include <libssh2.h>
#include <stdbool.h>

#include "backends/ssh/wire.h"

struct session {
	LIBSSH2_SESSION *ssh;	/* NULL before the handshake */
	struct wire *wire;	/* NULL while there is no connection */
	int fd;			/* of the wire, as libssh2 knows it */
	bool lost;		/* to be ended: reason says why */
	bool fatal;		/* trying again cannot help */
	bool unclear;		/* answers to global requests may be in libssh2 that nobody takes: the
				   next one to ask would have the wrong one */
	bool muted;		/* the transport was freed: no callbacks to its user any more */
	size_t memory;		/* bytes that libssh2 has allocated for it, LIMIT_MEMORY at most */
	int error;		/* what file requests end with: a negative errno */
	char reason[1536];
	char ended[512];	/* why the wire ended; "" while it has not */
	void (*wake)(void *data);
	void (*log)(void *data, const char *message);
	void (*status)(void *data, const char *key, const char *value);
	void *data;
};

/* Asks for a turn of the transport. */
void session_wake(struct session *session);
/* Sets a line of the instance's `status` to a number. */
void session_count(struct session *session, const char *key, uint64_t number);
/* Writes a message into the instance's log. */
void session_log(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Gives the connection up; the first reason counts. */
void session_lose(struct session *session, bool fatal, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Makes libssh2's session over the connected wire. 0 or a negative errno. */
int session_begin(struct session *session);
/* Sets the order of methods of one kind (LIBSSH2_METHOD_...); names are separated by commas. */
void session_prefer(struct session *session, int method, const char *names);
/* Frees libssh2's session, with all channels, and the wire. */
void session_end(struct session *session);
/* libssh2's words for its last error. */
const char *session_error(struct session *session);
/*
 * Sorts a result of libssh2: 0 or more is passed on; -EAGAIN; -EIO for what concerns one
 * channel only; -ECONNRESET when the connection is broken, which was then given up here.
 */
int session_result(struct session *session, long result);

#endif
