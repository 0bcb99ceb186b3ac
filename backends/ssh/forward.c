/* SPDX-License-Identifier: MIT */
#include "backends/ssh/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/bounds.h"
#include "backends/ssh/pipe.h"

enum forward_step {
	FORWARD_WANTED,		/* to listen: to be asked for */
	FORWARD_ASKED,		/* to listen: the answer is to come */
	FORWARD_WORKS,
	FORWARD_REFUSED,	/* the machine does not do it */
};

struct transport_forward {
	TAILQ_ENTRY(transport_forward) link;
	struct forwards *forwards;
	const struct transport_forward_events *events;
	void *data;
	enum forward_step step;
	enum forward_family family;
	uint16_t port;
	char *path;
	LIBSSH2_LISTENER *listener;
	bool ended;			/* its owner has forgotten it */
	bool missed;			/* the last connection could not be made, which was logged */
};

/* Starts empty. */
void forward_init(struct forwards *forwards, struct uv_loop_s *loop, struct session *session,
	struct channels *channels)
{
	*forwards = (struct forwards){ .loop = loop, .session = session, .channels = channels };
	TAILQ_INIT(&forwards->list);
	TAILQ_INIT(&forwards->pipes);
	forwards->buffer = memory_new(FORWARD_PIECE);
}

/* Frees a forward, of which no pipe knows any more. */
static void forward_free(struct transport_forward *forward)
{
	struct forwards *forwards = forward->forwards;

	TAILQ_REMOVE(&forwards->list, forward, link);
	free(forward->path);
	free(forward);
}

/* Frees all. */
void forward_lose(struct forwards *forwards)
{
	struct transport_forward *forward;
	struct pipe *pipe;

	while ((pipe = TAILQ_FIRST(&forwards->pipes)))
		pipe_free(pipe);
	while ((forward = TAILQ_FIRST(&forwards->list)))
		forward_free(forward);
	forwards->asking = NULL;
}

/* Frees all, and the buffer. */
void forward_done(struct forwards *forwards)
{
	forward_lose(forwards);
	free(forwards->buffer);
	forwards->buffer = NULL;
}

/* Makes one. */
static struct transport_forward *forward_new(struct forwards *forwards,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	struct transport_forward *forward = memory_new(sizeof(*forward));

	forward->forwards = forwards;
	forward->events = events;
	forward->data = data;
	forward->family = place->family;
	forward->port = place->port;
	forward->path = memory_string(place->path);
	TAILQ_INSERT_TAIL(&forwards->list, forward, link);
	session_wake(forwards->session);
	return forward;
}

/* .forward_listen */
struct transport_forward *forward_listen(struct forwards *forwards,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	return forward_new(forwards, place, events, data);
}

/* .forward_reach */
struct transport_forward *forward_reach(struct forwards *forwards,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	struct transport_forward *forward = forward_new(forwards, place, events, data);

	forward->step = FORWARD_WORKS;
	return forward;
}

/* Tells, once. */
void forward_fail(struct transport_forward *forward, int error, const char *format, ...)
{
	char reason[256];
	va_list args;

	if (forward->step == FORWARD_REFUSED || forward->ended || forward->forwards->session->muted)
		return;
	forward->step = FORWARD_REFUSED;
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	forward->events->failed(forward->data, error, reason);
}

/* Resets what it carries. */
void forward_end(struct transport_forward *forward)
{
	struct pipe *pipe, *next;

	forward->ended = true;
	for (pipe = TAILQ_FIRST(&forward->forwards->pipes); pipe; pipe = next) {
		next = TAILQ_NEXT(pipe, link);
		if (pipe->forward == forward)
			pipe_reset(pipe);
	}
	session_wake(forward->forwards->session);
}

/* Logs what anybody in the machine can cause, so only once. */
void forward_missed(struct transport_forward *forward, const char *why)
{
	if (!forward->missed)
		session_log(forward->forwards->session, "a forwarded connection failed: %s", why);
	forward->missed = true;
}

