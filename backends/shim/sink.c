/* SPDX-License-Identifier: MIT */
#include "backends/shim/sink.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/protocol/spool.h"
#include "backends/shim/shim.h"

static const char *const kind_names[] = {
	[SPOOL_CONSOLE] = "console",
	[SPOOL_LOG] = "log",
	[SPOOL_OUTPUT] = "output",
	[SPOOL_STDOUT] = "stdout",
	[SPOOL_STDERR] = "stderr",
	[SPOOL_TRANSCRIPT] = "transcript",
};

/* Prepares an empty stream. */
void sink_init(struct sink *sink, struct shim *shim, enum spool_kind kind, uint64_t run,
	uint64_t limit)
{
	*sink = (struct sink){ .shim = shim, .kind = kind, .run = run, .limit = limit,
		.keep = PROTOCOL_KEEP_NONE };
}

/* Sets where the stream begins. */
void sink_rebase(struct sink *sink, uint64_t base)
{
	sink->base = sink->start = sink->end = base;
	sink->dirty = true;
}

/* The file's name in the instance's directory. */
static void sink_name(const struct sink *sink, char *name, size_t size)
{
	if (sink->run == 0)
		snprintf(name, size, "%s", kind_names[sink->kind]);
	else
		snprintf(name, size, "run.%llu.%s", (unsigned long long)sink->run,
			kind_names[sink->kind]);
}

/* Says once that bytes are being dropped; the log itself cannot say so. */
static void sink_complain(struct sink *sink, int error)
{
	char name[64];

	if (error == 0 || sink->complained || sink->kind == SPOOL_LOG)
		return;
	sink->complained = true;
	sink_name(sink, name, sizeof(name));
	journal_printf(sink->shim, "%s: bytes are dropped: %s", name, strerror(-error));
}

/* Makes the file; what came before it could be made is gone. */
static int sink_open(struct sink *sink)
{
	char name[64];

	sink_name(sink, name, sizeof(name));
	int result = spool_writer_new(sink->shim->dirfd, name, sink->limit, sink->end,
		&sink->writer);
	if (result == 0)
		sink->made = true;
	return result;
}

/* Makes the file early. */
void sink_make(struct sink *sink)
{
	if (!sink->writer)
		sink_complain(sink, sink_open(sink));
}

/* Appends. */
void sink_append(struct sink *sink, const void *data, size_t size)
{
	int result = sink->writer ? 0 : sink_open(sink);

	if (sink->writer) {
		result = spool_append(sink->writer, data, size);
		sink->start = spool_start(sink->writer);
		sink->end = spool_end(sink->writer);
	} else {
		sink->start = sink->end += size;
	}
	sink->dirty = true;
	sink_complain(sink, result);
}

/* Readers who stand before the start have lost what lies between already. */
uint64_t sink_room(const struct sink *sink)
{
	uint64_t from = sink->keep;

	if (from == PROTOCOL_KEEP_NONE)
		return UINT64_MAX;
	if (from < sink->start)
		from = sink->start;
	return from < sink->end ? sink->limit - (sink->end - from) : sink->limit;
}

/* Counts on. */
void sink_pass(struct sink *sink, uint64_t end)
{
	sink->start = sink->end = end;
	sink->dirty = true;
}

/* Something is missing; where it begins only ever grows. */
void sink_miss(struct sink *sink, uint64_t from, uint64_t missing)
{
	if (sink->end > sink->limit && from < sink->end - sink->limit)
		from = sink->end - sink->limit;
	if (from > sink->missing_from)
		sink->missing_from = from;
	/* What was appended may have filled the spool: then nothing of it would be kept. */
	if (sink->missing_from > missing)
		sink->missing_from = missing;
	sink->missing = missing;
}

/* Nothing is missing. */
void sink_settle(struct sink *sink)
{
	sink->missing = sink->missing_from = 0;
	sink->dirty = true;
}

/* Opens the file again that was finished. */
static int sink_reopen(struct sink *sink)
{
	char name[64];

	if (!sink->made)
		return sink_open(sink);
	sink_name(sink, name, sizeof(name));
	return spool_writer_open(sink->shim->dirfd, name, &sink->writer);
}

/* Writes in front. */
int sink_prepend(struct sink *sink, uint64_t offset, const void *data, size_t size)
{
	uint64_t least = sink->end > sink->limit ? sink->end - sink->limit : 0;
	const char *bytes = data;

	if (!sink->writer) {
		int result = sink_reopen(sink);
		if (result < 0)
			return result;
	}
	if (sink->start != sink->missing)
		return -ENODATA;
	if (offset + size <= least)
		return 0;
	if (offset < least) {
		bytes += least - offset;
		size -= (size_t)(least - offset);
		offset = least;
	}
	return spool_prepend(sink->writer, offset, bytes, size);
}

/* What was written in front counts. */
void sink_lower(struct sink *sink, uint64_t start)
{
	int result = spool_lower(sink->writer, start);

	sink->start = spool_start(sink->writer);
	sink_complain(sink, result);
}

/* A reader. */
int sink_reader(const struct sink *sink, struct spool_reader **reader)
{
	char name[64];

	sink_name(sink, name, sizeof(name));
	return spool_reader_new(sink->shim->dirfd, name, reader);
}

/* Sends the notice. */
void sink_tell(struct sink *sink, bool always)
{
	struct frame_spool notice = { .kind = sink->kind,
		.start = sink->missing ? sink->missing_from : sink->start, .end = sink->end,
		.base = sink->kind == SPOOL_STDOUT ? sink->base : sink->missing };

	if (!sink->dirty && !always)
		return;
	sink->dirty = false;
	daemon_send(sink->shim, FRAME_SPOOL, sink->run, &notice, sizeof(notice), NULL, 0);
}

/* Closes the file. */
void sink_finish(struct sink *sink)
{
	spool_writer_free(sink->writer);
	sink->writer = NULL;
}

/* Removes the file. */
void sink_remove(struct sink *sink)
{
	char name[64];

	sink_finish(sink);
	if (!sink->made)
		return;
	sink_name(sink, name, sizeof(name));
	unlinkat(sink->shim->dirfd, name, 0);
	sink->made = false;
}
