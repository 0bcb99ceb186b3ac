/* SPDX-License-Identifier: MIT */
/*
 * Reading ahead. Who reads a file from front to back has it fetched in chunks, each one READ, more
 * with every read up to a window that hides the distance. Chunks of a file follow each other without gaps; the
 * reads that are under way wait for those that they need and take them as they come.
 *
 * The caller says for each read whether what was fetched before may serve it (FILES_AHEAD). It
 * may not be older than AHEAD_AGE either: a reader that pauses sees what the file has become.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/job.h"

/* How long a chunk may lie, in milliseconds. */
#define AHEAD_AGE 1000u

struct chunk {
	TAILQ_ENTRY(chunk) link;	/* of the file's, in their order */
	TAILQ_ENTRY(chunk) all;		/* of all */
	struct files *files;
	struct ahead *ahead;		/* NULL: nobody wants it any more */
	uint64_t offset;
	uint64_t came;			/* when, in milliseconds */
	uint32_t size, got;
	bool here;			/* the answer came */
	bool failed;			/* with an error, or too short */
	char bytes[];
};

struct ahead {
	struct files *files;
	struct handle *handle;
	uint32_t window;		/* bytes beyond what was asked for */
	struct chunk_list chunks;
	TAILQ_HEAD(, job) jobs;		/* reads that wait, in the order in which they came */
};

/* Frees a chunk whose answer came or never will. */
static void chunk_free(struct chunk *chunk)
{
	if (chunk->ahead)
		TAILQ_REMOVE(&chunk->ahead->chunks, chunk, link);
	TAILQ_REMOVE(&chunk->files->chunks, chunk, all);
	chunk->files->ahead_size -= chunk->size;
	free(chunk);
}

/* Nobody wants the file's chunks any more. */
static void drop_chunks(struct ahead *ahead)
{
	struct chunk *chunk;

	while ((chunk = TAILQ_FIRST(&ahead->chunks))) {
		if (chunk->here) {
			chunk_free(chunk);
		} else {
			TAILQ_REMOVE(&ahead->chunks, chunk, link);
			chunk->ahead = NULL;
		}
	}
	ahead->window = 0;
}

/* Takes a waiting read out. */
void ahead_cancel(struct job *job)
{
	if (job->ahead)
		TAILQ_REMOVE(&job->ahead->jobs, job, wait);
	job->ahead = NULL;
}

/* Reads what was not to be had ahead. */
static void read_alone(struct job *job)
{
	int error = data_read_plain(job);

	if (error)
		job_end(job, error, NULL, 0);
}

/* The file is written, or read in another way: those that wait are served by themselves. */
void ahead_drop(struct handle *handle)
{
	struct ahead *ahead = handle->ahead;
	struct job *job;

	if (!ahead)
		return;
	drop_chunks(ahead);
	while ((job = TAILQ_FIRST(&ahead->jobs))) {
		ahead_cancel(job);
		job->finish = read_alone;
		job_later(job, 0);
	}
}

/* The handle goes; reads of it cannot end any more. */
void ahead_forget(struct handle *handle)
{
	struct ahead *ahead = handle->ahead;
	struct job *job;

	if (!ahead)
		return;
	drop_chunks(ahead);
	while ((job = TAILQ_FIRST(&ahead->jobs))) {
		ahead_cancel(job);
		job_later(job, -EBADF);
	}
	free(ahead);
	handle->ahead = NULL;
}

/* The connection is gone: no answer comes any more. */
void ahead_done(struct files *files)
{
	struct chunk *chunk;

	while ((chunk = TAILQ_FIRST(&files->chunks)))
		chunk_free(chunk);
}

/* The chunk that holds the byte at offset, or NULL. */
static struct chunk *chunk_at(const struct ahead *ahead, uint64_t offset)
{
	struct chunk *chunk;

