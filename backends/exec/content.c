/* SPDX-License-Identifier: MIT */
/* What is kept here until it is brought to the machine. Whoever opens the file from here meanwhile has this
 * content too. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/exec/carryparts.h"

/* Finds one. */
struct content *content_find(struct carry *carry, const char *path)
{
	struct content *content;

	LIST_FOREACH(content, &carry->contents, link)
		if (!content->gone && strcmp(content->path, path) == 0)
			return content;
	return NULL;
}

/* Frees one. */
void content_unref(struct content *content)
{
	if (--content->references)
		return;
	close(content->fd);
	free(content->path);
	free(content);
}

/* The content that a request is about. */
static struct content *content_of(struct job *job)
{
	return job->opened ? job->opened->content : content_find(job->carry, job->path);
}

/* ---- Opening -------------------------------------------------------------------- */

/* Makes an empty content for what shellfiles has opened. */
static struct content *make(struct job *job)
{
	int fd = carry_file();

	if (fd < 0)
		return NULL;
	struct content *content = memory_new(sizeof(*content));
	content->path = memory_string(job->path);
	content->fd = fd;
	content->attr = job->reply.attr;
	content->dirty = content->attr.size > 0;
	TAILQ_INIT(&content->waiting);
	LIST_INSERT_HEAD(&job->carry->contents, content, link);
	return content;
}

/* Empties one. */
static void empty(struct content *content)
{
	if (content->size == 0 || ftruncate(content->fd, 0) < 0)
		return;
	content->size = 0;
	content->dirty = true;
}

/* Whether it may write. */
static bool writes(const struct opened *opened)
{
	return (opened->flags & O_ACCMODE) != O_RDONLY;
}

/* One more has it open. */
void content_join(struct content *content, struct opened *opened)
{
	opened->content = content;
	content->users++;
	content->references++;
	content->writers += writes(opened);
}

/* Gives the job an open file of the content. */
static void attach(struct job *job)
{
	struct content *content = content_find(job->carry, job->path);
	uint32_t flags = job->request.flags;

	if (content && content->bringing && flags & O_TRUNC)
		return carry_wait(job, &content->waiting, attach);
	struct opened *opened = carry_opened(job->carry, flags);
	if (opened && !content)
		content = make(job);
	if (opened && !content)
		carry_close(opened);
	if (!opened || !content) {
		carry_tell(job->carry, FILE_CLOSE, job->reply.handle, "");
		return carry_end(job, -ENFILE);
	}
	content_join(content, opened);
	pull_join(job->carry, content);
	if (content->below || (flags & O_ACCMODE) == O_RDONLY)
		carry_tell(job->carry, FILE_CLOSE, job->reply.handle, "");
	else
		content->below = job->reply.handle;
	if (flags & O_TRUNC)
		empty(content);
	job->reply.handle = opened->number;
	job->reply.attr.size = content->size;
	carry_end(job, 0);
}

/* The machine's file is empty. */
static void emptied(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct file_reply opened = job->reply;

	opened.attr.size = 0;
	if (reply->error) {
		carry_tell(job->carry, FILE_CLOSE, opened.handle, "");
		carry_end(job, reply->error);
	} else if (!pull_open(job, &opened, NULL, 0)) {
		carry_end(job, 0);
	}
}

/* What has other names, too, is emptied at once, for all of them. */
static bool is_linked(struct job *job, const struct file_reply *reply)
{
	struct file_request request = { .op = FILE_SETATTR, .handle = reply->handle,
		.attr = { .valid = FILE_ATTR_SIZE } };

	if (reply->attr.nlink < 2 || !(job->request.flags & O_TRUNC) || reply->attr.size == 0)
		return false;
	job->reply = *reply;
	carry_ask(job, &request, "", "", NULL, emptied);
	return true;
}

