/* SPDX-License-Identifier: MIT */
/*
 * The control shell: a POSIX shell on a channel of its own, open as long as the connection.
 * Signals to all processes of a command go through it, so that they need no new channel,
 * which the server may not have, nor SSH's own "signal" request, which many servers lack or
 * send to one process only. Its first line tells whether the login's shell is of POSIX's kind.
 *
 * A server that has no channel to spare gets it back: the shell is then started when it is
 * needed and there is room. One that fails is started again at the next need.
 */
#ifndef SSH_CONTROL_H
#define SSH_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/base/text.h"
#include "backends/ssh/channels.h"
#include "backends/ssh/session.h"

#define CONTROL_LINE 256u	/* longest line that is looked at */
#define CONTROL_FAILURES 3u	/* in a row: then there is no control shell on this connection */

/* left: how many processes of the command were found (after KILL: are left); -1: it is not known. */
typedef void control_done(void *data, int left);

struct control_request;
TAILQ_HEAD(control_queue, control_request);

enum control_step {
	CONTROL_OFF,		/* no channel */
	CONTROL_STARTING,	/* the request to start it is sent */
	CONTROL_GREETING,	/* its first line is to come */
	CONTROL_READY,
};

struct control {
	struct session *session;
	struct channels *channels;
	enum control_step step;
	LIBSSH2_CHANNEL *channel;
	bool settled;			/* the first line has come, or never will */
	bool posix;			/* it was the right one */
	char mark;			/* as in struct command_shape; told by the first line */
	unsigned failures;
	struct text out;		/* for its standard input */
	char line[CONTROL_LINE];	/* of its standard output, incomplete */
	size_t line_size;
	struct control_queue requests;	/* in order; the sent ones first */
	uint64_t counter;		/* of requests */
	uint64_t since, now;		/* when the step or the oldest request began; this turn */
};

/* Whose processes. */
struct control_target {
	const char *token;		/* that their environment or their limits hold */
	uint32_t shell;			/* the command's first process; leads the group, or not */
	bool alive;			/* it has not been waited for: its number is still its own */
};

void control_init(struct control *control, struct session *session, struct channels *channels);
/* A connection begins: the channel will be opened. */
void control_begin(struct control *control);
/* The connection has ended; no callback comes. */
void control_lose(struct control *control);
/* The same, for good. */
void control_free(struct control *control);
/* Moves everything on; true when anything moved. */
bool control_turn(struct control *control);
/* Looks at the limits. */
void control_clock(struct control *control);
/* Whether signals can be sent, now or when there is room for the shell. */
bool control_works(const struct control *control);
/* Whether it was asked for something that is not done. */
bool control_busy(const struct control *control);
/* Sends a signal, or 0: only counts. SIGKILL is repeated until nothing is left. done: may be NULL;
 * else called once, on a later turn. */
void control_signal(struct control *control, const struct control_target *target, int signal,
	control_done *done, void *data);
/* Asks the shell for a sign of life; false when it is not there. */
bool control_ping(struct control *control);
/* No callback with this data any more. What was asked for still happens. */
void control_forget(struct control *control, const void *data);

#endif
