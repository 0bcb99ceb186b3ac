/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/exec/carryparts.h"

/* Opens: the answer stays shellfiles', but for the number. With push, a file may get a content later. */
bool pull_open(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct carry *carry = job->carry;
	bool fetched = *carry->pull && reply->attr.size > carry->small &&
		(job->request.flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;
	struct opened *opened;

	if (!S_ISREG(reply->attr.mode) || !(fetched || *carry->push) ||
		!(opened = carry_opened(carry, job->request.flags)))
		return false;
	opened->path = memory_string(job->path);
	opened->below = reply->handle;
	opened->size = reply->attr.size;
	opened->fetched = fetched;
	job->reply = *reply;
	job->reply.handle = opened->number;
	if (size)
		text_append(&job->content, bytes, size);
	carry_end(job, 0);
	return true;
}

/* Has a read done by commands. */
static void read_below(struct job *job)
{
	struct file_request request = job->request;

	request.handle = job->opened->below;
	carry_ask(job, &request, "", "", NULL, carry_take);
}

static void serve(struct job *job);

/* Those that wait look again. */
static void wake(struct opened *opened)
{
	struct job_queue again = TAILQ_HEAD_INITIALIZER(again);

	TAILQ_CONCAT(&again, &opened->waiting, link);
	carry_wake(&again);
}

/* Bytes came. */
static void moved(void *data, uint64_t bytes)
{
	struct opened *opened = data;

	opened->have = bytes;
	wake(opened);
}

/* All has come, or not. */
static void ended(void *data, int error, const char *text)
{
	struct opened *opened = data;

	opened->pull = NULL;
	opened->state = PULL_ENDED;
	opened->error = error;
	if (error)
		carry_say(opened->carry, "files/%s: %s", opened->path ? opened->path : "a file", text);
	wake(opened);
}

/* Ends it, for those that wait too. */
void pull_stop(struct opened *opened)
{
	carrier_stop(opened->pull);
	opened->pull = NULL;
	opened->state = PULL_ENDED;
	opened->error = -EBADF;
	wake(opened);
}

/* The file is still the one that was opened: fetches it. */
static void checked(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct opened *opened = job->opened;
	struct carry *carry = job->carry;

	if (opened->content)
		return serve(job);
	if (reply->error || !opened->path || opened->closed) {
		opened->state = PULL_ENDED;
		opened->error = reply->error;
	} else {
		char *path = carry_absolute(carry, opened->path);
		struct carrier_options options = { .name = "pull", .words = carry->pull, .path = path,
			.fd = opened->fd, .size = reply->attr.size,
			.limit_ms = (uint64_t)poolfs_number(carry->values, "carry_timeout"),
			.moved = moved, .ended = ended, .data = opened };

		opened->size = reply->attr.size;
		opened->pull = carrier_start(&carry->carriers, carry->loop, carry->agent, &options);
		free(path);
	}
	serve(job);
	wake(opened);
}

/* Begins with the read that is the first. */
static void begin(struct job *job)
{
	struct file_request request = { .op = FILE_GETATTR, .handle = job->opened->below };
	struct opened *opened = job->opened;

	if (opened->fd < 0)
		opened->fd = carry_file();
	if (opened->fd < 0) {
		read_below(job);
		return;
	}
	opened->state = PULL_RUNS;
	opened->have = 0;
	opened->error = 0;
	carry_ask(job, &request, "", "", NULL, checked);
}

/* Answers with what is there. */
static void give(struct job *job, size_t size)
{
	char *bytes = memory_new(size + 1);
	ssize_t got = pread(job->opened->fd, bytes, size, (off_t)job->request.offset);

	if (got > 0)
		text_append(&job->content, bytes, (size_t)got);
	free(bytes);
	job->reply.count = got > 0 ? (uint32_t)got : 0;
	carry_end(job, got == (ssize_t)size ? 0 : -EIO);
}

/* Reads what is there, or waits for it. What `pull` left out, or a file that has grown has more, is read
 * by commands. */
static void serve(struct job *job)
{
	struct opened *opened = job->opened;
	uint64_t offset = job->request.offset, end = offset + job->request.length;

	if (opened->content)
		content_read(job);
	else if (!opened->below)
		carry_go(job);
	else if (opened->state == PULL_ENDED && opened->error)
		carry_end(job, opened->error);
	else if (end <= opened->have)
		give(job, job->request.length);
	else if (opened->state == PULL_RUNS && offset <= opened->have + CARRY_AHEAD && offset < opened->size)
		carry_wait(job, &opened->waiting, serve);
	else if (opened->state == PULL_ENDED && opened->have == opened->size && offset < opened->have)
		give(job, opened->have - offset);
	else
		read_below(job);
}

/* Reads. Whoever is at the beginning again gets what the machine has by then. */
void pull_read(struct job *job)
{
	const struct opened *opened = job->opened;
	uint64_t offset = job->request.offset;
	uint32_t length = job->request.length;

	if (length == 0 || length > FILES_DATA_MAX || offset > (uint64_t)INT64_MAX - length)
		carry_end(job, -EINVAL);
	else if (opened->fetched && opened->state != PULL_RUNS && offset == 0 && opened->path)
		begin(job);
	else
		serve(job);
}

/* Closes. */
void pull_close(struct job *job)
{
	struct opened *opened = job->opened;

	if (opened->below)
		carry_tell(job->carry, FILE_CLOSE, opened->below, "");
	opened->below = 0;
	carry_close(opened);
	carry_end(job, 0);
}

/* Has another path, or none: what is fetched by now is right. */
void pull_moved(struct carry *carry, const char *from, const char *to)
{
	struct opened *opened;

	LIST_FOREACH(opened, &carry->opened, link) {
		if (opened->content || !opened->path || !carry_is_below(opened->path, from))
			continue;
		char *path = to ? memory_format("%s%s", to, opened->path + strlen(from)) : NULL;
		free(opened->path);
		opened->path = path;
	}
}

/* Has a content, which is read from here on. */
void pull_join(struct carry *carry, struct content *content)
{
	struct opened *opened;

	LIST_FOREACH(opened, &carry->opened, link) {
		struct job_queue again = TAILQ_HEAD_INITIALIZER(again);

		if (opened->content || !opened->path || strcmp(opened->path, content->path) != 0)
			continue;
		carrier_stop(opened->pull);
		opened->pull = NULL;
		opened->state = PULL_NOT;
		if (opened->below)
			carry_tell(carry, FILE_CLOSE, opened->below, "");
		opened->below = 0;
		content_join(content, opened);
		TAILQ_CONCAT(&again, &opened->waiting, link);
		carry_wake(&again);
	}
}

/* It is open again, or cannot be. */
static void reopened(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct job_queue again = TAILQ_HEAD_INITIALIZER(again);
	struct opened *opened = job->opened;

	bool unused = opened->closed || opened->content;

	if (!reply->error && unused)
		carry_tell(job->carry, FILE_CLOSE, reply->handle, "");
	/* A number that shellfiles never gives: what comes now fails. */
	if (!opened->content)
		opened->below = reply->error || unused ? CARRY_OWN : reply->handle;
	TAILQ_CONCAT(&again, &opened->waiting, link);
	carry_wake(&again);
	carry_end(job, 0);
}

/* Has no content any more: opens the machine's file again. */
void pull_leave(struct carry *carry, struct content *content)
{
	struct opened *opened;

	LIST_FOREACH(opened, &carry->opened, link) {
		struct file_request request = { .op = FILE_OPEN, .flags = O_RDONLY };

		if (opened->content != content || (opened->flags & O_ACCMODE) != O_RDONLY)
			continue;
		opened->content = NULL;
		content->users--;
		content_unref(content);
		free(opened->path);
		opened->path = memory_string(content->path);
		opened->state = PULL_NOT;
		opened->have = opened->size = 0;
		struct job *job = carry_job(carry);
		job->opened = opened;
		opened->jobs++;
		carry_ask(job, &request, opened->path, "", NULL, reopened);
	}
}