	TAILQ_FOREACH(chunk, &ahead->chunks, link)
		if (offset >= chunk->offset && offset < chunk->offset + chunk->size)
			return chunk;
	return NULL;
}

enum served { SERVED_WAITS, SERVED_WHOLE, SERVED_NOT };

/* Whether the chunks from `first` on give the read what it wants, up to the file's end; *size is how much. */
static enum served measure(const struct job *job, const struct chunk *first, uint32_t *size)
{
	uint64_t end = job->request.offset + job->request.length;
	const struct chunk *chunk = first;

	for (; chunk; chunk = TAILQ_NEXT(chunk, link)) {
		uint64_t there = chunk->offset + chunk->got;

		if (!chunk->here)
			return SERVED_WAITS;
		if (chunk->failed || there < job->request.offset)
			return SERVED_NOT;
		if (there >= end || chunk->got < chunk->size) {
			*size = (uint32_t)((there < end ? there : end) - job->request.offset);
			return SERVED_WHOLE;
		}
	}
	return SERVED_NOT;
}

/* Answers with size bytes of the chunks; mostly of one, which is given as it is. */
static void answer(struct job *job, const struct chunk *chunk, uint32_t size)
{
	uint64_t offset = job->request.offset;
	const char *bytes = chunk->bytes + (offset - chunk->offset);

	if (offset + size > chunk->offset + chunk->got) {
		job_buffer(job);
		for (uint32_t done = 0; done < size; chunk = TAILQ_NEXT(chunk, link)) {
			uint32_t start = (uint32_t)(offset + done - chunk->offset);
			uint32_t part = chunk->got - start < size - done ? chunk->got - start : size - done;

			memcpy(job->buffer + done, chunk->bytes + start, part);
			done += part;
		}
		bytes = job->buffer;
	}
	job->reply.count = size;
	job_end(job, 0, bytes, size);
}

/* Frees what lies before the reads that are still to come. */
static void release(struct ahead *ahead, uint64_t end)
{
	struct chunk *chunk, *next;
	const struct job *job;

	TAILQ_FOREACH(job, &ahead->jobs, wait)
		if (job->request.offset < end)
			end = job->request.offset;
	for (chunk = TAILQ_FIRST(&ahead->chunks); chunk && chunk->here; chunk = next) {
		next = TAILQ_NEXT(chunk, link);
		if (chunk->offset + chunk->size > end)
			break;
		chunk_free(chunk);
	}
}

/* Serves the reads that wait, in their order, as far as there is what they want. */
static void serve(struct ahead *ahead)
{
	struct job *job;

	while ((job = TAILQ_FIRST(&ahead->jobs))) {
		struct chunk *first = chunk_at(ahead, job->request.offset);
		uint32_t size = 0;
		enum served served = first ? measure(job, first, &size) : SERVED_NOT;

		if (served == SERVED_WAITS)
			return;
		if (served == SERVED_NOT)
			return ahead_drop(ahead->handle);
		uint64_t end = job->request.offset + size;

		ahead_cancel(job);
		answer(job, first, size);
		release(ahead, end);
	}
}

/* One chunk came. One that is shorter than asked for is the file's last, or of no use. */
static void take_chunk(void *data, const struct sftp_answer *answered)
{
	struct chunk *chunk = data;
	struct ahead *ahead = chunk->ahead;
	struct packet body = answered->body;
	size_t size = 0;

	if (!ahead)
		return chunk_free(chunk);
	if (answered->type == PACKET_DATA) {
		const char *bytes = packet_string(&body, &size);

		if (body.bad)
			return sftp_broken(chunk->files->sftp, "bytes are cut short");
		/* More than were asked for are of no use: the file fails when it is read. */
		if (size > chunk->size)
			size = 0;
		memcpy(chunk->bytes, bytes, size);
	} else if (answered->type != PACKET_STATUS) {
		return sftp_broken(chunk->files->sftp, "an answer of the wrong type");
	}
	chunk->here = true;
	chunk->came = chunk->files->sftp->now;
	chunk->got = (uint32_t)size;
	chunk->failed = size < chunk->size && chunk->offset + size != ahead->handle->file_size;
	serve(ahead);
}

