/* SPDX-License-Identifier: MIT */
/*
 * Commands: one channel each, from the queue to the exit status.
 *
 * What a server must be believed: libssh2 shows an exit status that never came as 0, so
 * a server that closes a command's channel without telling one makes it a success.
 */
#ifndef SSH_EXEC_H
#define SSH_EXEC_H

#include <stddef.h>
#include <sys/queue.h>

#include "backends/ssh/channels.h"
#include "backends/ssh/session.h"
#include "backends/transport.h"

TAILQ_HEAD(exec_list, transport_run);

struct exec {
	struct session *session;
	struct channels *channels;
	char *prefix;			/* goes before each text; "" without a directory */
	struct exec_list queued;	/* wait for a channel, in order */
	struct exec_list active;	/* have one */
	unsigned active_count;
	unsigned char *buffer;		/* output on its way */
};

/* directory: where commands start (absolute, or relative to the login's home); NULL: its home. */
void exec_init(struct exec *exec, struct session *session, struct channels *channels,
	const char *directory);
/* Frees all without callbacks. */
void exec_done(struct exec *exec);
struct transport_run *exec_add(struct exec *exec, const char *text, size_t size,
	const struct transport_run_events *events, void *data);
/* Asks for the end; it is told on the next turn. */
void exec_stop(struct transport_run *run);
/* Moves everything on; true when anything moved. */
bool exec_turn(struct exec *exec);
/* Ends every run as lost. The channels go with the session. */
void exec_lose(struct exec *exec);

#endif
