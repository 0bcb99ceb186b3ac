/* SPDX-License-Identifier: MIT */
/*
 * A spool: the newest bytes of a stream, kept in a file of bounded size, with the
 * stream's own absolute offsets. One process appends (the shim), others read (the
 * daemon) without locks.
 *
 * The file: a header page of 4096 bytes, then a ring of `limit` bytes in which the
 * byte at stream offset N stands at N % limit. The header: 8 bytes magic
 * "poolspl1", then native uint64_t limit, start, end. The writer moves `start`
 * before it overwrites, and `end` after it wrote; it moves `start` down only when it has put bytes
 * in front of the stream (spool_lower). A reader takes the header, the
 * bytes, and the header again: bytes below the second `start` may have been
 * overwritten under it and are not used.
 */
#ifndef PROTOCOL_SPOOL_H
#define PROTOCOL_SPOOL_H

#include <stdint.h>
#include <sys/types.h>

struct spool_writer;

/* Makes the file `name` in directory dirfd (mode 0600, replacing one that is there) for a stream
 * whose first byte has the offset base. limit: bytes, at least 4096. 0 or a negative errno. */
int spool_writer_new(int dirfd, const char *name, uint64_t limit, uint64_t base,
	struct spool_writer **writer);
void spool_writer_free(struct spool_writer *writer);

/* Appends; the oldest bytes go where the limit demands it. A write that fails (disk full) drops these
 * bytes from the front as well: start == end then, and the errno is returned once per call. The
 * offsets count on in any case. */
int spool_append(struct spool_writer *writer, const void *data, size_t size);
/* Opens a file that spool_writer_new made, after its writer was freed, to append or prepend. 0 or a
 * negative errno (-EPROTO: it is no such file). */
int spool_writer_open(int dirfd, const char *name, struct spool_writer **writer);
/* Writes bytes that stand before the spool's start, but not below end - limit. They count from
 * spool_lower on, which moves the start down to `start` (at least end - limit) when all from there on
 * are written: the one time that a start moves down. 0 or a negative errno (-EINVAL: not before
 * the start, or below end - limit). */
int spool_prepend(struct spool_writer *writer, uint64_t offset, const void *data, size_t size);
int spool_lower(struct spool_writer *writer, uint64_t start);
uint64_t spool_start(const struct spool_writer *writer);
uint64_t spool_end(const struct spool_writer *writer);

struct spool_reader;

/* Opens for reading; checks magic and limit. 0 or a negative errno (-ENOENT, -EPROTO, ...). */
int spool_reader_new(int dirfd, const char *name, struct spool_reader **reader);
void spool_reader_free(struct spool_reader *reader);

/*
 * Reads up to size bytes at stream offset *offset. When that lies below the spool's start, *offset is
 * moved up to the start first; it then is the offset of the first byte returned (the caller adds
 * what was read). Returns the number of bytes, 0 at the end, or a negative errno (-EPROTO when the
 * header makes no sense; the reader trusts nothing in the file).
 */
ssize_t spool_read(struct spool_reader *reader, uint64_t *offset, void *buffer, size_t size);

#endif