/* Opens: what is new or is to be empty, and what is here already. */
bool content_open(struct job *job, const struct file_reply *reply)
{
	uint32_t flags = job->request.flags;
	/* What is appended has its place behind what others append in the machine. */
	bool whole = flags & O_TRUNC || (reply->attr.size == 0 && !(flags & O_APPEND));
	bool begins = *job->carry->push && (flags & O_ACCMODE) != O_RDONLY && whole;
	bool is_here = content_find(job->carry, job->path);

	if (!S_ISREG(reply->attr.mode) || !(begins || is_here))
		return false;
	if (!is_here && reply->attr.nlink > 1)
		return is_linked(job, reply);
	job->reply = *reply;
	attach(job);
	return true;
}

/* ---- Bytes ---------------------------------------------------------------------- */

/* Reads. */
void content_read(struct job *job)
{
	const struct content *content = job->opened->content;
	uint64_t offset = job->request.offset, left = offset < content->size ? content->size - offset : 0;
	size_t size = job->request.length < left ? job->request.length : (size_t)left;

	if (job->request.length > FILES_DATA_MAX)
		return carry_end(job, -EINVAL);
	char *bytes = memory_new(size + 1);
	ssize_t got = pread(content->fd, bytes, size, (off_t)offset);
	if (got > 0)
		text_append(&job->content, bytes, (size_t)got);
	free(bytes);
	job->reply.count = (uint32_t)job->content.size;
	carry_end(job, got == (ssize_t)size ? 0 : -EIO);
}

/* Writes, when nothing is being brought. What was opened to append and not to read has its place at the end. */
void content_write(struct job *job)
{
	const struct file_request *request = &job->request;
	struct content *content = job->opened->content;
	uint32_t flags = job->opened->flags;
	bool append = (flags & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND);

	if (content->bringing)
		return carry_wait(job, &content->waiting, content_write);
	uint64_t offset = append ? content->size : request->offset;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return carry_end(job, -EBADF);
	if (request->data_size > FILES_DATA_MAX || offset > (uint64_t)INT64_MAX - request->data_size)
		return carry_end(job, -EFBIG);
	ssize_t put = pwrite(content->fd, job->bytes, request->data_size, (off_t)offset);
	if (put != (ssize_t)request->data_size)
		return carry_end(job, put < 0 ? -errno : -ENOSPC);
	if (content->size < offset + request->data_size)
		content->size = offset + request->data_size;
	content->dirty = true;
	job->reply.count = request->data_size;
	carry_end(job, 0);
}

/* ---- Attributes ----------------------------------------------------------------- */

/* What a removed file has. */
static void attr_of_gone(struct job *job, const struct content *content)
{
	job->reply.attr = content->attr;
	job->reply.attr.size = content->size;
	job->reply.attr.nlink = 0;
	carry_end(job, 0);
}

/* The machine's, but for what is here. */
static void attr_answered(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct content *content = content_of(job);
	int error = reply->error;

	job->reply = *reply;
	if (error == -ENOENT && job->opened)
		error = -ESTALE;
	if (!error && content && !content->gone && !content->bringing)
		content->attr = reply->attr;
	if (!error && content && !content->gone && (content->dirty || content->bringing)) {
		job->reply.attr.size = content->size;
		job->reply.attr.mtime = time(NULL);
	}
	carry_end(job, error);
}

/* Asks for them. */
void content_getattr(struct job *job)
{
	struct content *content = content_of(job);

	if (content && content->gone)
		attr_of_gone(job, content);
	else
		carry_ask_path(job, content ? content->path : job->path, attr_answered);
}

/* Whether the request's file has no content any more: then it is another matter. */
static bool has_left(struct job *job)
{
	if (!job->opened || job->opened->content)
		return false;
	carry_go(job);
	return true;
}

/* Sets the size. */
static int set_size(struct content *content, uint64_t size)
{
	if (size > INT64_MAX)
		return -EFBIG;
	if (ftruncate(content->fd, (off_t)size) < 0)
		return -errno;
	content->dirty |= content->size != size;
	content->size = size;
	return 0;
}

