/* SPDX-License-Identifier: MIT */
#include "backends/ssh/sftp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/bounds.h"

/* Bytes of input that are kept: a part of a packet, and what the channel has to give. */
#define INPUT_SIZE (2 * LIMIT_PACKET)
/* With less room behind them than this, what the largest packet of SSH brings, they are moved to the front. */
#define INPUT_ROOM 32768u
#define PLAIN_SIZE 32768u	/* of a read or write that every server takes */

struct sftp_request {
	TAILQ_ENTRY(sftp_request) link;
	uint32_t id;
	bool slow;
	uint64_t end;		/* of its bytes in the stream that we send */
	uint64_t since;		/* when all of it was sent; 0: not yet */
	sftp_take *take;
	void *data;
};

static const struct {
	const char *name;
	unsigned bit;
} extensions[] = {
	{ "posix-rename@openssh.com", SFTP_POSIX_RENAME },
	{ "fsync@openssh.com", SFTP_FSYNC },
	{ "statvfs@openssh.com", SFTP_STATVFS },
	{ "limits@openssh.com", SFTP_LIMITS },
	{ "hardlink@openssh.com", SFTP_HARDLINK },
	{ "lsetstat@openssh.com", SFTP_LSETSTAT },
	{ "fstatvfs@openssh.com", SFTP_FSTATVFS },
	{ "copy-data", SFTP_COPY_DATA },
};

/* Starts without a channel. */
void sftp_init(struct sftp *sftp, struct session *session, struct channels *channels,
	const char *directory)
{
	*sftp = (struct sftp){ .session = session, .channels = channels, .directory = directory };
	sftp->read_size = sftp->write_size = PLAIN_SIZE;
	TAILQ_INIT(&sftp->requests);
}

/* Takes a request off the list. */
static void forget(struct sftp *sftp, struct sftp_request *request)
{
	TAILQ_REMOVE(&sftp->requests, request, link);
	sftp->outstanding--;
	sftp->slow -= request->slow;
	free(request);
}

/* Frees all. */
void sftp_done(struct sftp *sftp)
{
	struct sftp_request *request;
	void (*ready)(void *) = sftp->ready;
	void *data = sftp->data;

	while ((request = TAILQ_FIRST(&sftp->requests)))
		forget(sftp, request);
	text_done(&sftp->out);
	free(sftp->root);
	free(sftp->in);
	sftp_init(sftp, sftp->session, sftp->channels, sftp->directory);
	sftp->ready = ready;
	sftp->data = data;
}

/* Gives the connection up. */
void sftp_broken(struct sftp *sftp, const char *what)
{
	if (!sftp->session->lost)
		sftp->session->error = -EIO;
	session_lose(
		sftp->session, false, "the machine's SFTP server breaks the protocol: %s", what);
}

/* Starts a packet; its length is filled in at its end. */
static struct text *begin_packet(struct sftp *sftp, enum packet_type type)
{
	sftp->open_packet = sftp->out.size;
	packet_put_u32(&sftp->out, 0);
	packet_put_u8(&sftp->out, (uint8_t)type);
	return &sftp->out;
}

/* Fills the length in. */
static void end_packet(struct sftp *sftp)
{
	uint32_t length = (uint32_t)(sftp->out.size - sftp->open_packet - 4);
	unsigned char *at = (unsigned char *)sftp->out.data + sftp->open_packet;

	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(length >> (24 - 8 * i));
	session_wake(sftp->session);
}

/* Starts a request. */
struct text *sftp_begin(struct sftp *sftp, enum packet_type type, sftp_take *take, void *data)
{
	struct sftp_request *request = memory_new(sizeof(*request));
	struct text *out = begin_packet(sftp, type);

	request->id = ++sftp->last_id;
	request->take = take;
	request->data = data;
	TAILQ_INSERT_TAIL(&sftp->requests, request, link);
	sftp->outstanding++;
	packet_put_u32(out, request->id);
	return out;
}

/* Starts an extended request. */
struct text *sftp_begin_extended(struct sftp *sftp, const char *name, sftp_take *take, void *data)
{
	struct text *out = sftp_begin(sftp, PACKET_EXTENDED, take, data);

