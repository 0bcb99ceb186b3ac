/* SPDX-License-Identifier: MIT */
#include "backends/ssh/channels.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/bounds.h"

#define RETRY_FIRST 4u	/* milliseconds */

/* Starts without channels. */
void channels_init(struct channels *channels, struct session *session)
{
	*channels = (struct channels){ .session = session };
	TAILQ_INIT(&channels->closing);
	TAILQ_INIT(&channels->requests);
}

/* Forgets. */
void channels_done(struct channels *channels)
{
	struct channels_closing *closing;

	while ((closing = TAILQ_FIRST(&channels->closing))) {
		TAILQ_REMOVE(&channels->closing, closing, link);
		free(closing);
	}
	channels_init(channels, channels->session);
}

/* Asks again a little later. */
static void open_later(struct channels *channels)
{
	channels->refused = true;
	channels->retry_delay = channels->retry_delay ? channels->retry_delay * 2 : RETRY_FIRST;
	if (channels->retry_delay > LIMIT_RETRY)
		channels->retry_delay = LIMIT_RETRY;
	channels->retry_at = channels->now + channels->retry_delay;
}

/* Gives the spare channel back. */
static void drop_spare(struct channels *channels)
{
	channels_drop(channels, channels->spare);
	channels->spare = NULL;
}

/* The server refused. Without any command running, the control shell takes the room, or else the
 * channel for files is all that it could have allowed besides the spare one; then there are no
 * files. */
static void open_refused(struct channels *channels)
{
	struct session *session = channels->session;

	if (channels->kind == CHANNELS_CONTROL && channels->spare)
		drop_spare(channels);
	else if (channels->kind != CHANNELS_CONTROL && !channels->used && channels->control)
		channels->crowded = true;
	else if (channels->kind == CHANNELS_FILES && !channels->used) {
		channels->want_files = CHANNELS_REFUSED;
		session_log(session, "the server allows no channel for files: %s",
			session_error(session));
		return;
	} else if (!channels->used && !channels->refused_logged) {
		session_log(session, "the server refused a channel: %s", session_error(session));
		channels->refused_logged = true;
	}
	open_later(channels);
}

/* What the next channel is for, of those that the server limits; false when none is needed. The
 * control shell comes first: it is wanted at the login, and when something is to be killed. */
static bool next_session(struct channels *channels)
{
	if (channels->serial && channels->used)
		return false;
	if (channels->refused && channels->now < channels->retry_at)
		return false;
	if (channels->want_control == CHANNELS_WANTED && !channels->control)
		channels->kind = CHANNELS_CONTROL;
	else if (channels->want_files == CHANNELS_WANTED && !channels->files &&
		 (channels->spare || channels->spare_died))
		channels->kind = CHANNELS_FILES;
	else if (!channels->spare && (!channels->spare_died || channels->needed))
		channels->kind = CHANNELS_RUN;
	else
		return false;
	return true;
}

/* What the next channel is for; false when none is needed. Neither commands nor requests starve the
 * other. */
static bool next_kind(struct channels *channels)
{
	bool requested = !TAILQ_EMPTY(&channels->requests);

	if (!(requested && channels->kind == CHANNELS_RUN) && next_session(channels))
		return true;
	if (requested)
		channels->kind = CHANNELS_REQUEST;
	return requested;
}

/* A request has its channel, or was refused. */
static void request_done(struct channels *channels, LIBSSH2_CHANNEL *channel, const char *why)
{
	struct channels_request *request = TAILQ_FIRST(&channels->requests);

	TAILQ_REMOVE(&channels->requests, request, link);
	request->done(request->data, channel, why);
}

/* Keeps a channel that was opened. */
static void open_done(struct channels *channels, LIBSSH2_CHANNEL *channel)
{
	channels->opening = false;
	if (channels->kind == CHANNELS_REQUEST) {
		request_done(channels, channel, NULL);
		return;
	}
	channels->refused = false;
	channels->retry_delay = 0;
	if (channels->kind == CHANNELS_FILES) {
		channels->files = channel;
		channels->want_files = CHANNELS_NO;
	} else if (channels->kind == CHANNELS_CONTROL) {
		channels->controlling = channel;
		channels->control = true;
		channels->want_control = CHANNELS_NO;
	} else {
		channels->spare = channel;
	}
}

