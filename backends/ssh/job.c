/* SPDX-License-Identifier: MIT */
#include "backends/ssh/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/errors.h"

/* Counts an answer. */
void job_part(struct job *job)
{
	if (--job->waiting == 0)
		job->finish(job);
}

/* Checks an answer's type. */
int job_expect(struct job *job, const struct sftp_answer *answer, enum packet_type type)
{
	if (answer->type == PACKET_STATUS && (type == PACKET_STATUS || answer->status != SFTP_OK))
		return errors_status(answer->status);
	if (answer->type == type)
		return 0;
	sftp_broken(job->files->sftp, "an answer of the wrong type");
	return -EIO;
}

/* Takes a handle. */
static int expect_handle(struct job *job, const struct sftp_answer *answer)
{
	struct packet body = answer->body;
	int error = job_expect(job, answer, PACKET_HANDLE);
	size_t size;

	if (error)
		return error;
	const char *name = packet_string(&body, &size);

	if (body.bad || size == 0 || size > LIMIT_HANDLE) {
		sftp_broken(job->files->sftp, "a handle of impossible length");
		return -EIO;
	}
	memcpy(job->handle, name, size);
	job->handle_size = size;
	return 0;
}

/* The answer to what opens: a handle, or the reason why not. */
void job_take_handle(void *data, const struct sftp_answer *answer)
{
	struct job *job = data;

	job->error = expect_handle(job, answer);
	job->status = answer->status;
	guess_check(job);
	job_part(job);
}

/* Starts a request about a path. */
struct text *job_ask(struct job *job, enum packet_type type, const char *path, sftp_take *take)
{
	struct text *out = sftp_begin(job->files->sftp, type, take, job);

	packet_put_string(out, path, strlen(path));
	return out;
}

/* Starts a request about a handle. */
struct text *job_ask_handle(struct job *job, enum packet_type type, const struct handle *handle,
	void *data, sftp_take *take)
{
	struct text *out = sftp_begin(job->files->sftp, type, take, data);

	packet_put_string(out, handle->name, handle->size);
	return out;
}

/* Ends a request. */
void job_asked(struct job *job)
{
	sftp_end(job->files->sftp, job->slow);
	job->waiting++;
}

/* Looks at a path. */
void job_look(struct job *job, const char *path)
{
	job_ask(job, PACKET_LSTAT, path, job_take_look);
	job_asked(job);
}

/* A status came. */
void job_take_status(void *data, const struct sftp_answer *answer)
{
	struct job *job = data;

	job->error = job_expect(job, answer, PACKET_STATUS);
	job->status = answer->status;
	job_part(job);
}

/* Attributes came. */
void job_take_look(void *data, const struct sftp_answer *answer)
{
	struct job *job = data;
	struct packet body = answer->body;

	job->look_error = job_expect(job, answer, PACKET_ATTRS);
	if (!job->look_error) {
		packet_attr(&body, &job->look);
		if (body.bad) {
			sftp_broken(job->files->sftp, "attributes are cut short");
			job->look_error = -EIO;
		}
	}
	job_part(job);
}

/* The status is all. */
void job_finish_status(struct job *job)
{
	job_end(job, job->error, NULL, 0);
}

/* The status, then the attributes. */
void job_finish_look(struct job *job)
{
	job->reply.attr = job->look;
	job_end(job, job->error ? job->error : job->look_error, NULL, 0);
}

/* Finds a handle by its number. */
struct handle *handle_find(struct files *files, uint64_t number)
{
	struct handle *handle = files->handles[number % FILES_BUCKETS];

	while (handle && handle->number != number)
		handle = handle->next;
	return handle;
}

/* The request's handle. */
struct handle *job_handle(struct job *job)
{
	return handle_find(job->files, job->request.handle);
}

/* Keeps what an OPEN brought. */
struct handle *handle_add(struct job *job)
{
	struct files *files = job->files;
	struct handle *handle = memory_new(sizeof(*handle));

	handle->number = ++files->last_handle;
	handle->size = job->handle_size;
	memcpy(handle->name, job->handle, job->handle_size);
	struct handle **bucket = &files->handles[handle->number % FILES_BUCKETS];

	handle->next = *bucket;
	*bucket = handle;
	files->handle_count++;
	job->reply.handle = handle->number;
	return handle;
}

/* Takes it out and frees it. */
void handle_forget(struct files *files, struct handle *handle)
{
	struct handle **at = &files->handles[handle->number % FILES_BUCKETS];

	while (*at != handle)
		at = &(*at)->next;
	*at = handle->next;
	files->handle_count--;
	if (handle->listing)
		directory_forget(handle->listing);
	ahead_forget(handle);
	free(handle);
}

/* Nobody waits for this answer. */
static void take_nothing(void *data, const struct sftp_answer *answer)
{
}

/* Closes what is not wanted. */
void handle_drop(struct job *job)
{
	struct sftp *sftp = job->files->sftp;
	struct text *out = sftp_begin(sftp, PACKET_CLOSE, take_nothing, NULL);

	packet_put_string(out, job->handle, job->handle_size);
	sftp_end(sftp, false);
	guess_closed(job->files, job->handle, job->handle_size);
}