	packet_put_string(out, name, strlen(name));
	return out;
}

/* Ends the request that was begun last. */
void sftp_end(struct sftp *sftp, bool slow)
{
	struct sftp_request *request = TAILQ_LAST(&sftp->requests, sftp_request_list);

	end_packet(sftp);
	request->slow = slow;
	sftp->slow += slow;
	request->end = sftp->sent_before + sftp->out.size;
}

/* Start-up is over. */
static void enter(struct sftp *sftp, enum sftp_state state)
{
	sftp->state = state;
	sftp->since = sftp->now;
	if (state == SFTP_READY || state == SFTP_ABSENT)
		sftp->ready(sftp->data);
}

/* One answer of start-up came. */
static void started_part(struct sftp *sftp)
{
	if (--sftp->starting)
		return;
	if (sftp->root)
		enter(sftp, SFTP_READY);
}

/* A size that the server names, made usable: whole pieces of a large read or write. */
static uint32_t usable_size(uint64_t size)
{
	if (size == 0 || size >= LIMIT_PIECE)
		return LIMIT_PIECE;
	return size < PLAIN_SIZE ? PLAIN_SIZE : (uint32_t)size;
}

/* The answer to limits@openssh.com: packet, read, write, open handles. */
static void take_limits(void *data, const struct sftp_answer *answer)
{
	struct sftp *sftp = data;
	struct packet body = answer->body;

	if (answer->type == PACKET_EXTENDED_REPLY) {
		packet_u64(&body);
		uint64_t read_size = packet_u64(&body), write_size = packet_u64(&body);

		if (!body.bad) {
			sftp->read_size = usable_size(read_size);
			sftp->write_size = usable_size(write_size);
		}
	}
	started_part(sftp);
}

/* The absolute path of the root. */
static void take_root(void *data, const struct sftp_answer *answer)
{
	struct sftp *sftp = data;
	struct packet body = answer->body;
	size_t size;

	if (answer->type == PACKET_NAME && packet_u32(&body) == 1) {
		const char *root = packet_string(&body, &size);

		if (body.bad || size == 0 || size > FILES_PATH_MAX || root[0] != '/' ||
			memchr(root, '\0', size))
			return sftp_broken(sftp, "the path of the root is none");
		while (size > 1 && root[size - 1] == '/')
			size--;
		sftp->root = memory_format("%.*s", (int)size, root);
		return started_part(sftp);
	}
	if (answer->type != PACKET_STATUS || answer->status == SFTP_OK)
		return sftp_broken(sftp, "no answer to REALPATH");
	session_log(sftp->session, "files: the directory %s cannot be found on the machine",
		sftp->directory ? sftp->directory : ".");
	enter(sftp, SFTP_ABSENT);
}

/* The server's version came: ask for the rest. */
static void take_version(struct sftp *sftp, struct packet *body)
{
	const char *root = sftp->directory ? sftp->directory : ".";
	struct text *out;

	if (packet_u32(body) != 3)
		return sftp_broken(sftp, "its version is not 3");
	while (body->size && !body->bad) {
		size_t size, ignored;
		const char *name = packet_string(body, &size);

		packet_string(body, &ignored);
		for (size_t i = 0; i < sizeof(extensions) / sizeof(*extensions); i++)
			if (size == strlen(extensions[i].name) &&
				!memcmp(name, extensions[i].name, size))
				sftp->extensions |= extensions[i].bit;
	}
	sftp->starting = 1;
	if (sftp->extensions & SFTP_LIMITS) {
		sftp->starting++;
		sftp_begin_extended(sftp, "limits@openssh.com", take_limits, sftp);
		sftp_end(sftp, false);
	}
	if (!strncmp(root, "~/", 2))
		root += 2;
	out = sftp_begin(sftp, PACKET_REALPATH, take_root, sftp);
	packet_put_string(out, root, strlen(root));
	sftp_end(sftp, false);
	enter(sftp, SFTP_ROOT);
}

