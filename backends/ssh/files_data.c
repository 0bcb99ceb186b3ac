/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing files.
 *
 * A read or write of up to FILES_DATA_MAX bytes is split into pieces that the server
 * takes, all sent at once. A file that was opened to append and not to read is written at
 * the end that it has on the machine, whatever offset the caller names: others may
 * append there too. One that was opened to read too is written at the caller's offsets: it may
 * be mapped to memory, whose pages have their place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/job.h"

struct piece {
	struct job *job;
	uint32_t start, size;	/* in the whole read or write */
	uint32_t got;		/* bytes that came */
};

/* Cuts a transfer into pieces. */
static void make_pieces(struct job *job, uint32_t total, uint32_t each)
{
	job->count = total / each + (total % each != 0);
	job->pieces = memory_new(job->count * sizeof(*job->pieces));
	for (unsigned i = 0; i < job->count; i++) {
		struct piece *piece = &job->pieces[i];

		piece->job = job;
		piece->start = i * each;
		piece->size = total - piece->start < each ? total - piece->start : each;
	}
}

static void take_read(void *data, const struct sftp_answer *answer);

/* Asks for what a piece lacks. */
static int ask_read(struct piece *piece)
{
	struct job *job = piece->job;
	struct handle *handle = job_handle(job);

	if (!handle)
		return -EBADF;
	struct text *out = job_ask_handle(job, PACKET_READ, handle, piece, take_read);

	packet_put_u64(out, job->request.offset + piece->start + piece->got);
	packet_put_u32(out, piece->size - piece->got);
	job_asked(job);
	return 0;
}

/* All pieces came: up to the first gap they are the answer. */
static void finish_read(struct job *job)
{
	uint32_t size = 0;

	for (unsigned i = 0; i < job->count; i++) {
		size += job->pieces[i].got;
		if (job->pieces[i].got < job->pieces[i].size)
			break;
	}
	job->reply.count = size;
	job_end(job, job->error, job->buffer, size);
}

/*
 * One answer to a read. A short one at the file's known end is the end; any other short one need
 * not be, so the rest is asked for, until nothing more comes.
 */
static void take_read(void *data, const struct sftp_answer *answer)
{
	struct piece *piece = data;
	struct job *job = piece->job;
	struct packet body = answer->body;
	struct handle *handle = job_handle(job);
	size_t size = 0;

	if (answer->type != PACKET_STATUS || answer->status != SFTP_EOF) {
		int error = job_expect(job, answer, PACKET_DATA);
		const char *bytes = error ? "" : packet_string(&body, &size);

		if (!error && (body.bad || size > piece->size - piece->got))
			error = -EIO;
		if (error) {
			job->error = error;
			return job_part(job);
		}
		memcpy(job->buffer + piece->start + piece->got, bytes, size);
		piece->got += (uint32_t)size;
	}
	uint64_t end = job->request.offset + piece->start + piece->got;

	if (size && piece->got < piece->size && !(handle && end == handle->file_size)) {
		int error = ask_read(piece);

		if (error)
			job->error = error;
	}
	job_part(job);
}

/* A large one comes often, and is kept. */
void job_buffer(struct job *job)
{
	struct files *files = job->files;

	if (job->request.length <= READ_SMALL) {
		job->buffer = memory_grow(NULL, job->request.length);
		return;
	}
	job->buffer = files->spare ? files->spare : memory_grow(NULL, FILES_DATA_MAX);
	files->spare = NULL;
}

/* Reads in pieces, sent at once. */
int data_read_plain(struct job *job)
{
	if (!job_handle(job))
		return -EBADF;
	job->finish = finish_read;
	job_buffer(job);
	make_pieces(job, job->request.length, job->files->sftp->read_size);
	for (unsigned i = 0; i < job->count; i++)
		ask_read(&job->pieces[i]);
	return 0;
}

/* FILE_READ */
int data_read(struct job *job)
{
	struct handle *handle = job_handle(job);
	uint32_t length = job->request.length;

	if (!handle || handle->listing)
		return -EBADF;
	if (length == 0 || length > FILES_DATA_MAX ||
		job->request.offset > (uint64_t)INT64_MAX - length)
		return -EINVAL;
	return ahead_read(job, handle) ? 0 : data_read_plain(job);
}

/* The filesystem's numbers came, to tell whether it is full. */
static void take_space(void *data, const struct sftp_answer *answer)
{
	struct job *job = data;
	struct packet body = answer->body;

	if (answer->type == PACKET_EXTENDED_REPLY) {
		for (int i = 0; i < 4; i++)
			packet_u64(&body);
		if (packet_u64(&body) == 0 && !body.bad)
			job->error = -ENOSPC;
	}
	job_part(job);
}

/* All pieces are written, or not. */
static void finish_write(struct job *job)
{
	struct handle *handle = job_handle(job);
	struct sftp *sftp = job->files->sftp;

	job->reply.count = job->request.data_size;
	if (job->error == -EIO && handle && sftp->extensions & SFTP_FSTATVFS) {
		job->finish = job_finish_status;
		packet_put_string(
			sftp_begin_extended(sftp, "fstatvfs@openssh.com", take_space, job),
			handle->name, handle->size);
		return job_asked(job);
	}
	job_finish_status(job);
}

/* One piece is written, or not. */
static void take_write(void *data, const struct sftp_answer *answer)
{
	struct job *job = data;
	int error = job_expect(job, answer, PACKET_STATUS);

	if (error)
		job->error = error;
	job_part(job);
}