/* Has libssh2 open a channel, or go on with it. */
static LIBSSH2_CHANNEL *open_channel(struct channels *channels)
{
	LIBSSH2_SESSION *ssh = channels->session->ssh;
	const struct channels_request *request = TAILQ_FIRST(&channels->requests);

	if (channels->kind == CHANNELS_REQUEST)
		return libssh2_channel_open_ex(ssh, request->type, (unsigned)strlen(request->type),
			request->window, WINDOW_PACKET, request->message.data,
			(unsigned)request->message.size);
	return libssh2_channel_open_ex(ssh, "session", 7,
		channels->kind == CHANNELS_FILES ? WINDOW_FILES : WINDOW_FIRST, WINDOW_PACKET, NULL, 0);
}

/* Opens one channel; false when that has to wait. */
static bool open_one(struct channels *channels)
{
	struct session *session = channels->session;

	if (!channels->opening) {
		if (!next_kind(channels))
			return false;
		channels->since = channels->now;
	}
	channels->opening = true;
	LIBSSH2_CHANNEL *channel = open_channel(channels);

	if (!channel) {
		int result = session_result(session, libssh2_session_last_errno(session->ssh));

		channels->opening = result == -EAGAIN;
		if (result == -EIO && channels->kind == CHANNELS_REQUEST)
			request_done(channels, NULL, session_error(session));
		else if (result == -EIO)
			open_refused(channels);
		return result == -EIO && !TAILQ_EMPTY(&channels->requests);
	}
	open_done(channels, channel);
	return true;
}

/* Goes on with closing; what has closed makes room for another. */
static void close_more(struct channels *channels)
{
	struct channels_closing *closing, *next;

	for (closing = TAILQ_FIRST(&channels->closing); closing; closing = next) {
		next = TAILQ_NEXT(closing, link);
		int result = session_result(channels->session,
			libssh2_channel_free(closing->channel));

		if (result == -EAGAIN || channels->session->lost)
			continue;
		TAILQ_REMOVE(&channels->closing, closing, link);
		free(closing);
		assert(channels->used > 0);
		channels->used--;
		/* The server may need a moment more to see that there is room again. */
		channels->refused = false;
		channels->retry_delay = 0;
	}
}

/* Does what can be done now. */
void channels_turn(struct channels *channels)
{
	close_more(channels);
	if (channels->spare && libssh2_channel_eof(channels->spare)) {
		channels->spare_died = true;
		drop_spare(channels);
	}
	while (!channels->session->lost && open_one(channels))
		;
}

/* Queues a request. */
void channels_request(struct channels *channels, struct channels_request *request)
{
	TAILQ_INSERT_TAIL(&channels->requests, request, link);
	session_wake(channels->session);
}

/* Gives the spare channel away. */
LIBSSH2_CHANNEL *channels_take(struct channels *channels)
{
	LIBSSH2_CHANNEL *channel = channels->spare;

	channels->spare = NULL;
	if (channel)
		channels->used++;
	return channel;
}

/* Gives the channel for files away. */
LIBSSH2_CHANNEL *channels_take_files(struct channels *channels)
{
	LIBSSH2_CHANNEL *channel = channels->files;

	channels->files = NULL;
	return channel;
}

/* Gives the channel for the control shell away. */
LIBSSH2_CHANNEL *channels_take_control(struct channels *channels)
{
	LIBSSH2_CHANNEL *channel = channels->controlling;

	channels->controlling = NULL;
	return channel;
}

/* Puts a channel onto the list of those that close. */
void channels_close(struct channels *channels, LIBSSH2_CHANNEL *channel)
{
	struct channels_closing *closing = memory_new(sizeof(*closing));

	closing->channel = channel;
	TAILQ_INSERT_TAIL(&channels->closing, closing, link);
	session_wake(channels->session);
}

/* Until it has closed, it counts as if a command had it. */
void channels_drop(struct channels *channels, LIBSSH2_CHANNEL *channel)
{
	channels->used++;
	channels_close(channels, channel);
}