/* The next failure is logged again. */
void forward_made(struct transport_forward *forward)
{
	forward->missed = false;
}

/* Whether one more connection is too many. */
static bool is_full(struct transport_forward *forward)
{
	if (forward->forwards->count < LIMIT_CARRIED)
		return false;
	forward_missed(forward, "as many as are allowed at a time are there");
	return true;
}

/* A number of a packet. */
static void append_number(struct text *message, uint32_t number)
{
	uint32_t order = htonl(number);

	text_append(message, &order, sizeof(order));
}

/* A string of a packet. */
static void append_string(struct text *message, const char *string)
{
	append_number(message, (uint32_t)strlen(string));
	text_append(message, string, strlen(string));
}

/* Asks the machine to connect. For TCP as in RFC 4254, section 7.2, for unix sockets as in OpenSSH's
 * PROTOCOL, section 2.4; what follows the target tells where it comes from. */
void forward_carry(struct transport_forward *forward, int fd)
{
	bool local = forward->family == FORWARD_UNIX;
	struct text message = { 0 };

	if (forward->step != FORWARD_WORKS || is_full(forward)) {
		sockets_reset(fd);
		return;
	}
	if (local) {
		append_string(&message, forward->path);
		append_string(&message, "");
	} else {
		append_string(&message, forward->family == FORWARD_IPV6 ? "::1" : "127.0.0.1");
		append_number(&message, forward->port);
		append_string(&message, "127.0.0.1");
	}
	append_number(&message, 0);
	pipe_open(forward, forward->forwards, fd,
		local ? "direct-streamlocal@openssh.com" : "direct-tcpip", &message);
}

/* Has the machine listen; one at a time, as libssh2 knows one request only. True when it moved. */
static bool listen_turn(struct transport_forward *forward)
{
	struct forwards *forwards = forward->forwards;
	struct session *session = forwards->session;
	int port = forward->port;

	if (forwards->asking && forwards->asking != forward)
		return false;
	if (session->unclear && !forwards->asking) {
		forward_fail(forward, -EIO, "a server with neither SFTP nor a POSIX shell can "
			"only be asked to listen in the first seconds of a connection");
		return true;
	}
	if (!forwards->asking)
		forwards->since = forwards->now;
	forwards->asking = forward;
	forward->step = FORWARD_ASKED;
	LIBSSH2_LISTENER *listener = libssh2_channel_forward_listen_ex(session->ssh,
		forward->family == FORWARD_IPV6 ? "::1" : "127.0.0.1", port, &port,
		(int)LIMIT_CARRIED);
	int error = listener ? 0 : libssh2_session_last_errno(session->ssh);

	if (error == LIBSSH2_ERROR_EAGAIN)
		return false;
	forwards->asking = NULL;
	forward->listener = listener;
	if (error == LIBSSH2_ERROR_REQUEST_DENIED && forward->port)
		forward_fail(forward, -EADDRINUSE, "the machine's SSH server refuses to listen at port %u: "
			"it is taken, or the server does not allow forwarding", forward->port);
	else if (error == LIBSSH2_ERROR_REQUEST_DENIED)
		forward_fail(forward, -EACCES, "the machine's SSH server does not allow forwarding (in "
			"OpenSSH: AllowTcpForwarding)");
	else if (error)
		session_result(session, error);
	else if (port < 1 || port > 65535)
		forward_fail(forward, -EPROTO, "the machine's SSH server names no port");
	else
		forward->step = FORWARD_WORKS;
	if (forward->step == FORWARD_WORKS && !forward->ended && !session->muted)
		forward->events->listening(forward->data, (uint16_t)port);
	return true;
}

