/* SPDX-License-Identifier: MIT */
#include "backends/ssh/login.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "backends/backend.h"
#include "backends/base/regular.h"
#include "backends/ssh/bounds.h"

static int turn_handshake(struct login *login);
static int turn_key(struct login *login);
static int turn_agent(struct login *login);

/* turn: 0 when the step is done, -EAGAIN to wait, anything else after session_lose. Steps without
 * one wait for an event from outside. */
static const struct {
	const char *what;
	unsigned limit;
	int (*turn)(struct login *login);
} steps[LOGIN_STEPS] = {
	[LOGIN_RESOLVE] = { "resolving the name", LIMIT_RESOLVE, NULL },
	[LOGIN_CONNECT] = { "connecting", LIMIT_CONNECT, NULL },
	[LOGIN_HANDSHAKE] = { "the key exchange", LIMIT_HANDSHAKE, turn_handshake },
	[LOGIN_KEY] = { "the login", LIMIT_LOGIN, turn_key },
	[LOGIN_AGENT] = { "the login", LIMIT_LOGIN, turn_agent },
	[LOGIN_SESSION] = { "opening a channel", LIMIT_SESSION, NULL },
	[LOGIN_DONE] = { "", 0, NULL },
};

/* Starts a step and its clock. */
void login_enter(struct login *login, enum login_step step)
{
	login->step = step;
	login->since = login->now;
}

/* Ends a login that takes too long. */
void login_clock(struct login *login)
{
	unsigned limit = steps[login->step].limit;

	if (limit && login->now - login->since > limit)
		session_lose(login->session, false, "%s took more than %u seconds",
			steps[login->step].what, limit / 1000);
}

/* Keys are exchanged; then the host's is checked. */
static int turn_handshake(struct login *login)
{
	struct session *session = login->session;

	if (!session->ssh) {
		int result = session_begin(session);

		if (result < 0)
			session_lose(
				session, false, "cannot make a session: %s", strerror(-result));
		else
			result = hostkey_prepare(login->hostkey, session);
		if (result < 0)
			return result;
	}
	int result = libssh2_session_handshake(session->ssh, session->fd);

	if (result == LIBSSH2_ERROR_EAGAIN)
		return -EAGAIN;
	if (result) {
		session_lose(session, false, "the key exchange failed: %s", session_error(session));
		return -EIO;
	}
	return hostkey_check(login->hostkey, session);
}

/* Whether a failed login is the server's final word on this key. */
static bool refused(long result)
{
	return result == LIBSSH2_ERROR_AUTHENTICATION_FAILED ||
	       result == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED || result == LIBSSH2_ERROR_FILE ||
	       result == LIBSSH2_ERROR_PUBLICKEY_PROTOCOL;
}

/* The key of the file. libssh2 finds the public half in it. */
static int turn_key(struct login *login)
{
	struct session *session = login->session;
	struct poolfs_err err = { "" };
	int fd = regular_open(login->key, O_RDONLY, &err);

	/* libssh2 opens it by its name, and would wait for a FIFO's other end. */
	if (fd < 0) {
		session_lose(session, true, "cannot read the key %s", err.text);
		return fd;
	}
	close(fd);
	int result = libssh2_userauth_publickey_fromfile_ex(session->ssh, login->user,
		(unsigned)strlen(login->user), NULL, login->key, NULL);

	if (result == LIBSSH2_ERROR_EAGAIN)
		return -EAGAIN;
	if (result)
		session_lose(session, refused(result),
			"the login as %s with the key %s failed: %s", login->user, login->key,
			session_error(session));
	return result ? -EACCES : 0;
}

/* Connects to the agent and asks for its keys. */
static int agent_open(struct login *login)
{
	LIBSSH2_AGENT *agent = libssh2_agent_init(login->session->ssh);

	if (!agent)
		return -ENOMEM;
	login->agent = agent;
	if (libssh2_agent_connect(agent) || libssh2_agent_list_identities(agent))
		return -ENOTCONN;
	return libssh2_agent_get_identity(agent, &login->identity, NULL) ? -ENOKEY : 0;
}

/* The agent's keys, one after the other. This blocks while the agent answers, see session.c. */
static int turn_agent(struct login *login)
{
	struct session *session = login->session;
	int result = login->agent ? 0 : agent_open(login);

	if (result < 0) {
		session_lose(session, true,
			"no ssh_key is set, and the agent (SSH_AUTH_SOCK) has no key to offer: %s",
			strerror(-result));
		return result;
	}
	while ((result = libssh2_agent_userauth(login->agent, login->user, login->identity))) {
		if (result == LIBSSH2_ERROR_EAGAIN)
			return -EAGAIN;
		if (!refused(result)) {
			session_lose(session, false, "the login as %s failed: %s", login->user,
				session_error(session));
			return -EIO;
		}
		if (libssh2_agent_get_identity(login->agent, &login->identity, login->identity)) {
			session_lose(session, true,
				"the machine refused all keys of the agent for %s", login->user);
			return -EACCES;
		}
	}
	return 0;
}

/* Does what can be done now. */
void login_turn(struct login *login)
{
	while (!login->session->lost && steps[login->step].turn) {
		if (steps[login->step].turn(login) < 0)
			return;
		if (login->step == LOGIN_HANDSHAKE) {
			login_enter(login, login->key ? LOGIN_KEY : LOGIN_AGENT);
			continue;
		}
		hostkey_pin(login->hostkey, login->session);
		login_done(login);
		login_enter(login, LOGIN_SESSION);
	}
}

/* Frees the agent. */
void login_done(struct login *login)
{
	if (login->agent) {
		libssh2_agent_disconnect(login->agent);
		libssh2_agent_free(login->agent);
	}
	login->agent = NULL;
	login->identity = NULL;
}
