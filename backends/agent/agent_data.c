/* SPDX-License-Identifier: MIT */
/* The file requests that work on handles. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/agent/agent_files.h"
#include "backends/base/memory.h"

/* A page of a directory gets no new entry beyond this. */
#define PAGE_FULL 262144u

/* Remembers an open file under the number that the request names. */
static void remember(struct server_files *files, uint64_t handle, int fd, DIR *directory)
{
	struct open_file *file = memory_new(sizeof(*file));
	struct open_file **bucket = &files->open[handle % AGENT_BUCKETS];

	file->next = *bucket;
	file->handle = handle;
	file->fd = fd;
	file->directory = directory;
	*bucket = file;
}

/* An open regular file's descriptor. */
static int file_of(const struct server_files *files, uint64_t handle)
{
	const struct open_file *file = agent_find(files, handle);

	return file && !file->directory ? file->fd : -EBADF;
}

/* open(2)'s flags. A file that is opened to append and to read is written at the caller's offsets:
 * see files_data.c of the other transport. O_NONBLOCK: what is no regular file is not waited for. */
static int open_flags(uint32_t flags)
{
	int result = (int)(flags & (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC));

	if ((flags & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND))
		result |= O_APPEND;
	return result | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
}

/* Only a regular file stays open. */
static int check_regular(int fd, struct answer *answer)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	agent_attr(&status, &answer->reply.attr);
	if (S_ISREG(status.st_mode))
		return 0;
	return S_ISDIR(status.st_mode) ? -EISDIR : -ENXIO;
}

/* What is there already and no regular file is not even opened: a device would notice. */
static int check_name(int parent, const char *name)
{
	struct stat status;

	if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || S_ISREG(status.st_mode) ||
		S_ISDIR(status.st_mode) || S_ISLNK(status.st_mode))
		return 0;
	return -ENXIO;
}

/* Adds all of a small file, if it stays as it was. */
static void read_whole(int fd, struct answer *answer)
{
	size_t size = (size_t)answer->reply.attr.size;
	struct text *data = &answer->data;

	data->data = memory_grow(NULL, size + 1);
	ssize_t got = pread(fd, data->data, size + 1, 0);
	data->size = got == (ssize_t)size ? size : 0;
}

/* FILE_OPEN */
int agent_open(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	const struct file_request *request = call->request;
	const char *name;
	int fd = -1, parent = agent_parent(files, call->path, &name);

	if (parent < 0)
		return parent;
	int result = request->flags & O_EXCL ? 0 : check_name(parent, name);
	if (!result) {
		fd = openat(parent, name, open_flags(request->flags), request->attr.mode & 01777);
		result = fd < 0 ? -errno : check_regular(fd, answer);
	}
	close(parent);
	if (result && fd >= 0)
		close(fd);
	if (result)
		return result;
	remember(files, request->handle, fd, NULL);
	answer->reply.handle = request->handle;
	if (request->length && answer->reply.attr.size <= request->length)
		read_whole(fd, answer);
	return 0;
}

/* FILE_READ */
int agent_read(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	size_t size = call->request->length, got = 0;
	int fd = file_of(files, call->request->handle);
	char *bytes = answer->data.data = memory_grow(NULL, size + 1);

	while (fd >= 0 && got < size) {
		ssize_t count = pread(fd, bytes + got, size - got,
			(off_t)(call->request->offset + got));

		if (count < 0)
			return -errno;
		if (count == 0)
			break;
		got += (size_t)count;
	}
	answer->data.size = got;
	answer->reply.count = (uint32_t)got;
	return fd < 0 ? fd : 0;
}

/* FILE_WRITE */
int agent_write(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	const struct file_request *request = call->request;
	int fd = file_of(files, request->handle);

	for (size_t done = 0; fd >= 0 && done < request->data_size;) {
		ssize_t count = pwrite(fd, (const char *)call->data + done,
			request->data_size - done, (off_t)(request->offset + done));

		if (count < 0)
			return -errno;
		done += (size_t)count;
	}
	answer->reply.count = request->data_size;
	return fd < 0 ? fd : 0;
}

/* FILE_FSYNC */
int agent_fsync(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	const char *name;

	if (call->request->handle) {
		int fd = file_of(files, call->request->handle);
		return fd < 0 ? fd : fsync(fd) < 0 ? -errno : 0;
	}
	int parent = agent_parent(files, call->path, &name);
	if (parent < 0)
		return parent;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int result = fd < 0 || fsync(fd) < 0 ? -errno : 0;
	close(parent);
	if (fd >= 0)
		close(fd);
	return result;
}

/* FILE_CLOSE */
int agent_close(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	struct open_file **at = &files->open[call->request->handle % AGENT_BUCKETS];

	while (*at && (*at)->handle != call->request->handle)
		at = &(*at)->next;
	struct open_file *file = *at;
	if (!file)
		return -EBADF;
	*at = file->next;
	int result = (file->directory ? closedir(file->directory) : close(file->fd)) < 0 ? -errno : 0;
	free(file);
	return result;
}

/* Adds entries of a directory, as many as make a page. What is gone meanwhile is left out. 1: there
 * may be more; 0: that was all; or a negative errno. */
static int read_page(DIR *directory, struct text *page)
{
	const struct dirent *entry;
	struct file_attr attr;
	struct stat status;

	while (page->size < PAGE_FULL) {
		errno = 0;
		entry = readdir(directory);
		if (!entry)
			return -errno;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
			fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		agent_attr(&status, &attr);
		files_entry_append(page, &attr, entry->d_name, strlen(entry->d_name));
	}
	return 1;
}

/* FILE_OPENDIR. A directory whose entries all come along need not stay open. */
int agent_opendir(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	const char *name;
	int parent = agent_parent(files, call->path, &name);

	if (parent < 0)
		return parent;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	int error = directory ? 0 : -errno;
	close(parent);
	if (!directory && fd >= 0)
		close(fd);
	if (!directory)
		return error;
	int more = call->request->flags & FILES_LIST ? read_page(directory, &answer->data) : 1;
	if (more <= 0) {
		closedir(directory);
		return more;
	}
	remember(files, call->request->handle, fd, directory);
	answer->reply.handle = call->request->handle;
	return 0;
}

/* FILE_READDIR */
int agent_readdir(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	struct open_file *file = agent_find(files, call->request->handle);

	if (!file || !file->directory)
		return -EBADF;
	int more = read_page(file->directory, &answer->data);
	return more < 0 && answer->data.size == 0 ? more : 0;
}

/* FILE_COPY. What cannot be copied like that, the daemon reads and writes. */
int agent_copy(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	const struct file_request *request = call->request;
	int from = file_of(files, request->handle), to = file_of(files, request->handle2);
	loff_t offset = (loff_t)request->offset, offset2 = (loff_t)request->offset2;
	ssize_t count = 1;

	if (from < 0 || to < 0)
		return -EBADF;
	while (answer->reply.count < request->length && count > 0) {
		count = copy_file_range(from, &offset, to, &offset2,
			request->length - answer->reply.count, 0);
		if (count > 0)
			answer->reply.count += (uint32_t)count;
	}
	if (count < 0)
		return errno == EXDEV || errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : -errno;
	return 0;
}