/* Takes what connected in the machine. */
static bool accept_turn(struct transport_forward *forward)
{
	struct forwards *forwards = forward->forwards;
	LIBSSH2_CHANNEL *channel;
	bool moved = false;

	while (!forward->ended && !forwards->session->muted &&
		(channel = libssh2_channel_forward_accept(forward->listener))) {
		bool refused = forward->step != FORWARD_WORKS || is_full(forward);

		pipe_accept(forward, forwards, channel,
			refused ? -EAGAIN : forward->events->dial(forward->data));
		moved = true;
	}
	return moved;
}

/* Lets a forward go, once libssh2 has done so too. A request on its way is awaited first. */
static void end_turn(struct transport_forward *forward)
{
	struct forwards *forwards = forward->forwards;

	if (forwards->asking == forward)
		listen_turn(forward);
	if (forwards->asking == forward)
		return;
	if (forward->listener && session_result(forwards->session,
			libssh2_channel_forward_cancel(forward->listener)) == -EAGAIN)
		return;
	forward_free(forward);
}

/* Moves a forward on. */
static bool turn_one(struct transport_forward *forward)
{
	bool moved = false;

	if (forward->ended) {
		end_turn(forward);
		return false;
	}
	if (forward->step == FORWARD_WANTED || forward->step == FORWARD_ASKED)
		moved = listen_turn(forward);
	if (forward->listener)
		moved |= accept_turn(forward);
	return moved;
}

/* Beyond the limit of what may be kept, resets the connection that keeps most. */
static void relieve(struct forwards *forwards)
{
	struct pipe *pipe, *most = NULL;
	unsigned long size = 0;

	TAILQ_FOREACH(pipe, &forwards->pipes, link) {
		unsigned long waiting = 0;

		if (pipe->step == PIPE_CLOSING || !pipe->channel)
			continue;
		libssh2_channel_window_read_ex(pipe->channel, &waiting, NULL);
		if (waiting > size) {
			size = waiting;
			most = pipe;
		}
	}
	if (!most)
		return;
	forwards->relief = most;
	session_log(forwards->session, "a forwarded connection is reset: too many bytes wait for "
		"sockets that do not take them");
	pipe_reset(most);
}

/* Moves all on. Callbacks may add forwards (at the list's end) and end others (only noted). */
bool forward_turn(struct forwards *forwards)
{
	struct session *session = forwards->session;
	struct transport_forward *forward, *next_forward;
	struct pipe *pipe, *next;
	bool moved = false;

	for (forward = TAILQ_FIRST(&forwards->list); forward && !session->lost; forward = next_forward) {
		next_forward = TAILQ_NEXT(forward, link);
		moved |= turn_one(forward);
	}
	for (pipe = TAILQ_FIRST(&forwards->pipes); pipe && !session->lost; pipe = next) {
		next = TAILQ_NEXT(pipe, link);
		moved |= pipe_turn(pipe);
		if (pipe->step == PIPE_GONE)
			pipe_free(pipe);
	}
	if (session->memory > LIMIT_KEPT && !forwards->relief && !session->lost)
		relieve(forwards);
	return moved;
}

/* Arms the sockets. */
void forward_wait(struct forwards *forwards)
{
	struct pipe *pipe;

	TAILQ_FOREACH(pipe, &forwards->pipes, link)
		pipe_wait(pipe);
}

/* Looks at the limits. */
void forward_clock(struct forwards *forwards)
{
	struct channels *channels = forwards->channels;
	struct pipe *pipe;

	if (channels->opening && channels->kind == CHANNELS_REQUEST &&
		forwards->now - channels->since > LIMIT_OPEN)
		session_lose(forwards->session, false, "the server did not answer within %u seconds "
			"whether a forwarded connection can be made", LIMIT_OPEN / 1000);
	if (forwards->asking && forwards->now - forwards->since > LIMIT_SESSION)
		session_lose(forwards->session, false, "the server did not answer within %u seconds "
			"whether it listens", LIMIT_SESSION / 1000);
	TAILQ_FOREACH(pipe, &forwards->pipes, link)
		pipe_look(pipe);
}