/* There is no server: its channel is of no use. */
static void be_missing(struct sftp *sftp)
{
	channels_drop(sftp->channels, sftp->channel);
	sftp->channel = NULL;
	session_log(sftp->session, "the machine has no SFTP server");
	sftp_refuse(sftp);
}

/* It is not to be used. */
void sftp_refuse(struct sftp *sftp)
{
	sftp->missing = true;
	enter(sftp, SFTP_ABSENT);
}

/* Takes the channel and asks for the subsystem. */
static bool turn_subsystem(struct sftp *sftp)
{
	if (sftp->state == SFTP_CLOSED && sftp->channels->want_files == CHANNELS_REFUSED) {
		enter(sftp, SFTP_ABSENT);
		return true;
	}
	if (sftp->state == SFTP_CLOSED) {
		sftp->channel = channels_take_files(sftp->channels);
		if (!sftp->channel)
			return false;
		sftp->in = memory_new(INPUT_SIZE);
		enter(sftp, SFTP_SUBSYSTEM);
	}
	int result = session_result(sftp->session, libssh2_channel_process_startup(sftp->channel,
		"subsystem", 9, "sftp", 4));

	if (result == -EIO) {
		be_missing(sftp);
		return true;
	}
	if (result < 0)
		return false;
	packet_put_u32(begin_packet(sftp, PACKET_INIT), 3);
	end_packet(sftp);
	enter(sftp, SFTP_VERSION);
	return true;
}

/* Gives packets to libssh2, as far as the channel's window and our own output buffer go. */
static bool send_more(struct sftp *sftp)
{
	size_t before = sftp->sent;

	while (sftp->sent < sftp->out.size && wire_queued(sftp->session->wire) < LIMIT_OUTPUT) {
		int result = session_result(sftp->session, libssh2_channel_write(sftp->channel,
			sftp->out.data + sftp->sent, sftp->out.size - sftp->sent));

		if (result == -EIO && sftp->state != SFTP_VERSION)
			session_lose(sftp->session, false, "the machine's SFTP server ended");
		if (result <= 0)
			break;
		sftp->sent += (size_t)result;
	}
	bool moved = sftp->sent > before;

	/* Moving the rest is only worth it when there is less of it than was sent. */
	if (sftp->sent > sftp->out.size / 2) {
		sftp->sent_before += sftp->sent;
		text_consume(&sftp->out, sftp->sent);
		sftp->sent = 0;
	}
	return moved;
}

/* The request with that id, or NULL. Servers answer in order, so it is found near the front. */
static struct sftp_request *find(struct sftp *sftp, uint32_t id)
{
	struct sftp_request *request;

	TAILQ_FOREACH(request, &sftp->requests, link)
		if (request->id == id)
			return request;
	return NULL;
}

/* Hands one packet to whom it answers. */
static void take_packet(struct sftp *sftp, int type, struct packet *body)
{
	struct sftp_answer answer = { .type = (uint8_t)type };

	if (sftp->state == SFTP_VERSION) {
		if (type != PACKET_VERSION)
			return sftp_broken(sftp, "the first packet is not a version");
		return take_version(sftp, body);
	}
	struct sftp_request *request = find(sftp, packet_u32(body));

	if (!request)
		return sftp_broken(sftp, "an answer to no request");
	if (type == PACKET_STATUS)
		answer.status = packet_u32(body);
	if (body->bad)
		return sftp_broken(sftp, "a packet is too short");
	answer.body = *body;
	sftp_take *take = request->take;
	void *data = request->data;

	forget(sftp, request);
	sftp->since = sftp->now;
	take(data, &answer);
}

/* Takes whole packets off the input. */
static void take_packets(struct sftp *sftp)
{
	size_t size;
	int type = 0;

	while (!sftp->session->lost) {
		unsigned char *first = sftp->in + sftp->in_start;

		type = packet_next(first, sftp->in_end - sftp->in_start, &size);
		if (type < 0)
			break;
		struct packet body = { first + 5, size - 5, false };

		sftp->in_start += size;
		take_packet(sftp, type, &body);
	}
	if (type == -EPROTO)
		sftp_broken(sftp, "the length of a packet is impossible");
}

