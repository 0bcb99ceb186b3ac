/* SPDX-License-Identifier: MIT */
/*
 * How a content gets into the machine. A small one is written into the file by commands, and so is that of
 * a file with several names, which are to lead to the same file still. Another one:
 *
 *	the file's attributes -> push, to a name beside it -> is it all there? -> owner -> mode -> rename
 *
 * Each step is an answer that the job of the bringing gets; where one fails, what was pushed is
 * removed again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/exec/carryparts.h"

struct push {
	struct content *content;
	char *temporary;		/* the name that it is pushed to, a path; NULL: a small one */
	struct file_attr attr;		/* that the new file is to have */
	uint64_t written;		/* by commands */
	struct carrier *carrier;
	bool again;			/* the file had been replaced: it was opened once more */
	bool made;			/* push has been run: the name may be there */
};

static void open_small(struct job *job);

/* Frees it, not the content. */
void push_free(struct push *push)
{
	if (!push)
		return;
	free(push->temporary);
	free(push);
}

/* Gives it back. */
void push_release(struct carry *carry, struct content *content)
{
	if (content->below)
		carry_tell(carry, FILE_CLOSE, content->below, "");
	content->below = 0;
}

/* It is there, or not. What waits goes on; an error is theirs who wanted it to be there. */
static void finish(struct job *job, int error, const char *text)
{
	struct push *push = job->push;
	struct content *content = push->content;
	struct job_queue waiting = TAILQ_HEAD_INITIALIZER(waiting);
	struct job *other;

	if (error && push->made)
		carry_tell(job->carry, FILE_UNLINK, 0, push->temporary);
	if (error)
		carry_say(job->carry, "files/%s keeps its old content: %s", content->path, text);
	else
		content->attr.size = content->size;
	content->dirty = false;
	content->bringing = NULL;
	TAILQ_CONCAT(&waiting, &content->waiting, link);
	TAILQ_FOREACH(other, &waiting, link) {
		if (other->brings)
			other->reply.error = error;
		other->brings = false;
	}
	/* Whoever waits has it open, or does not need it any more. */
	carry_wake(&waiting);
	carry_end(job, error);
}

/* ---- By commands ----------------------------------------------------------------- */

/* By commands it failed. Of a file that was replaced in the machine, the one that has its name is written. */
static bool small_failed(struct job *job, int error)
{
	struct push *push = job->push;

	if (error == -ESTALE && !push->again) {
		push->again = true;
		push_release(job->carry, push->content);
		open_small(job);
	} else if (error) {
		finish(job, error, strerror(-error));
	}
	return error;
}

static void write_small(struct job *job);

/* A piece is written. */
static void small_written(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	if (small_failed(job, reply->error))
		return;
	job->push->written += reply->count;
	write_small(job);
}

/* Writes the next piece: the file was empty. */
static void write_small(struct job *job)
{
	struct push *push = job->push;
	struct content *content = push->content;
	uint64_t left = content->size - push->written;
	struct file_request request = { .op = FILE_WRITE, .handle = content->below, .offset = push->written,
		.data_size = left < FILES_DATA_MAX ? (uint32_t)left : FILES_DATA_MAX };
	char *bytes = memory_new(request.data_size + 1);

	if (left == 0)
		finish(job, 0, "");
	else if (pread(content->fd, bytes, request.data_size, (off_t)push->written) != (ssize_t)request.data_size)
		finish(job, -EIO, "this host's disk");
	else
		carry_ask(job, &request, "", "", bytes, small_written);
	free(bytes);
}

/* It was emptied. */
static void small_emptied(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	if (!small_failed(job, reply->error))
		write_small(job);
}

/* Writes the file that is open. */
static void bring_small(struct job *job)
{
	struct content *content = job->push->content;
	struct file_request request = { .op = FILE_SETATTR, .handle = content->below,
		.attr = { .valid = FILE_ATTR_SIZE } };

	job->push->written = 0;
	if (content->attr.size > 0)
		carry_ask(job, &request, "", "", NULL, small_emptied);
	else
		write_small(job);
}

/* It is open. */
static void small_opened(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct content *content = job->push->content;

	if (small_failed(job, reply->error))
		return;
	content->below = reply->handle;
	content->attr = reply->attr;
	bring_small(job);
}

