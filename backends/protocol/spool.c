/* SPDX-License-Identifier: MIT */
/*
 * The header is written with pwrite(2), not through a mapping: a store into a mapping ends the
 * process with SIGBUS when the file system is full. A reader may meet the header between two
 * fields of one write, or a value half written; it therefore checks that both values are in
 * order and only ever grow, and reads again when not.
 */
#include "backends/protocol/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/memory.h"

#define SPOOL_HEADER	4096u
#define SPOOL_LIMIT_MIN	4096u
#define SPOOL_LIMIT_MAX	((uint64_t)1 << 60)
/* A header that is still nonsense after so many looks is no accident. */
#define SPOOL_TRIES	8

struct spool_header {
	char magic[8];
	uint64_t limit;
	uint64_t start;
	uint64_t end;
};

static const char spool_magic[8] = { 'p', 'o', 'o', 'l', 's', 'p', 'l', '1' };

struct spool_writer {
	int fd;
	struct spool_header header;
};

struct spool_reader {
	int fd;
	uint64_t limit;
};

/* Writes all of size bytes at a place in the file. */
static int write_at(int fd, const void *data, size_t size, uint64_t place)
{
	const char *bytes = data;

	while (size > 0) {
		ssize_t count = pwrite(fd, bytes, size, (off_t)place);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count < 0 ? -errno : -ENOSPC;
		bytes += count;
		place += (uint64_t)count;
		size -= (size_t)count;
	}
	return 0;
}

/* Tells the readers where the stream begins and ends. */
static int publish(struct spool_writer *writer)
{
	return write_at(writer->fd, &writer->header.start, 2 * sizeof(uint64_t),
		offsetof(struct spool_header, start));
}

/* Fills the header page, all of it, so that later changes need no new block. */
static int write_header_page(struct spool_writer *writer)
{
	char page[SPOOL_HEADER] = { 0 };

	memcpy(page, &writer->header, sizeof(writer->header));
	return write_at(writer->fd, page, sizeof(page), 0);
}

/* Makes a spool's file. */
int spool_writer_new(int dirfd, const char *name, uint64_t limit, uint64_t base,
	struct spool_writer **out)
{
	if (limit < SPOOL_LIMIT_MIN || limit > SPOOL_LIMIT_MAX)
		return -EINVAL;
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;

	struct spool_writer *writer = memory_new(sizeof(*writer));
	writer->fd = fd;
	writer->header = (struct spool_header){ .limit = limit, .start = base, .end = base };
	memcpy(writer->header.magic, spool_magic, sizeof(spool_magic));
	int result = write_header_page(writer);
	if (result < 0) {
		unlinkat(dirfd, name, 0);
		spool_writer_free(writer);
		return result;
	}
	*out = writer;
	return 0;
}

/* Closes the file, which stays. */
void spool_writer_free(struct spool_writer *writer)
{
	if (!writer)
		return;
	close(writer->fd);
	free(writer);
}

/* Writes at most `limit` bytes at an offset of the stream, around the ring's corner where need be. */
static int write_ring(struct spool_writer *writer, uint64_t offset, const char *data, size_t size)
{
	uint64_t at = offset % writer->header.limit;
	uint64_t first = writer->header.limit - at;

	if (first > size)
		first = size;
	int result = write_at(writer->fd, data, first, SPOOL_HEADER + at);
	if (result == 0 && first < size)
		result = write_at(writer->fd, data + first, size - first, SPOOL_HEADER);
	return result;
}

/* Appends at most `limit` bytes in the order that readers rely on: start, bytes, end. */
static int append_piece(struct spool_writer *writer, const char *data, size_t size)
{
	struct spool_header *header = &writer->header;
	int result = 0;

	if (header->end + size - header->start > header->limit) {
		header->start = header->end + size - header->limit;
		result = publish(writer);
	}
	if (result == 0)
		result = write_ring(writer, header->end, data, size);
	header->end += size;
	if (result < 0)
		header->start = header->end;
	int told = publish(writer);
	return result < 0 ? result : told;
}

/* Appends. */
int spool_append(struct spool_writer *writer, const void *data, size_t size)
{
	const char *bytes = data;
	struct spool_header *header = &writer->header;

	if (size == 0)
		return 0;
	if (size > header->limit) {
		uint64_t skipped = size - header->limit;
		header->start = header->end += skipped;
		int result = publish(writer);
		if (result < 0) {
			header->start = header->end += header->limit;
			return result;
		}
		bytes += skipped;
		size = header->limit;
	}
	return append_piece(writer, bytes, size);
}

/* Writes in front of what is there; the ring has room for it. */
int spool_prepend(struct spool_writer *writer, uint64_t offset, const void *data, size_t size)
{
	const struct spool_header *header = &writer->header;

	if (offset + size > header->start || header->end - offset > header->limit)
		return -EINVAL;
	return write_ring(writer, offset, data, size);
}

/* Moves the start down. */
int spool_lower(struct spool_writer *writer, uint64_t start)
{
	struct spool_header *header = &writer->header;

	if (header->end > header->limit && start < header->end - header->limit)
		start = header->end - header->limit;
	if (start >= header->start)
		return 0;
	header->start = start;
	return publish(writer);
}

