/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing channels. libssh2 can open only one channel of a session at a
 * time, and a server allows only so many (OpenSSH: 10, MaxSessions), so openings go
 * through here: one channel is kept open ahead, which saves a command a round trip,
 * and a refused opening is tried again when another channel has closed. Channels of
 * other types than commands have (forwards) take turns with theirs; a refusal is their end.
 */
#ifndef SSH_CHANNELS_H
#define SSH_CHANNELS_H

#include <libssh2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/base/text.h"

#include "backends/ssh/session.h"

struct channels_closing {
	TAILQ_ENTRY(channels_closing) link;
	LIBSSH2_CHANNEL *channel;
};

/* A channel of a type of its own that somebody waits for. Must stay until it is done, or until
 * channels_done. */
struct channels_request {
	TAILQ_ENTRY(channels_request) link;
	const char *type;		/* as in SSH_MSG_CHANNEL_OPEN, e.g. "direct-tcpip" */
	struct text message;		/* what follows in the packet; the owner's */
	unsigned window;
	/* Open, or (NULL) refused: why is libssh2's text. Once, from channels_turn. */
	void (*done)(void *data, LIBSSH2_CHANNEL *channel, const char *why);
	void *data;
};

enum channels_kind { CHANNELS_CONTROL, CHANNELS_RUN, CHANNELS_FILES, CHANNELS_REQUEST };
enum channels_want { CHANNELS_NO, CHANNELS_WANTED, CHANNELS_REFUSED };

struct channels {
	struct session *session;
	LIBSSH2_CHANNEL *spare;		/* open, for the next command */
	bool spare_died;		/* the server closes what idles: open only what is needed */
	bool needed;			/* a command waits for a channel */
	LIBSSH2_CHANNEL *files;		/* open, until channels_take_files */
	LIBSSH2_CHANNEL *controlling;	/* open, until channels_take_control */
	bool control;			/* the control shell has its channel, taken or not */
	enum channels_want want_files;	/* WANTED: to be opened. REFUSED: the server does not */
	enum channels_want want_control;
	bool opening;			/* libssh2 is at it: no other may begin */
	enum channels_kind kind;	/* what for, or what for the last time */
	uint64_t since;			/* uv_now when it began */
	TAILQ_HEAD(, channels_request) requests;
	bool crowded;			/* the server allows so few that the control shell must give way */
	bool refused;			/* the server has no more channels at present */
	bool refused_logged;
	uint64_t retry_at;		/* when the next is asked for, in uv_now */
	unsigned retry_delay;		/* milliseconds; doubles with each refusal */
	uint64_t now;			/* uv_now of this turn */
	unsigned used;			/* channels that commands have */
	bool serial;			/* one channel at a time: none is opened while one is used */
	bool cut;			/* a command's channel was closed before the command ended */
	TAILQ_HEAD(, channels_closing) closing;
};

void channels_init(struct channels *channels, struct session *session);
/* Forgets all; libssh2 frees its channels with the session. */
void channels_done(struct channels *channels);
/* Goes on with opening and closing. While refused is set, call it again at retry_at, too. */
void channels_turn(struct channels *channels);
/* The channel for the next command, or NULL: then later. It counts as used until channels_close. */
LIBSSH2_CHANNEL *channels_take(struct channels *channels);
/* The channel for files, once, when it is open; else NULL. */
LIBSSH2_CHANNEL *channels_take_files(struct channels *channels);
/* The channel for the control shell, once; `control` is set until it is closed. */
LIBSSH2_CHANNEL *channels_take_control(struct channels *channels);
/* Asks for a channel of another type. */
void channels_request(struct channels *channels, struct channels_request *request);
/* Closes a command's channel in the background. */
void channels_close(struct channels *channels, LIBSSH2_CHANNEL *channel);
/* The same for a channel that channels_take did not give. */
void channels_drop(struct channels *channels, LIBSSH2_CHANNEL *channel);

#endif