/* FILE_WRITE */
int data_write(struct job *job)
{
	struct handle *handle = job_handle(job);
	uint32_t size = job->request.data_size, each = job->files->sftp->write_size;
	uint64_t offset = job->request.offset;

	if (!handle || handle->listing)
		return -EBADF;
	if (size == 0 || size > FILES_DATA_MAX || offset > (uint64_t)INT64_MAX - size)
		return -EINVAL;
	job->finish = finish_write;
	for (uint32_t start = 0; start < size; start += each) {
		uint32_t length = size - start < each ? size - start : each;
		struct text *out = job_ask_handle(job, PACKET_WRITE, handle, job, take_write);

		packet_put_u64(out, offset + start);
		packet_put_string(out, (const char *)job->bytes + start, length);
		job_asked(job);
	}
	handle->written = true;
	ahead_drop(handle);
	if (offset + size > handle->file_size)
		handle->file_size = offset + size;
	return 0;
}

/* The directory is synced, or not: it is closed in any case. */
static void finish_sync_directory(struct job *job)
{
	handle_drop(job);
	job_finish_status(job);
}

/* The directory is open: syncs it. A server that opens none as a file cannot do it. */
static void finish_open_directory(struct job *job)
{
	bool told = job->status == SFTP_NO_SUCH_FILE || job->status == SFTP_PERMISSION_DENIED;

	if (job->error)
		return job_end(job, told ? job->error : -ENOSYS, NULL, 0);
	job->finish = finish_sync_directory;
	packet_put_string(sftp_begin_extended(job->files->sftp, "fsync@openssh.com",
		job_take_status, job), job->handle, job->handle_size);
	job_asked(job);
}

/* Syncs a directory: SFTP has it for files only, but to OpenSSH's server a directory that is opened to
 * read is one. The "." lets it open nothing else, not a FIFO, which it would wait for. */
static int sync_directory(struct job *job)
{
	char *path = memory_format("%s/.", job->full);
	guess_take(job);
	struct text *out = job_ask(job, PACKET_OPEN, path, job_take_handle);

	free(path);
	packet_put_u32(out, PACKET_READ_FLAG);
	packet_put_attr(out, &job->request.attr, 0);
	job->finish = finish_open_directory;
	job->slow = true;
	job_asked(job);
	return 0;
}

/* FILE_FSYNC */
int data_fsync(struct job *job)
{
	struct handle *handle = job_handle(job);
	struct sftp *sftp = job->files->sftp;

	if (job->request.handle && (!handle || handle->listing))
		return -EBADF;
	if (!(sftp->extensions & SFTP_FSYNC))
		return -ENOSYS;
	if (!handle)
		return sync_directory(job);
	job->finish = job_finish_status;
	job->slow = true;
	packet_put_string(sftp_begin_extended(sftp, "fsync@openssh.com", job_take_status, job),
		handle->name, handle->size);
	job_asked(job);
	return 0;
}

/* The copy is made. The server does not say how much of it; a source that was shorter by then is told
 * by its end. */
static void finish_copy(struct job *job)
{
	job->reply.count = job->request.length;
	if (job->error && (job->status == SFTP_FAILURE || job->status == SFTP_EOF ||
			job->status == SFTP_OP_UNSUPPORTED))
		job->error = -EOPNOTSUPP;
	job_finish_status(job);
}

/* The source's size came: what of the copy lies within it is copied. (The extension is described in
 * draft-ietf-secsh-filexfer-extensions-00, section 7; there a length of 0 means all.) */
static void finish_copy_look(struct job *job)
{
	struct handle *from = job_handle(job), *to = handle_find(job->files, job->request.handle2);
	uint64_t left = job->look.size > job->request.offset ? job->look.size - job->request.offset : 0;

	if (left < job->request.length)
		job->request.length = (uint32_t)left;
	if (job->look_error || !left || !from || !to) {
		job->error = job->look_error ? job->look_error : left ? -EBADF : 0;
		return job_finish_status(job);
	}
	job->finish = finish_copy;
	struct text *out = sftp_begin_extended(job->files->sftp, "copy-data", job_take_status, job);

	packet_put_string(out, from->name, from->size);
	packet_put_u64(out, job->request.offset);
	packet_put_u64(out, job->request.length);
	packet_put_string(out, to->name, to->size);
	packet_put_u64(out, job->request.offset2);
	job_asked(job);
	to->written = true;
	if (job->request.offset2 + job->request.length > to->file_size)
		to->file_size = job->request.offset2 + job->request.length;
}

/* FILE_COPY */
int data_copy(struct job *job)
{
	struct handle *from = job_handle(job), *to = handle_find(job->files, job->request.handle2);

	if (!from || !to || from->listing || to->listing)
		return -EBADF;
	if (!(job->files->sftp->extensions & SFTP_COPY_DATA))
		return -EOPNOTSUPP;
	job->finish = finish_copy_look;
	job->slow = true;
	ahead_drop(to);
	job_ask_handle(job, PACKET_FSTAT, from, job, job_take_look);
	job_asked(job);
	return 0;
}

/* FILE_CLOSE, of files and directories. The number is free at once: what fails has closed, too. */
int data_close(struct job *job)
{
	struct handle *handle = job_handle(job);

	if (!handle)
		return -EBADF;
	job->finish = job_finish_status;
	job->slow = handle->written;
	job_ask_handle(job, PACKET_CLOSE, handle, job, job_take_status);
	job_asked(job);
	guess_closed(job->files, handle->name, handle->size);
	handle_forget(job->files, handle);
	return 0;
}