/* Changes them. The size is that of what is here; the rest is the machine's, whose file is to have its
 * content before: it would else lose them again. */
void content_setattr(struct job *job)
{
	struct content *content = content_of(job);
	struct file_attr *attr = &job->request.attr;
	int error = job->reply.error;

	if (error)
		return carry_end(job, error);
	if (has_left(job))
		return;
	if (!content)
		return carry_ask_path(job, job->path, attr_answered);
	if (content->bringing)
		return carry_wait(job, &content->waiting, content_setattr);
	if (attr->valid & FILE_ATTR_SIZE)
		error = set_size(content, attr->size);
	if (error)
		return carry_end(job, error);
	attr->valid &= ~FILE_ATTR_SIZE;
	if (!attr->valid || content->gone)
		return content_getattr(job);
	if (push_settle(job, content, content_setattr))
		carry_ask_path(job, content->path, attr_answered);
}

/* ---- Names, and the end ---------------------------------------------------------- */

/* Brings the content; a close by one of those who have it open wants no more. */
void content_sync(struct job *job)
{
	struct content *content = job->opened->content;
	int error = job->reply.error;

	if (error)
		return carry_end(job, error);
	if (has_left(job))
		return;
	if (!push_settle(job, content, content_sync))
		return;
	if (content->gone || job->request.flags & FILES_FLUSH)
		carry_end(job, 0);
	else
		carry_ask_path(job, content->path, carry_take);
}

/* The last close by one who may write brings what no close before has. */
void content_close(struct job *job)
{
	struct content *content = job->opened->content;
	bool last = writes(job->opened) && content->writers == 1;
	int error = job->reply.error;

	if (!error && last && !push_settle(job, content, content_close))
		return;
	content->writers -= writes(job->opened);
	if (last && !content->gone)
		pull_leave(job->carry, content);
	if (--content->users == 0) {
		push_release(job->carry, content);
		LIST_REMOVE(content, link);
		content->gone = true;
	}
	carry_close(job->opened);
	carry_end(job, error);
}

/* A name was removed, or has become another. */
static void names_answered(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	bool moves = job->request.op == FILE_RENAME, removes = job->request.op == FILE_UNLINK;
	const char *replaced = moves ? job->path2 : job->path;
	struct content *content;
	char *path;

	carry_take(job, reply, bytes, size);
	if (reply->error || !(moves || removes))
		return carry_hold(job, false);
	if ((content = content_find(job->carry, replaced)))
		content->gone = true;
	pull_moved(job->carry, replaced, NULL);
	if (moves)
		pull_moved(job->carry, job->path, job->path2);
	LIST_FOREACH(content, &job->carry->contents, link) {
		if (!moves || content->gone || !carry_is_below(content->path, job->path))
			continue;
		path = memory_format("%s%s", job->path2, content->path + strlen(job->path));
		free(content->path);
		content->path = path;
	}
	carry_hold(job, false);
}

/* Removes, renames or links: what is linked or renamed has its content before. */
void content_names(struct job *job)
{
	struct content *content;
	int error = job->reply.error;

	if (error) {
		carry_hold(job, false);
		return carry_end(job, error);
	}
	LIST_FOREACH(content, &job->carry->contents, link) {
		bool goes = strcmp(content->path, job->request.op == FILE_UNLINK ? job->path : job->path2) == 0;
		bool stays = job->request.op != FILE_UNLINK && carry_is_below(content->path, job->path);

		if (content->gone || !(goes || stays))
			continue;
		carry_hold(job, true);
		if (content->bringing)
			return carry_wait(job, &content->waiting, content_names);
		if (stays && !push_settle(job, content, content_names))
			return;
		push_release(job->carry, content);
	}
	carry_ask_path(job, job->path, names_answered);
}
