/* SPDX-License-Identifier: MIT */
/*
 * Requests and answers of SFTP over one channel: many outstanding at once, matched by
 * id, late ones included. What no honest server sends (an unknown or repeated id, an
 * impossible length, a wrong type) ends the connection.
 *
 * Start-up: subsystem, version, then the server's limits and the absolute path of the
 * root, both asked at once.
 */
#ifndef SSH_SFTP_H
#define SSH_SFTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/ssh/channels.h"
#include "backends/ssh/packet.h"
#include "backends/ssh/session.h"

/* Extensions that the server announced. */
#define SFTP_POSIX_RENAME 1u
#define SFTP_FSYNC	  2u
#define SFTP_STATVFS	  4u
#define SFTP_LIMITS	  8u
#define SFTP_HARDLINK	  16u
#define SFTP_LSETSTAT	  32u
#define SFTP_FSTATVFS	  64u
#define SFTP_COPY_DATA	  128u

struct sftp_answer {
	uint8_t type;		/* enum packet_type: STATUS, or what the request asks for */
	uint32_t status;	/* of a STATUS; else SFTP_OK */
	struct packet body;	/* what follows the id, or the status's code */
};

/* Takes the answer to one request, which is valid during the call. */
typedef void sftp_take(void *data, const struct sftp_answer *answer);

enum sftp_state {
	SFTP_CLOSED,	/* no channel yet */
	SFTP_SUBSYSTEM,
	SFTP_VERSION,
	SFTP_ROOT,
	SFTP_READY,
	SFTP_ABSENT,	/* not to be had: commands work */
};

struct sftp {
	struct session *session;
	struct channels *channels;
	const char *directory;		/* the root as configured; NULL: the login's home */
	enum sftp_state state;
	bool missing;			/* the machine has no SFTP server: that is why it is ABSENT */
	LIBSSH2_CHANNEL *channel;
	unsigned extensions;
	uint32_t read_size, write_size;	/* of one request, at most */
	char *root;			/* absolute; while READY */
	struct text out;		/* packets; the first `sent` bytes are with libssh2 */
	size_t sent;
	uint64_t sent_before;		/* bytes that left `out` before */
	size_t open_packet;		/* where the packet that is being written starts */
	unsigned char *in;		/* what came; in_start to in_end was not taken apart yet */
	size_t in_start, in_end;
	uint32_t last_id;
	uint64_t now;			/* uv_now of this turn */
	uint64_t since;			/* when start-up began, or the last answer came */
	unsigned outstanding, slow;
	unsigned starting;		/* answers that start-up waits for */
	TAILQ_HEAD(sftp_request_list, sftp_request) requests;
	void (*ready)(void *data);	/* READY or ABSENT was reached */
	void *data;
};

/* Both callbacks' data and directory stay the caller's. */
void sftp_init(struct sftp *sftp, struct session *session, struct channels *channels,
	const char *directory);
/* The machine's server is not to be used: as if there were none. */
void sftp_refuse(struct sftp *sftp);
/* Forgets all requests, without calls. */
void sftp_done(struct sftp *sftp);
/* Sends and receives; true when anything moved. */
bool sftp_turn(struct sftp *sftp);
/* Looks at the limits. */
void sftp_clock(struct sftp *sftp);

/* Begins a request: append its fields to the result, then call sftp_end. take is called with the
 * answer, unless the connection ends before. */
struct text *sftp_begin(struct sftp *sftp, enum packet_type type, sftp_take *take, void *data);
/* Begins one of the extended requests. */
struct text *sftp_begin_extended(struct sftp *sftp, const char *name, sftp_take *take, void *data);
/* Sends the request. slow: it may wait for the machine's disk. */
void sftp_end(struct sftp *sftp, bool slow);
/* Gives the connection up over an answer that breaks the protocol. */
void sftp_broken(struct sftp *sftp, const char *what);
/* Asks for a sign of life. */
void sftp_ping(struct sftp *sftp);

#endif