/* Reads what the channel has to the end of the input; as session_result. What is there is less than one
 * packet, so that there is always room. */
static int receive(struct sftp *sftp)
{
	if (sftp->in_start && (sftp->in_start == sftp->in_end || INPUT_SIZE - sftp->in_end < INPUT_ROOM)) {
		sftp->in_end -= sftp->in_start;
		memmove(sftp->in, sftp->in + sftp->in_start, sftp->in_end);
		sftp->in_start = 0;
	}
	int result = session_result(sftp->session, libssh2_channel_read(sftp->channel,
		(char *)sftp->in + sftp->in_end, INPUT_SIZE - sftp->in_end));

	if (result > 0)
		sftp->in_end += (size_t)result;
	return result;
}

/* Takes what the channel has. */
static bool receive_more(struct sftp *sftp)
{
	bool moved = false;
	char said[1024];

	while (!sftp->session->lost && receive(sftp) > 0) {
		take_packets(sftp);
		moved = true;
	}
	/* What a server says on its standard error is of no interest, but libssh2 tells no end before it. */
	while (!sftp->session->lost && session_result(sftp->session,
			libssh2_channel_read_stderr(sftp->channel, said, sizeof(said))) > 0)
		moved = true;
	if (sftp->session->lost || !libssh2_channel_eof(sftp->channel))
		return moved;
	/* A server that has the subsystem, but not its program, starts it all the same. */
	if (sftp->state == SFTP_VERSION)
		be_missing(sftp);
	else
		session_lose(sftp->session, false, "the machine's SFTP server ended");
	return true;
}

/* Does what can be done now. */
bool sftp_turn(struct sftp *sftp)
{
	bool moved = false;

	if (sftp->state == SFTP_CLOSED || sftp->state == SFTP_SUBSYSTEM)
		moved = turn_subsystem(sftp);
	if (sftp->state < SFTP_VERSION || sftp->state == SFTP_ABSENT || sftp->session->lost)
		return moved;
	moved |= send_more(sftp);
	if (!sftp->session->lost)
		moved |= receive_more(sftp);
	/* What the answers led to goes out in the same turn. */
	if (sftp->channel && !sftp->session->lost && sftp->out.size > sftp->sent)
		moved |= send_more(sftp);
	return moved;
}

/* The server does not answer. */
static void timed_out(struct sftp *sftp, const char *what, unsigned limit)
{
	if (!sftp->session->lost)
		sftp->session->error = -ETIMEDOUT;
	session_lose(sftp->session, false, "no answer to %s in %u seconds", what, limit / 1000);
}

/* Looks at the limits. */
void sftp_clock(struct sftp *sftp)
{
	struct sftp_request *request;
	unsigned limit = sftp->slow ? LIMIT_SLOW : LIMIT_ANSWER;
	uint64_t sent = sftp->sent_before + sftp->sent;

	if (sftp->state > SFTP_CLOSED && sftp->state < SFTP_READY) {
		if (sftp->now - sftp->since > LIMIT_FILES)
			timed_out(sftp, "the start of SFTP", LIMIT_FILES);
		return;
	}
	TAILQ_FOREACH(request, &sftp->requests, link) {
		if (request->end > sent)
			break;
		if (!request->since)
			request->since = sftp->now;
		uint64_t quiet = request->since > sftp->since ? request->since : sftp->since;

		if (sftp->now - quiet > limit)
			return timed_out(sftp, "a file request", limit);
		if (sftp->now - request->since > LIMIT_EVER)
			return timed_out(sftp, "a file request", LIMIT_EVER);
	}
}

/* Nobody needs the answer but the clock of the wire. */
static void take_nothing(void *data, const struct sftp_answer *answer)
{
}

/* Asks for a sign of life. */
void sftp_ping(struct sftp *sftp)
{
	struct text *out = sftp_begin(sftp, PACKET_REALPATH, take_nothing, sftp);

	packet_put_string(out, ".", 1);
	sftp_end(sftp, false);
}
