/* SPDX-License-Identifier: MIT */
#include "backends/ssh/connection.h"

#include <string.h>
#include <uv.h>

#include "backends/ssh/bounds.h"

/* The name is resolved. */
static void wire_resolved(void *data)
{
	struct connection *connection = data;

	login_enter(&connection->login, LOGIN_CONNECT);
}

/* The socket is connected. */
static void wire_connected(void *data)
{
	struct connection *connection = data;

	login_enter(&connection->login, LOGIN_HANDSHAKE);
	session_wake(&connection->session);
}

/* Bytes came, or there is room for more. */
static void wire_input(void *data)
{
	struct connection *connection = data;

	session_wake(&connection->session);
}

/* The wire ended. What came before is still worked off, in the next turn. */
static void wire_closed(void *data, const char *reason)
{
	struct connection *connection = data;

	strncpy(connection->session.ended, reason, sizeof(connection->session.ended) - 1);
	session_wake(&connection->session);
}

static const struct wire_events wire_events = {
	.resolved = wire_resolved,
	.connected = wire_connected,
	.input = wire_input,
	.closed = wire_closed,
};

/* Joins the parts. */
void connection_init(struct connection *connection, struct uv_loop_s *loop)
{
	connection->loop = loop;
	connection->login.session = &connection->session;
	channels_init(&connection->channels, &connection->session);
	connection->exec.session = &connection->session;
	connection->exec.channels = &connection->channels;
	exec_init(&connection->exec);
}

/* Sets the clocks. */
void connection_set_clocks(struct connection *connection)
{
	uint64_t now = uv_now(connection->loop);

	connection->login.now = now;
	connection->channels.now = now;
}

/* Begins. */
void connection_begin(struct connection *connection)
{
	const struct hostkey *hostkey = connection->login.hostkey;
	struct wire_target target = { hostkey->host, hostkey->port, connection->proxy,
		connection->proxy_environment };
	struct session *session = &connection->session;

	session->lost = session->fatal = false;
	session->error = 0;
	session->ended[0] = '\0';
	connection->asked = uv_now(connection->loop);
	connection_set_clocks(connection);
	login_enter(&connection->login, LOGIN_RESOLVE);
	int error = wire_new(connection->loop, &target, &wire_events, connection, &session->wire);

	if (error)
		session_lose(session, true, "%s %s: %s", target.proxy ? target.proxy[0] : target.host,
			target.proxy ? "cannot be started" : "cannot be the name of a machine",
			uv_strerror(error));
	else if (target.proxy)
		wire_connected(connection);
}

/* Logs in. */
bool connection_login(struct connection *connection)
{
	if (!connection->session.wire || connection->login.step >= LOGIN_SESSION)
		return false;
	wire_allow(connection->session.wire, SIZE_MAX);
	login_turn(&connection->login);
	return connection->login.step >= LOGIN_SESSION;
}

/* Takes input, opens and closes. */
void connection_take(struct connection *connection)
{
	struct session *session = &connection->session;
	char none;

	wire_allow(session->wire, exec_portion(&connection->exec, wire_waiting(session->wire)));
	channels_turn(&connection->channels);
	/* Without other channels, this one makes libssh2 take what the server says. */
	if (connection->channels.spare && !session->lost)
		session_result(session,
			libssh2_channel_read(connection->channels.spare, &none, 1));
}

/* Rounds, until nothing moves any more. */
void connection_serve(struct connection *connection, bool (*once)(void *data), void *data)
{
	struct session *session = &connection->session;
	size_t before;

	do {
		if (session->lost)
			break;
		if (wire_queued(session->wire) >= LIMIT_OUTPUT)
			wire_flush(session->wire);
		before = wire_waiting(session->wire);
	} while (once(data) || wire_waiting(session->wire) != before);
	exec_pass_output(&connection->exec);
}

/* Sends. */
void connection_flush(struct connection *connection)
{
	struct session *session = &connection->session;

	if (*session->ended)
		session_lose(session, false, "%s", session->ended);
	if (session->wire)
		wire_flush(session->wire);
}

/* Ends. */
void connection_end(struct connection *connection)
{
	login_done(&connection->login);
	channels_done(&connection->channels);
	session_end(&connection->session);
}
