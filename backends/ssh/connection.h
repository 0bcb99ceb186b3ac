/* SPDX-License-Identifier: MIT */
/*
 * One connection to the machine and what every connection has: the wire, libssh2's session, the
 * login, the channels and the commands on them. The transport has one, to which the control
 * shell and files belong too; lanes.h has further ones.
 *
 * A connection that is to end says so by session.lost; its owner then calls connection_end.
 */
#ifndef SSH_CONNECTION_H
#define SSH_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/ssh/channels.h"
#include "backends/ssh/exec.h"
#include "backends/ssh/login.h"
#include "backends/ssh/session.h"

struct uv_loop_s;

struct connection {
	struct uv_loop_s *loop;
	struct session session;
	struct login login;	/* its hostkey also names the machine */
	struct channels channels;
	struct exec exec;
	const char *const *proxy; /* as in struct poolfs_address, as the next */
	const char *const *proxy_environment;
	uint64_t asked;		/* uv_now when a sign of life was last sent for */
};

/* Gives all parts their connection. What else session, login and exec need is set by the owner,
 * before connection_begin. */
void connection_init(struct connection *connection, struct uv_loop_s *loop);
/* Begins to connect to the machine that login.hostkey names. */
void connection_begin(struct connection *connection);
/* Sets all parts' clocks; first on every turn. */
void connection_set_clocks(struct connection *connection);
/* Moves the login on. True when it was completed by this call. */
bool connection_login(struct connection *connection);
/* Takes a portion of what was received, for all channels. */
void connection_take(struct connection *connection);
/* Calls once(data), which begins with connection_take, until nothing moves any more. */
void connection_serve(struct connection *connection, bool (*once)(void *data), void *data);
/* Last on every turn: sends, and notes the end of the wire. */
void connection_flush(struct connection *connection);
/* Ends it; the owner has ended its commands before (exec_lose, exec_return). */
void connection_end(struct connection *connection);

#endif
