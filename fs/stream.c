/* SPDX-License-Identifier: MIT */
#include "fs/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"

/* A read that waits at the end. */
struct stream_reader {
	TAILQ_ENTRY(stream_reader) entry;
	struct stream *stream;
	struct stream_cursor *cursor;
	struct request *request;
	uint64_t offset;
	size_t size;
};

struct stream_poll {
	TAILQ_ENTRY(stream_poll) entry;
	const struct stream_cursor *cursor;	/* whose poll it is; never looked into */
	struct poller *poller;
};

/* More pollers than this on one stream: the oldest is fired early, which costs it one more poll. */
#define POLLS_MAX 1024

/* The longest answer to one read: what the kernel asks for at most, see fuse.c's max_read. */
#define READ_MAX 1048576u

/* The source of a stream in memory. */
static ssize_t memory_source(struct stream *stream, uint64_t *offset, void *buffer, size_t size)
{
	if (*offset < stream->start)
		*offset = stream->start;
	if (*offset >= stream->end)
		return 0;
	size_t there = (size_t)(stream->end - *offset);
	if (size > there)
		size = there;
	memcpy(buffer, stream->memory.data + (*offset - stream->start), size);
	return (ssize_t)size;
}

/* A stream in memory. */
void stream_init_memory(struct stream *stream, size_t limit)
{
	stream_init(stream, memory_source, NULL);
	stream->memory_limit = limit;
}

/* A stream of any source. */
void stream_init(struct stream *stream, stream_source *source, void *owner)
{
	*stream = (struct stream){ .source = source, .owner = owner };
	clock_gettime(CLOCK_REALTIME, &stream->changed);
	TAILQ_INIT(&stream->readers);
	TAILQ_INIT(&stream->polls);
}

/* Puts the record of dropped bytes where the cursor stands, and moves it behind them. */
static void cursor_skip(struct stream_cursor *cursor, uint64_t offset, uint64_t from, uint64_t to)
{
	int length = snprintf(cursor->gap, sizeof(cursor->gap), "[poolfs: %llu bytes dropped]\n",
		(unsigned long long)(to - from));

	cursor->gap_at = offset;
	cursor->shift = to - (offset + (uint64_t)length);
}

/* What is left of the pending record at this file offset; 0 when the offset is elsewhere. */
static size_t cursor_gap(struct stream_cursor *cursor, uint64_t offset, const char **text)
{
	size_t length = strlen(cursor->gap);

	if (!length || offset < cursor->gap_at || offset >= cursor->gap_at + length)
		return 0;
	*text = cursor->gap + (offset - cursor->gap_at);
	return length - (size_t)(offset - cursor->gap_at);
}

/* Answers with bytes, and remembers where the next read will be. */
static void answer(struct stream_cursor *cursor, struct request *request, uint64_t offset,
	const char *data, size_t size)
{
	cursor->next = offset + size;
	request_data(request, data, size);
}

/* Answers at the end. */
static void answer_end(struct stream *stream, struct request *request)
{
	if (stream->error)
		request_error(request, stream->error);
	else
		request_data(request, "", 0);
}

/* Tries to answer; false: there is nothing yet, and the request is untouched. */
static bool read_now(struct stream *stream, struct stream_cursor *cursor, struct request *request,
	uint64_t offset, size_t size)
{
	const char *gap = NULL;
	size_t length = cursor_gap(cursor, offset, &gap);

	if (length) {
		answer(cursor, request, offset, gap, length < size ? length : size);
		return true;
	}
	if (size > READ_MAX)
		size = READ_MAX;
	uint64_t wanted = offset + cursor->shift, at = wanted;
	if (wanted >= stream->end || wanted < stream->missing)
		return false;
	if (size > stream->end - wanted)
		size = (size_t)(stream->end - wanted);
	char *buffer = memory_grow(NULL, size);
	ssize_t got = stream->source(stream, &at, buffer, size);
	if (got >= 0 && at > wanted) {
		cursor_skip(cursor, offset, wanted, at);
		length = cursor_gap(cursor, offset, &gap);
		answer(cursor, request, offset, gap, length < size ? length : size);
	} else if (got > 0) {
		answer(cursor, request, offset, buffer, (size_t)got);
	} else if (got < 0) {
		request_error(request, (int)got);
	}
	free(buffer);
	return got != 0 || at > wanted;
}

/* The caller of a waiting read was interrupted. */
static void reader_interrupted(struct request *request, void *data)
{
	struct stream_reader *reader = data;

	TAILQ_REMOVE(&reader->stream->readers, reader, entry);
	free(reader);
	request_error(request, -EINTR);
}

/* Whether a read there that cannot be answered yet has reached the end; else what it wants is missing. */
static bool at_end(const struct stream *stream, const struct stream_cursor *cursor, uint64_t offset)
{
	return offset + cursor->shift >= stream->missing;
}