/* Opens it. */
static void open_small(struct job *job)
{
	struct content *content = job->push->content;
	struct file_request request = { .op = FILE_OPEN, .flags = O_WRONLY | O_CREAT,
		.attr = { .valid = FILE_ATTR_MODE, .mode = content->attr.mode & 0777 } };

	if (content->below)
		bring_small(job);
	else
		carry_ask(job, &request, content->path, "", NULL, small_opened);
}

/* ---- Others ---------------------------------------------------------------------- */

/* It has taken the file's place. */
static void renamed(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	finish(job, reply->error, "what was pushed could not be renamed");
}

/* It has the file's mode. */
static void mode_set(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct push *push = job->push;
	struct file_request request = { .op = FILE_RENAME };

	if (reply->error)
		finish(job, reply->error, "what was pushed could not get the file's mode");
	else
		carry_ask(job, &request, push->temporary, push->content->path, NULL, renamed);
}

/* It has the file's owner, where the login may give it away. */
static void owner_set(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct file_request request = { .op = FILE_SETATTR, .attr = { .valid = FILE_ATTR_MODE,
		.mode = job->push->attr.mode & 07777 } };

	carry_ask(job, &request, job->push->temporary, "", NULL, mode_set);
}

/* What has been pushed? */
static void looked(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct push *push = job->push;
	struct file_request request = { .op = FILE_SETATTR, .attr = push->attr };
	const struct file_attr *attr = &reply->attr;

	request.attr.valid = FILE_ATTR_OWNER;
	if (reply->error || !S_ISREG(attr->mode) || attr->size != push->content->size)
		finish(job, -EIO, "push ended with status 0, but has not written all that it was given to "
			"the path that it was given");
	else if (attr->uid != push->attr.uid || attr->gid != push->attr.gid)
		carry_ask(job, &request, push->temporary, "", NULL, owner_set);
	else
		owner_set(job, reply, NULL, 0);
}

/* push has ended. */
static void pushed(void *data, int error, const char *text)
{
	struct job *job = data;
	struct file_request request = { .op = FILE_GETATTR };

	job->push->carrier = NULL;
	if (error)
		finish(job, error, text);
	else
		carry_ask(job, &request, job->push->temporary, "", NULL, looked);
}

/* Pushes. */
static void attr_known(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct carry *carry = job->carry;
	struct push *push = job->push;

	if (reply->error && reply->error != -ENOENT)
		return finish(job, reply->error, strerror(-reply->error));
	if (!reply->error && reply->attr.nlink > 1)
		return open_small(job);
	push->attr = reply->error ? push->content->attr : reply->attr;
	push->made = true;
	char *path = carry_absolute(carry, push->temporary);
	struct carrier_options options = { .name = "push", .words = carry->push, .path = path,
		.fd = push->content->fd, .size = push->content->size,
		.limit_ms = (uint64_t)poolfs_number(carry->values, "carry_timeout"), .ended = pushed,
		.data = job };
	push->carrier = carrier_start(&carry->carriers, carry->loop, carry->agent, &options);
	free(path);
}

/* Begins. */
static void bring_large(struct job *job)
{
	struct push *push = job->push;
	const char *path = push->content->path, *slash = strrchr(path, '/');
	struct file_request request = { .op = FILE_GETATTR };

	push_release(job->carry, push->content);
	push->temporary = memory_format("%.*s%s%s-%llu", slash ? (int)(slash - path + 1) : 0, path,
		CARRY_NAME, job->carry->token, (unsigned long long)++job->carry->last_name);
	if (strlen(push->temporary) > FILES_PATH_MAX)
		finish(job, -ENAMETOOLONG, "the path is too long");
	else
		carry_ask(job, &request, path, "", NULL, attr_known);
}

/* ---- Both ------------------------------------------------------------------------ */

/* Sees to it. */
bool push_settle(struct job *job, struct content *content, void (*next)(struct job *job))
{
	if (!content->bringing && (!content->dirty || content->gone))
		return true;
	job->brings = true;
	carry_wait(job, &content->waiting, next);
	if (content->bringing)
		return false;
	content->bringing = carry_job(job->carry);
	content->bringing->push = memory_new(sizeof(struct push));
	content->bringing->push->content = content;
	if (content->size <= job->carry->small)
		open_small(content->bringing);
	else
		bring_large(content->bringing);
	return false;
}
