/* SPDX-License-Identifier: MIT */
/* The file requests that work on paths. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "backends/base/memory.h"
#include "backends/protocol/link.h"
#include "backends/shellfiles/job.h"

#define STAMP 24u		/* bytes of a time for touch */

/* Takes the attributes of job->path, alone. */
static int take_attr(struct job *job, const char *bytes, size_t size)
{
	struct parse_file file;
	size_t used;

	if (parse_named(&job->files->hello, bytes, size, job->path, &file, &used) < 0 || used != size)
		return -EIO;
	job->reply.attr = file.attr;
	return 0;
}

/* The request is about an open file: its path becomes the job's. */
static int use_handle(struct job *job, const struct handle **found)
{
	const struct handle *handle = shellopen_find(job->files, job->request.handle);

	if (!handle || handle->listing)
		return -EBADF;
	free(job->path);
	job->path = memory_string(handle->path);
	*found = handle;
	return 0;
}

/* FILE_GETATTR */
static int make_getattr(struct job *job, struct text *out)
{
	const struct handle *handle;

	if (!job->request.handle) {
		program_path(out, 'p', job->path);
		text_printf(out, "ga \"$p\"");
		return 0;
	}
	if (use_handle(job, &handle) < 0)
		return -EBADF;
	shellopen_words(out, "gh", handle);
	return 0;
}

/* A time as touch -t takes it. */
static void make_stamp(char stamp[STAMP], int64_t seconds)
{
	time_t time = seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (time_t)seconds;
	struct tm tm;

	gmtime_r(&time, &tm);
	strftime(stamp, STAMP, "%Y%m%d%H%M.%S", &tm);
}

/* Appends what is to be set; "-" is left as it is. */
static void append_attr(struct text *out, const struct file_attr *attr)
{
	char access[STAMP] = "-", change[STAMP] = "-";

	if (attr->valid & FILE_ATTR_TIMES) {
		make_stamp(access, attr->atime);
		make_stamp(change, attr->mtime);
	}
	text_printf(out, attr->valid & FILE_ATTR_SIZE ? " %llu" : " -", (unsigned long long)attr->size);
	text_printf(out, attr->valid & FILE_ATTR_OWNER ? " %u:%u" : " -", attr->uid, attr->gid);
	text_printf(out, attr->valid & FILE_ATTR_MODE ? " %05o" : " -", attr->mode & 07777);
	text_printf(out, " %s %s", access, change);
}

/* FILE_SETATTR: always in order with other requests. */
static int make_setattr(struct job *job, struct text *out)
{
	const struct handle *handle;

	job->reply.count = 1;
	if (!job->request.handle) {
		program_path(out, 'p', job->path);
		text_printf(out, "sp \"$p\"");
	} else if (use_handle(job, &handle) < 0) {
		return -EBADF;
	} else {
		shellopen_words(out, "so", handle);
	}
	append_attr(out, &job->request.attr);
	return 0;
}

/* A command with the path alone. */
static int make_simple(struct job *job, struct text *out, const char *command)
{
	program_path(out, 'p', job->path);
	text_printf(out, "%s \"$p\"", command);
	return 0;
}

/* FILE_READLINK */
static int make_readlink(struct job *job, struct text *out)
{
	return make_simple(job, out, "rl");
}

/* The target in a line of ls -l: what follows the name and an arrow, which the name may hold too. */
static const char *find_target(const struct job *job, const char *bytes, size_t size)
{
	char *mark = memory_format(" ./%s -> ", *job->path ? job->path : ".");
	const char *found = memmem(bytes, size, mark, strlen(mark));
	const char *target = found ? found + strlen(mark) : NULL;

	free(mark);
	return target;
}

/* The target and a newline. */
static int take_readlink(struct job *job, const char *bytes, size_t size)
{
	const struct parse_hello *hello = &job->files->hello;
	const char *target = hello->links_by_ls ? find_target(job, bytes, size) : bytes;
	size_t length = target ? size - (size_t)(target - bytes) : 0;
	char contained[FILES_PATH_MAX + 1];

	if (length < 2 || target[length - 1] != '\n')
		return -EIO;
	int error = link_contain(hello->path, job->path, target, length - 1, contained);
	if (!error)
		text_append(&job->content, contained, strlen(contained));
	return error;
}

/* FILE_SYMLINK */
static int make_symlink(struct job *job, struct text *out)
{
	program_set(out, 'q', job->path2, strlen(job->path2));
	program_path(out, 'p', job->path);
	text_printf(out, "sl \"$q\" \"$p\"");
	return 0;
}

/* FILE_LINK: the answer is about the new name. */
static int make_link(struct job *job, struct text *out)
{
	program_path(out, 'p', job->path);
	program_path(out, 'q', job->path2);
	text_printf(out, "lk \"$p\" \"$q\"");
	return 0;
}