/* Asks for the next chunk. */
static void ask(struct ahead *ahead, uint64_t offset, uint32_t size)
{
	struct files *files = ahead->files;
	struct chunk *chunk = memory_grow(NULL, sizeof(*chunk) + size);

	*chunk = (struct chunk){ .files = files, .ahead = ahead, .offset = offset, .size = size };
	TAILQ_INSERT_TAIL(&ahead->chunks, chunk, link);
	TAILQ_INSERT_TAIL(&files->chunks, chunk, all);
	files->ahead_size += size;
	struct text *out = sftp_begin(files->sftp, PACKET_READ, take_chunk, chunk);

	packet_put_string(out, ahead->handle->name, ahead->handle->size);
	packet_put_u64(out, offset);
	packet_put_u32(out, size);
	sftp_end(files->sftp, false);
}

/* Asks for chunks from offset to end, as far as the file and the limit go. */
static void fetch(struct ahead *ahead, uint64_t offset, uint64_t end)
{
	const struct chunk *last = TAILQ_LAST(&ahead->chunks, chunk_list);
	uint64_t at = last ? last->offset + last->size : offset;
	uint32_t each = ahead->files->sftp->read_size;

	if (end > ahead->handle->file_size)
		end = ahead->handle->file_size;
	for (; at < end && ahead->files->ahead_size + each <= LIMIT_READ_AHEAD; at += each)
		ask(ahead, at, each);
}

/* Whether the read goes on where the one before ended, or lies in what was fetched. */
static bool goes_on(const struct handle *handle, uint64_t offset)
{
	return offset == handle->read_end || (handle->ahead && chunk_at(handle->ahead, offset));
}

/* What was fetched has become old. */
static void drop_old(struct ahead *ahead)
{
	const struct chunk *first = TAILQ_FIRST(&ahead->chunks);

	if (first && first->here && ahead->files->sftp->now - first->came > AHEAD_AGE &&
		TAILQ_EMPTY(&ahead->jobs))
		drop_chunks(ahead);
}

/* Begins to read ahead. */
static struct ahead *begin(struct files *files, struct handle *handle)
{
	struct ahead *ahead = memory_new(sizeof(*ahead));

	ahead->files = files;
	ahead->handle = handle;
	TAILQ_INIT(&ahead->chunks);
	TAILQ_INIT(&ahead->jobs);
	return handle->ahead = ahead;
}

/* A turn later, what is there may be told. */
static void finish_ahead(struct job *job)
{
	if (job->ahead)
		serve(job->ahead);
}

/* Takes a read, if it is one of a row. false: it is to be done by itself. */
bool ahead_read(struct job *job, struct handle *handle)
{
	uint64_t offset = job->request.offset, end = offset + job->request.length;
	bool row = job->request.flags & FILES_AHEAD && goes_on(handle, offset);

	handle->read_end = end;
	if (!row || offset >= handle->file_size) {
		ahead_drop(handle);
		return false;
	}
	struct ahead *ahead = handle->ahead ? handle->ahead : begin(job->files, handle);

	drop_old(ahead);
	ahead->window = ahead->window ? 2 * ahead->window : job->request.length;
	if (ahead->window > LIMIT_WINDOW)
		ahead->window = LIMIT_WINDOW;
	fetch(ahead, offset, end + ahead->window);
	if (!chunk_at(ahead, offset)) {
		ahead_drop(handle);
		return false;
	}
	job->ahead = ahead;
	TAILQ_INSERT_TAIL(&ahead->jobs, job, wait);
	job->finish = finish_ahead;
	if (chunk_at(ahead, offset)->here)
		job_later(job, 0);
	return true;
}
