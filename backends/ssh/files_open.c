/* SPDX-License-Identifier: MIT */
/*
 * Opening files. What a small file holds may come along: then its first READ is sent
 * together with the OPEN, for a handle that the server has not named yet.
 *
 * OpenSSH's server numbers handles with four bytes and takes the number that became free
 * last, so that is the guess (others do not, and are soon not guessed for any more). It
 * answers requests in their order; whatever a wrong guess reads is thrown away. Nothing is ever
 * written or closed by a guess, nor listed while it could be another directory that is open
 * (files_directory.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/ssh/errors.h"
#include "backends/ssh/job.h"

/* So many guesses in a row must have been right before one is used. */
#define GUESS_RIGHT 2u

/* A handle of the server's becomes free. */
void guess_closed(struct files *files, const unsigned char *name, size_t size)
{
	struct guess *guess = &files->guess;

	if (size != GUESS_SIZE || guess->count == GUESS_KEPT) {
		guess->count = guess->right = 0;
		return;
	}
	memcpy(guess->free[guess->count++], name, GUESS_SIZE);
}

/* The job is about to get a handle: which one, goes to job->guess. */
void guess_take(struct job *job)
{
	struct guess *guess = &job->files->guess;

	guess->pending++;
	job->guessed = guess->count > 0;
	if (job->guessed)
		memcpy(job->guess, guess->free[--guess->count], GUESS_SIZE);
}

/* The job got its handle, or none. */
void guess_check(struct job *job)
{
	struct guess *guess = &job->files->guess;

	guess->pending--;
	if (!job->guessed)
		return;
	if (job->error && guess->count < GUESS_KEPT) {
		memcpy(guess->free[guess->count++], job->guess, GUESS_SIZE);
		job->guessed = false;
	} else if (job->handle_size != GUESS_SIZE || memcmp(job->guess, job->handle, GUESS_SIZE) != 0) {
		guess->count = guess->right = 0;
		job->guessed = false;
	} else {
		guess->right++;
	}
}

/* Some before it were right. */
bool guess_usable(const struct job *job)
{
	return job->guessed && job->files->guess.right >= GUESS_RIGHT;
}

/* What an open file's type means for the one who opened it: only regular files are opened. */
static int type_error(const struct file_attr *attr)
{
	if (S_ISREG(attr->mode))
		return 0;
	if (S_ISDIR(attr->mode))
		return -EISDIR;
	return S_ISLNK(attr->mode) ? -ELOOP : -ENXIO;
}

/* The file is open; its bytes are given when they are as many as its size says. */
static void finish_opened(struct job *job)
{
	bool whole = job->first.size == job->look.size;

	if (job->done) {
		handle_add(job)->file_size = job->look.size;
		job->reply.attr = job->look;
	} else {
		handle_drop(job);
	}
	job_end(job, 0, job->first.data, whole ? job->first.size : 0);
}

/* Bytes of the file came, or not. */
static void take_first(void *data, const struct sftp_answer *answer)
{
	struct job *job = data;
	struct packet body = answer->body;
	size_t size;

	if (answer->type == PACKET_DATA) {
		const char *bytes = packet_string(&body, &size);

		if (body.bad)
			return sftp_broken(job->files->sftp, "bytes are cut short");
		/* More than were asked for: the file fails when it is read. */
		if (size <= job->request.length)
			text_append(&job->first, bytes, size);
	} else if (answer->type != PACKET_STATUS) {
		return sftp_broken(job->files->sftp, "an answer of the wrong type");
	}
	job_part(job);
}

/* Asks for the file's bytes by its handle, or by what that is going to be. */
static void ask_first(struct job *job, const unsigned char *name, size_t size)
{
	struct text *out = sftp_begin(job->files->sftp, PACKET_READ, take_first, job);

	packet_put_string(out, name, size);
	packet_put_u64(out, 0);
	packet_put_u32(out, job->request.length);
	job_asked(job);
}

/* Why it was not opened. */
static int open_error(const struct job *job)
{
	if (job->status != SFTP_FAILURE || job->look_error)
		return job->error;
	if (job->request.flags & O_EXCL)
		return -EEXIST;
	return type_error(&job->look) ? type_error(&job->look) : job->error;
}

/* All answers are there. */
static void finish_open(struct job *job)
{
	if (job->error)
		return job_end(job, open_error(job), NULL, 0);
	int error = job->look_error ? job->look_error : type_error(&job->look);
	if (error) {
		handle_drop(job);
		return job_end(job, error, NULL, 0);
	}
	if (job->asked_first && job->guessed)
		return finish_opened(job);
	text_consume(&job->first, job->first.size);
	if (!job->done || !job->look.size || job->look.size > job->request.length)
		return finish_opened(job);
	job->finish = finish_opened;
	ask_first(job, job->handle, job->handle_size);
}

/* The protocol's flags for open(2)'s. */
static uint32_t open_flags(uint32_t flags)
{
	uint32_t result = 0;

	if ((flags & O_ACCMODE) != O_WRONLY)
		result |= PACKET_READ_FLAG;
	if ((flags & O_ACCMODE) != O_RDONLY)
		result |= PACKET_WRITE_FLAG;
	if ((flags & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND))
		result |= PACKET_APPEND_FLAG;
	if (flags & O_CREAT)
		result |= PACKET_CREATE_FLAG;
	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		result |= PACKET_EXCL_FLAG;
	if (flags & O_TRUNC)
		result |= PACKET_TRUNC_FLAG;
	return result;
}

/* FILE_OPEN: open, look, and perhaps read, in one go. */
int data_open(struct job *job)
{
	struct files *files = job->files;
	uint32_t flags = job->request.flags;

	if (files->handle_count >= LIMIT_HANDLES)
		return -ENFILE;
	if ((flags & (O_ACCMODE | O_CREAT | O_TRUNC)) != O_RDONLY)
		job->request.length = 0;
	if (job->request.length > files->sftp->read_size)
		job->request.length = files->sftp->read_size;
	job->finish = finish_open;
	guess_take(job);
	struct text *out = job_ask(job, PACKET_OPEN, job->full, job_take_handle);

	packet_put_u32(out, open_flags(flags));
	packet_put_attr(out, &job->request.attr, flags & O_CREAT ? FILE_ATTR_MODE : 0);
	job_asked(job);
	job_look(job, job->full);
	job->asked_first = job->request.length && guess_usable(job);
	if (job->asked_first)
		ask_first(job, job->guess, GUESS_SIZE);
	return 0;
}