/* Answers a read or lets it wait. */
void stream_read(struct stream *stream, struct stream_cursor *cursor, struct request *request,
	uint64_t offset, size_t size, bool wait, bool nonblock)
{
	if (size == 0) {
		request_data(request, "", 0);
		return;
	}
	if (read_now(stream, cursor, request, offset, size))
		return;
	if (at_end(stream, cursor, offset) && (!wait || stream->ended)) {
		answer_end(stream, request);
		return;
	}
	if (nonblock) {
		request_error(request, -EAGAIN);
		return;
	}
	struct stream_reader *reader = memory_new(sizeof(*reader));
	*reader = (struct stream_reader){ .stream = stream,
		.cursor = cursor,
		.request = request,
		.offset = offset,
		.size = size };
	TAILQ_INSERT_TAIL(&stream->readers, reader, entry);
	request_wait(request, reader_interrupted, reader);
}

/* Takes a poll off the list and fires it. */
static void fire(struct stream *stream, struct stream_poll *poll)
{
	TAILQ_REMOVE(&stream->polls, poll, entry);
	poller_fire(poll->poller);
	free(poll);
}

/* Answers every waiting read that can be answered, and fires the polls. */
static void wake(struct stream *stream)
{
	struct stream_reader *reader = TAILQ_FIRST(&stream->readers);

	while (reader) {
		struct stream_reader *next = TAILQ_NEXT(reader, entry);
		bool answered = read_now(stream, reader->cursor, reader->request, reader->offset,
			reader->size);

		if (!answered && stream->ended &&
			at_end(stream, reader->cursor, reader->offset)) {
			answer_end(stream, reader->request);
			answered = true;
		}
		if (answered) {
			TAILQ_REMOVE(&stream->readers, reader, entry);
			free(reader);
		}
		reader = next;
	}
	while (!TAILQ_EMPTY(&stream->polls))
		fire(stream, TAILQ_FIRST(&stream->polls));
}

/* Appends in memory; the oldest bytes go, by whole quarters of the limit so that it is cheap. */
void stream_append(struct stream *stream, const void *data, size_t size)
{
	text_append(&stream->memory, data, size);
	if (stream->memory.size > stream->memory_limit) {
		size_t keep = stream->memory_limit - stream->memory_limit / 4;
		size_t drop = stream->memory.size - keep;

		text_consume(&stream->memory, drop);
		stream->start += drop;
	}
	stream->end += size;
	clock_gettime(CLOCK_REALTIME, &stream->changed);
	wake(stream);
}

/* Takes over the range that the source's writer told. */
bool stream_moved(struct stream *stream, uint64_t start, uint64_t end)
{
	if (end < stream->end || start < stream->start || start > end)
		return false;
	stream->start = start;
	stream->end = end;
	clock_gettime(CLOCK_REALTIME, &stream->changed);
	wake(stream);
	return true;
}

/* Ends the stream. */
void stream_end(struct stream *stream)
{
	if (stream->ended)
		return;
	stream->ended = true;
	wake(stream);
}

/* Ends the stream with an error. */
void stream_fail(struct stream *stream, int error)
{
	if (stream->ended)
		return;
	stream->error = error;
	stream_end(stream);
}

/* Ends and empties. */
void stream_done(struct stream *stream)
{
	stream->missing = 0;
	wake(stream);
	stream_end(stream);
	text_done(&stream->memory);
}

/* Keeps a poller for the next change, in place of the one that the same open file had. */
static void keep_poller(struct stream *stream, const struct stream_cursor *cursor,
	struct poller *poller)
{
	struct stream_poll *poll;
	int count = 0;

	TAILQ_FOREACH(poll, &stream->polls, entry) {
		if (poll->cursor == cursor) {
			poller_free(poll->poller);
			poll->poller = poller;
			return;
		}
		count++;
	}
	if (count >= POLLS_MAX)
		fire(stream, TAILQ_FIRST(&stream->polls));
	poll = memory_new(sizeof(*poll));
	*poll = (struct stream_poll){ .cursor = cursor, .poller = poller };
	TAILQ_INSERT_TAIL(&stream->polls, poll, entry);
}

/* Answers a poll. The poller is kept also when there is something to read: epoll(7) with edges does
 * not ask again before it is woken. */
void stream_poll(struct stream *stream, struct stream_cursor *cursor, struct request *request,
	bool wait, struct poller *poller)
{
	uint64_t at = cursor->next + cursor->shift;
	bool readable = at >= stream->missing && (!wait || stream->ended || at < stream->end);

	if (poller && stream->ended && readable)
		poller_free(poller);
	else if (poller)
		keep_poller(stream, cursor, poller);
	request_poll(request, readable ? POLLIN | POLLRDNORM : 0);
}