/* The first offset that is kept. */
uint64_t spool_start(const struct spool_writer *writer)
{
	return writer->header.start;
}

/* The offset of the next byte. */
uint64_t spool_end(const struct spool_writer *writer)
{
	return writer->header.end;
}

/* Reads size bytes at a place in the file; a file that is too short is malformed. */
static int read_at(int fd, void *buffer, size_t size, uint64_t place)
{
	char *bytes = buffer;

	while (size > 0) {
		ssize_t count = pread(fd, bytes, size, (off_t)place);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count < 0 ? -errno : -EPROTO;
		bytes += count;
		place += (uint64_t)count;
		size -= (size_t)count;
	}
	return 0;
}

/* Opens a file; a FIFO or a link in its place, or what is no spool, is refused. */
static int open_spool(int dirfd, const char *name, int flags, struct spool_header *header)
{
	struct stat st;
	int fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	int result = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EPROTO;
	if (result == 0)
		result = read_at(fd, header, sizeof(*header), 0);
	if (result == 0 && (memcmp(header->magic, spool_magic, sizeof(spool_magic)) != 0 ||
			header->limit < SPOOL_LIMIT_MIN || header->limit > SPOOL_LIMIT_MAX))
		result = -EPROTO;
	if (result == 0)
		return fd;
	close(fd);
	return result;
}

/* Opens a spool that was written. */
int spool_writer_open(int dirfd, const char *name, struct spool_writer **out)
{
	struct spool_header header;
	int fd = open_spool(dirfd, name, O_RDWR, &header);

	if (fd < 0)
		return fd;
	if (header.start > header.end || header.end - header.start > header.limit) {
		close(fd);
		return -EPROTO;
	}
	*out = memory_new(sizeof(**out));
	**out = (struct spool_writer){ .fd = fd, .header = header };
	return 0;
}

/* Opens a spool that another process writes. */
int spool_reader_new(int dirfd, const char *name, struct spool_reader **out)
{
	struct spool_header header;
	int fd = open_spool(dirfd, name, O_RDONLY, &header);

	if (fd < 0)
		return fd;
	*out = memory_new(sizeof(**out));
	(*out)->fd = fd;
	(*out)->limit = header.limit;
	return 0;
}

/* Closes. */
void spool_reader_free(struct spool_reader *reader)
{
	if (!reader)
		return;
	close(reader->fd);
	free(reader);
}

/* Takes start and end; false in *sane when they cannot be true. */
static int look(struct spool_reader *reader, uint64_t range[2], bool *sane)
{
	int result = read_at(reader->fd, range, 2 * sizeof(*range),
		offsetof(struct spool_header, start));

	*sane = result == 0 && range[0] <= range[1] && range[1] - range[0] <= reader->limit &&
		range[1] <= INT64_MAX;
	return result;
}

/* Reads stream bytes, around the ring's corner where need be. */
static int read_ring(struct spool_reader *reader, char *buffer, size_t size, uint64_t offset)
{
	uint64_t at = offset % reader->limit;
	uint64_t first = reader->limit - at;

	if (first > size)
		first = size;
	int result = read_at(reader->fd, buffer, first, SPOOL_HEADER + at);
	if (result == 0 && first < size)
		result = read_at(reader->fd, buffer + first, size - first, SPOOL_HEADER);
	return result;
}

/* One attempt of spool_read; -EAGAIN when the header was not in order, or the writer was faster. */
static ssize_t read_once(struct spool_reader *reader, uint64_t *offset, char *buffer, size_t size)
{
	uint64_t before[2], after[2];
	bool sane;

	int result = look(reader, before, &sane);
	if (result < 0 || !sane)
		return result < 0 ? result : -EAGAIN;
	if (*offset < before[0])
		*offset = before[0];
	if (*offset >= before[1] || size == 0)
		return 0;
	if (size > before[1] - *offset)
		size = before[1] - *offset;
	result = read_ring(reader, buffer, size, *offset);
	if (result == 0)
		result = look(reader, after, &sane);
	if (result < 0)
		return result;
	if (!sane || after[0] < before[0] || after[1] < before[1])
		return -EAGAIN;
	if (after[0] <= *offset)
		return (ssize_t)size;

	uint64_t lost = after[0] - *offset;
	*offset = after[0];
	if (lost >= size)
		return -EAGAIN;
	memmove(buffer, buffer + lost, size - lost);
	return (ssize_t)(size - lost);
}

/* Reads. */
ssize_t spool_read(struct spool_reader *reader, uint64_t *offset, void *buffer, size_t size)
{
	uint64_t from = *offset;

	for (int i = 0; i < SPOOL_TRIES; i++) {
		ssize_t count = read_once(reader, offset, buffer, size);
		if (count != -EAGAIN)
			return count;
	}
	/* Overtaken every time: nothing now, but the offset moved; else the header is nonsense. */
	return *offset > from ? 0 : -EPROTO;
}
