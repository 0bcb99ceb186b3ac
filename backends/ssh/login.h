/* SPDX-License-Identifier: MIT */
/*
 * The steps from a name to a login: resolve, connect, key exchange, host key,
 * authentication. Each has a time limit (bounds.h).
 */
#ifndef SSH_LOGIN_H
#define SSH_LOGIN_H

#include <libssh2.h>
#include <stdint.h>

#include "backends/ssh/hostkey.h"
#include "backends/ssh/session.h"

enum login_step {
	LOGIN_RESOLVE,
	LOGIN_CONNECT,
	LOGIN_HANDSHAKE,
	LOGIN_KEY,	/* with the key file */
	LOGIN_AGENT,	/* with the agent's keys, one by one */
	LOGIN_SESSION,	/* logged in; the first channel is being opened, by others */
	LOGIN_DONE,
	LOGIN_STEPS
};

struct login {
	struct session *session;
	struct hostkey *hostkey;
	const char *user;
	const char *key;	/* file; NULL: the agent */
	enum login_step step;
	uint64_t since;		/* uv_now when the step began */
	uint64_t now;		/* uv_now of this turn */
	LIBSSH2_AGENT *agent;
	struct libssh2_agent_publickey *identity;
};

/* Goes on as far as possible: to LOGIN_SESSION, or session_lose. Call it on every turn. */
void login_turn(struct login *login);
/* The next step begins. */
void login_enter(struct login *login, enum login_step step);
/* Looks at the limit of the present step. */
void login_clock(struct login *login);
/* Frees what belongs to a login under way; before the session's end. */
void login_done(struct login *login);

#endif
