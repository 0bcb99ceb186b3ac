/* SPDX-License-Identifier: MIT */
#include "fs/spooled.h"

#include <errno.h>
#include <stdio.h>

/* stream_source of a spooled stream. */
static ssize_t spooled_source(struct stream *stream, uint64_t *offset, void *buffer, size_t size)
{
	return spooled_read(stream->owner, offset, buffer, size);
}

/* Nothing is opened yet: the shim makes the file with the first byte. */
void spooled_init(struct spooled *spooled, const int *directory, const char *name)
{
	spooled->reader = NULL;
	spooled->users = 0;
	spooled->directory = directory;
	snprintf(spooled->name, sizeof(spooled->name), "%s", name);
	stream_init(&spooled->stream, spooled_source, spooled);
}

/* Closes the file. */
static void close_reader(struct spooled *spooled)
{
	spool_reader_free(spooled->reader);
	spooled->reader = NULL;
}

/* Ends the stream. */
void spooled_done(struct spooled *spooled)
{
	stream_done(&spooled->stream);
	close_reader(spooled);
}

/* One more open file. */
void spooled_use(struct spooled *spooled)
{
	spooled->users++;
}

/* One less. */
void spooled_unuse(struct spooled *spooled)
{
	if (--spooled->users == 0)
		close_reader(spooled);
}

/* Opens. Where that fails, or nothing was ever written, reads tell. */
void spooled_hold(struct spooled *spooled)
{
	if (spooled->users && !spooled->reader)
		spool_reader_new(*spooled->directory, spooled->name, &spooled->reader);
}

/* Opens it again at the next read. */
void spooled_renew(struct spooled *spooled)
{
	close_reader(spooled);
}

/* Reads, opening the file as needed. */
ssize_t spooled_read(struct spooled *spooled, uint64_t *offset, void *buffer, size_t size)
{
	if (!spooled->reader) {
		int result = spool_reader_new(*spooled->directory, spooled->name, &spooled->reader);

		/* The shim could not even make the file: all that came was dropped. */
		if (result == -ENOENT) {
			*offset = spooled->stream.end;
			return 0;
		}
		if (result < 0)
			return result;
	}
	return spool_read(spooled->reader, offset, buffer, size);
}
