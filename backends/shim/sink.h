/* SPDX-License-Identifier: MIT */
/*
 * One stream that the shim keeps: a spool's file, made at the first byte, and the
 * notices about it. The offsets count on where the file cannot be made or written.
 */
#ifndef SHIM_SINK_H
#define SHIM_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/protocol/protocol.h"

struct shim;
struct spool_reader;
struct spool_writer;

struct sink {
	struct shim *shim;
	enum spool_kind kind;
	uint64_t run;		/* 0 for the console and the log */
	uint64_t limit;
	uint64_t base, start, end;
	uint64_t missing;	/* bytes below this offset are not in the file, those from missing_from */
	uint64_t missing_from;	/* on could be; 0: there are none such. Of a transcript; see past.h */
	uint64_t keep;		/* readers need the bytes from here on; PROTOCOL_KEEP_NONE */
	struct spool_writer *writer;	/* NULL: not made, or finished */
	bool made;		/* there is a file */
	bool dirty;		/* the daemon was not told of the newest bytes */
	bool complained;	/* that bytes were dropped because of an error */
};

void sink_init(struct sink *sink, struct shim *shim, enum spool_kind kind, uint64_t run,
	uint64_t limit);
/* Makes the stream begin at base; before its first byte. */
void sink_rebase(struct sink *sink, uint64_t base);
/* Makes the file although there is no byte yet. */
void sink_make(struct sink *sink);
/* Appends; never fails. The sink is dirty then. */
void sink_append(struct sink *sink, const void *data, size_t size);
/* How many bytes may be appended before any is dropped that readers need; UINT64_MAX: any number. */
uint64_t sink_room(const struct sink *sink);

/* The stream goes on up to end without being kept. Before its first byte is appended. */
void sink_pass(struct sink *sink, uint64_t end);
/* Sets what is missing; sink_settle: nothing is any more. */
void sink_miss(struct sink *sink, uint64_t from, uint64_t missing);
void sink_settle(struct sink *sink);
/* Puts bytes before those that the file holds, where the limit lets them stand; they count from
 * sink_lower on, which says that all from start on are there. 0 or a negative errno: -ENODATA
 * when there is no place before missing. */
int sink_prepend(struct sink *sink, uint64_t offset, const void *data, size_t size);
void sink_lower(struct sink *sink, uint64_t start);
/* A reader of the file, which the caller frees. 0 or a negative errno. */
int sink_reader(const struct sink *sink, struct spool_reader **reader);
/* Tells the daemon, when it does not know yet or `always`. */
void sink_tell(struct sink *sink, bool always);
/* No byte comes any more: closes the file, which stays. */
void sink_finish(struct sink *sink);
/* Removes the file. */
void sink_remove(struct sink *sink);

#endif
