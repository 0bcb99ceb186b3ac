/* SPDX-License-Identifier: MIT */
/*
 * The file requests that work on files' contents, all by dd(1). POSIX' dd copies whole blocks: a part whose
 * beginning is a multiple of its size is one block, others are several blocks of a power of two, and where
 * that would be too many, a first dd moves the position that a second one goes on from.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/base/memory.h"
#include "backends/shellfiles/job.h"

#define BLOCK_MIN 4096u
#define BLOCK_MAX 65536u
/* A read that is answered in parts is given up after so many. */
#define ROUNDS_MAX 64u

/* The largest power of two, of at most BLOCK_MAX, that divides the offset. */
static uint32_t block_of(uint64_t offset)
{
	uint32_t block = BLOCK_MAX;

	while (offset % block)
		block /= 2;
	return block;
}

/* The open file that a request names. */
static struct handle *file_of(struct job *job, uint64_t number)
{
	struct handle *handle = shellopen_find(job->files, number);

	return handle && !handle->listing ? handle : NULL;
}

/* The words for how a file is to be opened: access, create, exclusive, truncate. */
static void append_flags(struct text *out, uint32_t flags)
{
	static const char *const access[] = { [O_RDONLY] = "r", [O_WRONLY] = "w", [O_RDWR] = "rw" };

	text_printf(out, " %s %s %s %s", access[flags & O_ACCMODE], flags & O_CREAT ? "1" : "-",
		(flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ? "1" : "-", flags & O_TRUNC ? "1" : "-");
}

/* FILE_OPEN. A shell makes files with the mode 0666, from which the umask takes; more is given then. */
static int make_open(struct job *job, struct text *out)
{
	struct shellfiles *files = job->files;
	uint32_t flags = job->request.flags, mode = job->request.attr.mode & 0777 & ~files->hello.umask;

	if (files->handle_count + files->opening >= JOB_HANDLES_MAX)
		return -ENFILE;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if ((flags & (O_ACCMODE | O_CREAT | O_TRUNC)) != O_RDONLY)
		job->request.length = 0;
	if (job->request.length > FILES_DATA_MAX)
		job->request.length = FILES_DATA_MAX;
	program_path(out, 'p', job->path);
	text_printf(out, "op \"$p\"");
	append_flags(out, flags);
	text_printf(out, " %04o", ~mode & 0777);
	text_printf(out, mode & ~0666u ? " %05o" : " -", mode);
	text_printf(out, " %u", job->request.length);
	return 0;
}

/* Attributes, and the bytes of a small file. */
static int take_open(struct job *job, const char *bytes, size_t size)
{
	struct parse_file file;
	size_t used;

	if (parse_named(&job->files->hello, bytes, size, job->path, &file, &used) < 0)
		return -EIO;
	if (!S_ISREG(file.attr.mode))
		return S_ISDIR(file.attr.mode) ? -EISDIR : -ENXIO;
	job->reply.attr = file.attr;
	if (job->done)
		shellopen_add(job, &file);
	if (size - used == file.attr.size && size - used <= job->request.length)
		text_append(&job->content, bytes + used, size - used);
	return 0;
}

/* FILE_READ, or what is left of it. */
static int make_read(struct job *job, struct text *out)
{
	const struct handle *handle = file_of(job, job->request.handle);
	uint64_t offset = job->request.offset + job->content.size;
	uint32_t length = job->request.length - (uint32_t)job->content.size, block;

	if (!handle)
		return -EBADF;
	if (length == 0 || length > FILES_DATA_MAX || job->request.offset > (uint64_t)INT64_MAX - length)
		return -EINVAL;
	free(job->path);
	job->path = memory_string(handle->path);
	shellopen_words(out, "rd", handle);
	block = offset % length ? block_of(offset) : length;
	if (block == length || block >= BLOCK_MIN)
		text_printf(out, " b %u %llu %u", block, (unsigned long long)(offset / block),
			(length + block - 1) / block);
	else
		text_printf(out, " s %u %llu", length, (unsigned long long)offset);
	return 0;
}

/* The attributes, then the bytes. Fewer than were wanted may be all that a strange filesystem gives at once:
 * what the size says is left is asked for, unless nothing came. */
static int take_read(struct job *job, const char *bytes, size_t size)
{
	size_t used, room = job->request.length - job->content.size;
	struct parse_file file;

	if (parse_named(&job->files->hello, bytes, size, job->path, &file, &used) < 0)
		return -EIO;
	size -= used;
	text_append(&job->content, bytes + used, size < room ? size : room);
	if (size && size < room && job->request.offset + job->content.size != file.attr.size)
		return ++job->rounds < ROUNDS_MAX ? 1 : -EIO;
	job->reply.count = (uint32_t)job->content.size;
	return 0;
}

/* FILE_WRITE: the bytes follow. What was opened to append and not to read is written at the end that the file
 * has by then; see files_data.c of ssh/. */
static int make_write(struct job *job, struct text *out)
{
	const struct handle *handle = file_of(job, job->request.handle);
	uint32_t size = job->request.data_size, block;
	uint64_t offset = job->request.offset;

	if (!handle || (handle->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (size == 0 || size > FILES_DATA_MAX || offset > (uint64_t)INT64_MAX - size)
		return -EINVAL;
	shellopen_words(out, "wr", handle);
	text_printf(out, " %u", size);
	block = offset % size ? block_of(offset) : size;
	if ((handle->flags & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND))
		text_printf(out, " a %u 0", size);
	else if (block == size || block >= BLOCK_MIN)
		text_printf(out, " b %u %llu", block, (unsigned long long)(offset / block));
	else
		text_printf(out, " s %u %llu", size, (unsigned long long)offset);
	return 0;
}

/* All of it is written. */
static int take_write(struct job *job, const char *bytes, size_t size)
{
	job->reply.count = job->request.data_size;
	return 0;
}

/* FILE_FSYNC */
static int make_fsync(struct job *job, struct text *out)
{
	const struct handle *handle = file_of(job, job->request.handle);

	job->slow = true;
	if (job->request.handle && !handle)
		return -EBADF;
	if (handle) {
		shellopen_words(out, "sc", handle);
	} else {
		program_path(out, 'p', job->path);
		text_printf(out, "sy \"$p\"");
	}
	return 0;
}

/* FILE_CLOSE: what was kept for it goes. */
static int make_close(struct job *job, struct text *out)
{
	struct shellfiles *files = job->files;
	struct handle *handle = shellopen_find(files, job->request.handle);

	if (!job->again) {
		if (!handle)
			return -EBADF;
		if (handle->kept && shellopen_count(files, handle->path) == 1)
			memcpy(job->kept, handle->path, strlen(handle->path) + 1);
		shellopen_forget(files, handle);
		job->again = true;
	}
	if (!job->kept[0])
		return 1;
	text_printf(out, "rm -f ./%s; ok", job->kept);
	return 0;
}

/* FILE_COPY */
static int make_copy(struct job *job, struct text *out)
{
	const struct file_request *request = &job->request;
	const struct handle *from = file_of(job, request->handle), *to = file_of(job, request->handle2);

	if (!from || !to || (to->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (request->length > FILES_COPY_MAX || request->offset > INT64_MAX / 2 || request->offset2 > INT64_MAX / 2)
		return -EINVAL;
	job->slow = true;
	program_path(out, 'q', to->path);
	shellopen_words(out, "cy", from);
	text_printf(out, " \"$q\" %llu %llu %llu %llu %u", (unsigned long long)to->device,
		(unsigned long long)to->inode, (unsigned long long)request->offset,
		(unsigned long long)request->offset2, request->length);
	return 0;
}

/* How much there was to copy. */
static int take_copy(struct job *job, const char *bytes, size_t size)
{
	uint32_t count = 0;

	for (size_t i = 0; i < size && bytes[i] != '\n'; i++) {
		if (bytes[i] < '0' || bytes[i] > '9' || count > job->request.length)
			return -EIO;
		count = count * 10 + (uint32_t)(bytes[i] - '0');
	}
	if (!size || count > job->request.length)
		return -EIO;
	job->reply.count = count;
	return 0;
}

const struct job_op shelldata_open = { .make = make_open, .take = take_open, .brings = true };
const struct job_op shelldata_read = { .make = make_read, .take = take_read, .brings = true };
const struct job_op shelldata_write = { .make = make_write, .take = take_write };
const struct job_op shelldata_fsync = { .make = make_fsync };
const struct job_op shelldata_close = { .make = make_close };
const struct job_op shelldata_copy = { .make = make_copy, .take = take_copy };
