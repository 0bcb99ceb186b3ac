/* SPDX-License-Identifier: MIT */
/*
 * How the transport "agent" and poolfs' own agent in the machine talk, for machines on this
 * host that need no SSH: two unix sockets, native byte order, both ends of one build.
 *
 * The control socket (SOCK_SEQPACKET) carries messages of one fixed size, some with
 * descriptors. What a command reads and writes goes over pipes or a terminal of its own, never
 * through here, so no command can hold another up.
 *
 *	shim				agent
 *	HELLO				HELLO (value: the version), FILES (a socket)
 *	RUN (text; in, out, err)	STARTED (with columns: the terminal), EXITED, GONE
 *	SIGNAL, RELEASE, ABANDON
 *	LISTEN, CONNECT (a place)	SOCKET (the socket, or why there is none)
 *
 * EXITED: the command's first process has ended. GONE: so have all that it left behind; nothing
 * about the run follows. RELEASE lets these live on without the run, ABANDON kills them.
 *
 * The files socket (SOCK_STREAM) carries FRAME_FILE and FRAME_FILE_REPLY as protocol.h has them,
 * with the transport's numbers for handles: the one in an OPEN's request is the new one's. FILES
 * comes again, with another socket, after the process that serves it was killed.
 *
 * Forwards need nothing of the agent but sockets that are made in the machine's network: the shim
 * accepts and carries by itself.
 */
#ifndef AGENT_TALK_H
#define AGENT_TALK_H

#include <stddef.h>
#include <stdint.h>

#include "backends/protocol/protocol.h"

#define TALK_VERSION 1
#define TALK_FDS_MAX 4
/* The longest text of a run: a command's, with a program and its arguments before it. */
#define TALK_TEXT_MAX (131072u + 65536u)

enum talk_type {
	/* both ways */
	TALK_HELLO = 1,	/* value: TALK_VERSION */
	/* to the agent */
	TALK_RUN,	/* id; sizes; columns and rows or 0. Descriptors: the parts, one behind the
			   other, in a file; without terminal also standard input, output and error */
	TALK_SIGNAL,	/* id; value: the number; to all processes of the run */
	TALK_RELEASE,	/* id: the run is over, what it left behind is nobody's */
	TALK_ABANDON,	/* id: kills all of it */
	TALK_LISTEN,	/* id, place of TCP: a socket that listens there is wanted */
	TALK_CONNECT,	/* id, place: one that connects to there */
	/* both ways again */
	TALK_FILES,	/* to the shim: descriptor: the socket of files; none: it serves no files. To
			   the agent: another process is to serve them, the one that does so does not
			   answer */
	/* to the shim */
	TALK_STARTED,	/* id. Descriptor, if there is a terminal: its master's end */
	TALK_EXITED,	/* id; value: as waitpid(2) gives it */
	TALK_GONE,	/* id */
	TALK_SOCKET,	/* id. Descriptor: the socket; or value: a negative errno */
};

/* Where a socket is to be, as struct sockets_place. */
struct talk_place {
	uint16_t family;	/* enum forward_family */
	uint16_t port;
	char path[PROTOCOL_FORWARD_PATH_MAX + 1]; /* ended by a NUL */
};

struct talk_message {
	uint32_t type;		/* enum talk_type */
	int32_t value;
	uint64_t id;		/* of a run, or of a wanted socket; never used twice on a connection */
	uint32_t text_size;	/* of the parts: the command's text, environment, directory */
	uint32_t environment_size;
	uint32_t cwd_size;
	uint16_t columns, rows;	/* both 0: no terminal */
	struct talk_place place;
};

/* Sends a packet of size bytes with descriptors, which stay the caller's. 0 or a negative errno. */
int talk_send_packet(int socket, const void *packet, size_t size, const int *fds, unsigned count);
int talk_send(int socket, const struct talk_message *message, const int *fds, unsigned count);

/*
 * Takes the next packet, of exactly size bytes. fds has room for TALK_FDS_MAX descriptors, which become the caller's
 * (close-on-exec); *count says how many came. 1; 0 at the end of the connection; a negative errno
 * (-EAGAIN: there is none; -EPROTO: it has another size, or too many descriptors).
 */
int talk_receive_packet(int socket, void *packet, size_t size, int *fds, unsigned *count);
int talk_receive(int socket, struct talk_message *message, int *fds, unsigned *count);

/* Whether fd is the master's end of a terminal; one that is not gets closed. */
int talk_terminal(int fd);

#endif