/* The same. */
static int take_link(struct job *job, const char *bytes, size_t size)
{
	struct parse_file file;
	size_t used;

	if (parse_named(&job->files->hello, bytes, size, job->path2, &file, &used) < 0 || used != size)
		return -EIO;
	job->reply.attr = file.attr;
	return 0;
}

/* FILE_MKDIR. mkdir -m would not heed the login's umask; the umask cannot give the sticky bit. */
static int make_mkdir(struct job *job, struct text *out)
{
	uint32_t mode = job->request.attr.mode & 01777 & ~job->files->hello.umask;

	program_path(out, 'p', job->path);
	text_printf(out, "md \"$p\" %04o", ~mode & 0777);
	text_printf(out, mode & 01000 ? " %05o" : " -", mode);
	return 0;
}

/* FILE_UNLINK. What is open here is kept under another name. */
static int make_unlink(struct job *job, struct text *out)
{
	shellopen_keep(job->files, job->path, job->kept);
	job->alone = job->kept[0];
	program_path(out, 'p', job->path);
	text_printf(out, "ul \"$p\" %s%s", job->kept[0] ? "./" : "-", job->kept);
	return 0;
}

/* It is gone, or has the other name. */
static int take_unlink(struct job *job, const char *bytes, size_t size)
{
	if (job->kept[0])
		shellopen_moved(job->files, job->path, job->kept, true);
	return 0;
}

/* FILE_RMDIR */
static int make_rmdir(struct job *job, struct text *out)
{
	return make_simple(job, out, "rv");
}

/* FILE_RENAME. A file that is replaced while it is open here is kept, too. */
static int make_rename(struct job *job, struct text *out)
{
	uint32_t flags = job->request.flags;
	size_t length = strlen(job->path);

	if (flags & ~(uint32_t)RENAME_NOREPLACE)
		return -EINVAL;
	if (!length || !*job->path2)
		return -EBUSY;
	if (!strncmp(job->path2, job->path, length) && job->path2[length] == '/')
		return -EINVAL;
	job->reply.count = 1;
	job->kept[0] = '\0';
	if (!flags && strcmp(job->path, job->path2) != 0)
		shellopen_keep(job->files, job->path2, job->kept);
	job->alone = job->files->handle_count > 0;
	program_path(out, 'p', job->path);
	program_path(out, 'q', job->path2);
	text_printf(out, "rn \"$p\" \"$q\" %s %s%s", flags ? "1" : "-", job->kept[0] ? "./" : "-", job->kept);
	return 0;
}

/* "=": both names are of one file, so that nothing was done. */
static int take_rename(struct job *job, const char *bytes, size_t size)
{
	if (size && bytes[0] == '=')
		return 0;
	if (job->kept[0])
		shellopen_moved(job->files, job->path2, job->kept, true);
	shellopen_moved(job->files, job->path, job->path2, false);
	return 0;
}

/* FILE_STATFS */
static int make_statfs(struct job *job, struct text *out)
{
	return make_simple(job, out, "sf");
}

/* Its numbers. */
static int take_statfs(struct job *job, const char *bytes, size_t size)
{
	struct file_statfs statfs;
	int error = parse_statfs(bytes, size, &statfs);

	if (!error)
		text_append(&job->content, &statfs, sizeof(statfs));
	return error;
}

/* Our own: removes what an earlier connection left. */
static int make_clean(struct job *job, struct text *out)
{
	const struct text *left = &job->files->left;

	for (size_t at = 0; at < left->size; at += strlen(left->data + at) + 1)
		text_printf(out, "rm -f ./%s; ", left->data + at);
	text_printf(out, "ok");
	return 0;
}

/* It is done. */
static int take_clean(struct job *job, const char *bytes, size_t size)
{
	text_done(&job->files->left);
	return 0;
}

const struct job_op shellpath_getattr = { .make = make_getattr, .take = take_attr };
const struct job_op shellpath_setattr = { .make = make_setattr, .take = take_attr };
const struct job_op shellpath_readlink = { .make = make_readlink, .take = take_readlink };
const struct job_op shellpath_symlink = { .make = make_symlink, .take = take_attr };
const struct job_op shellpath_link = { .make = make_link, .take = take_link };
const struct job_op shellpath_mkdir = { .make = make_mkdir, .take = take_attr };
const struct job_op shellpath_unlink = { .make = make_unlink, .take = take_unlink };
const struct job_op shellpath_rmdir = { .make = make_rmdir };
const struct job_op shellpath_rename = { .make = make_rename, .take = take_rename };
const struct job_op shellpath_statfs = { .make = make_statfs, .take = take_statfs };
const struct job_op shellpath_clean = { .make = make_clean, .take = take_clean };
