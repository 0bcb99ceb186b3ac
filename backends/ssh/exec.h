/* SPDX-License-Identifier: MIT */
/*
 * Commands: one channel each, from the queue to the exit status.
 *
 * What a server must be believed: libssh2 shows an exit status that never came as 0, so
 * a server that closes a command's channel without telling one makes it a success. OpenSSH and
 * Dropbear always tell a status or a signal, or the whole connection ends and the run is lost.
 *
 * With a terminal, the end of standard input is the end of the channel's: servers do not turn
 * that into the terminal's end of file, which is what the control character (^D) is for.
 */
#ifndef SSH_EXEC_H
#define SSH_EXEC_H

#include <stddef.h>
#include <sys/queue.h>

#include "backends/ssh/channels.h"
#include "backends/ssh/control.h"
#include "backends/ssh/session.h"
#include "backends/transport.h"

TAILQ_HEAD(exec_list, transport_run);

struct exec {
	struct session *session;
	struct channels *channels;
	struct control *control;
	const char *directory;		/* where commands start (absolute, or relative to the login's
					   home); NULL: its home */
	struct exec_list queued;	/* wait for a channel, in order */
	struct exec_list active;	/* have one, or had one and left processes behind */
	unsigned active_count;
	bool aside;			/* queued runs are not for this connection: see exec_give */
	unsigned char *buffer;		/* output on its way, in one turn: may be another's, see exec_init */
	struct transport_run *gathering; /* of whose stdout the buffer holds `gathered` bytes; or NULL */
	size_t gathered;
};

/* With the buffer of another exec if one is set, which must be taken away before exec_done. */
void exec_init(struct exec *exec);
/* Frees all without callbacks. */
void exec_done(struct exec *exec);
/* As the slots of struct transport_ops; everything is only noted until the next turn. */
struct transport_run *exec_add(struct exec *exec, const struct transport_command *command,
	const struct transport_run_events *events, void *data);
size_t exec_input(struct transport_run *run, const void *bytes, size_t size);
void exec_eof(struct transport_run *run);
/* There may be more room for output. */
void exec_more(struct transport_run *run);
void exec_signal(struct transport_run *run, int signal);
void exec_await_all(struct transport_run *run);
void exec_resize(struct transport_run *run, unsigned columns, unsigned rows);
void exec_abandon(struct transport_run *run);
/* Moves everything on; true when anything moved. */
bool exec_turn(struct exec *exec);
/* Passes on the output that the rounds of a turn have gathered; last in every turn, before another
 * connection has its own. */
void exec_pass_output(struct exec *exec);
/* How much of the waiting input libssh2 may get in the next round, so that the order of stdout and
 * stderr is kept. */
size_t exec_portion(const struct exec *exec, size_t waiting);
/* Now and then: looks whether what commands left behind has ended. */
void exec_clock(struct exec *exec);
/* How many runs are queued; counts up to limit only. */
unsigned exec_queued(const struct exec *exec, unsigned limit);
/* Moves the run that waits longest to another connection, which starts it. */
void exec_give(struct exec *exec, struct exec *to);
/* Gives another connection the runs that need this one no more, or not yet: the queued ones, which
 * come first there, and those whose channel is closed. */
void exec_return(struct exec *exec, struct exec *to);
/* Ends every run as lost. The channels go with the session. */
void exec_lose(struct exec *exec);

#endif
