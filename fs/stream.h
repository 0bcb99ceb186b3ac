/* SPDX-License-Identifier: MIT */
/*
 * A stream: bytes that grow at their end, with offsets that never change, which many
 * readers follow. It lives in memory (ready, exit, events) or in a file that the shim
 * writes (console, log, a run's output); the oldest bytes may be dropped. A read at the
 * end of a stream that has not ended waits, when the file is one that waits.
 *
 * A reader who stands where bytes were dropped gets the line
 * "[poolfs: N bytes dropped]" in their place and goes on with what is kept; from
 * there on its file offsets and the stream's offsets differ, which is what struct
 * stream_cursor keeps for each open file.
 *
 * Loop's thread only.
 */
#ifndef FS_STREAM_H
#define FS_STREAM_H

#include <sys/queue.h>
#include <sys/types.h>
#include <time.h>

#include "backends/base/text.h"
#include "fs/request.h"

struct stream;

/*
 * Where a stream's bytes come from. As spool_read: up to size bytes at *offset, which is moved up
 * where older bytes are gone; 0 when there is nothing yet; a negative errno.
 */
typedef ssize_t stream_source(struct stream *stream, uint64_t *offset, void *buffer, size_t size);

struct stream {
	uint64_t start, end;	/* the kept bytes' offsets */
	uint64_t missing;	/* reads below this offset wait: the source has those bytes later */
	bool ended;		/* nothing will come any more */
	int error;		/* what reads at the end of an ended stream get; 0: the end of file */
	struct timespec changed;
	stream_source *source;
	void *owner;		/* for source */
	struct text memory;	/* of a stream in memory */
	size_t memory_limit;
	TAILQ_HEAD(, stream_reader) readers;	/* reads that wait */
	TAILQ_HEAD(, stream_poll) polls;
};

/* What one open file remembers between its reads. Zero-initialised. */
struct stream_cursor {
	uint64_t shift;		/* stream offset - file offset */
	uint64_t next;		/* file offset behind the last read */
	uint64_t gap_at;	/* file offset of the pending record's first byte */
	char gap[48];		/* the record, "" when there is none */
};

/* A stream in memory of at most limit bytes. */
void stream_init_memory(struct stream *stream, size_t limit);
/* A stream of another source. */
void stream_init(struct stream *stream, stream_source *source, void *owner);
/* Ends the stream, answers every waiting read, frees what is inside. */
void stream_done(struct stream *stream);

/* Appends to a stream in memory, and wakes its readers. */
void stream_append(struct stream *stream, const void *data, size_t size);
/* The source now holds start..end. Wakes readers. Offsets that go backwards are refused: false. */
bool stream_moved(struct stream *stream, uint64_t start, uint64_t end);
/* Nothing will come any more. Wakes readers. */
void stream_end(struct stream *stream);
/* The same, but reads there get this negative errno. Nothing when it has ended already. */
void stream_fail(struct stream *stream, int error);

/*
 * Answers a read of size bytes at the file's offset, now or (wait, and the stream has not ended)
 * when there are bytes. nonblock: -EAGAIN instead of waiting.
 */
void stream_read(struct stream *stream, struct stream_cursor *cursor, struct request *request,
	uint64_t offset, size_t size, bool wait, bool nonblock);

/*
 * Answers a poll: readable when a read where the last one ended would not wait. poller, when
 * not NULL, is fired at the next change, and owned by the stream from here on.
 */
void stream_poll(struct stream *stream, struct stream_cursor *cursor, struct request *request,
	bool wait, struct poller *poller);

#endif
