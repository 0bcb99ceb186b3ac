/* SPDX-License-Identifier: MIT */
/* The file requests that work on paths. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backends/agent/agent_files.h"
#include "backends/base/resolve.h"

/* Opens what holds the last name. Where a link leads out, there is nothing. */
int agent_parent(const struct server_files *files, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char directory[FILES_PATH_MAX + 1] = ".";

	*name = slash ? slash + 1 : *path ? path : ".";
	if (slash)
		snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path), path);
	int fd = resolve_open(files->root, directory, O_PATH | O_DIRECTORY | O_CLOEXEC, RESOLVE_BENEATH);
	return fd == -EXDEV ? -ENOENT : fd;
}

/* Opens the thing itself, a link too, to look at only. */
static int open_path(const struct server_files *files, const char *path)
{
	const char *name;
	int parent = agent_parent(files, path, &name);

	if (parent < 0)
		return parent;
	int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int error = -errno;
	close(parent);
	return fd < 0 ? error : fd;
}

/* Looks at what a descriptor stands for. */
static int look(int fd, struct answer *answer)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	agent_attr(&status, &answer->reply.attr);
	return 0;
}

/* The descriptor that a request is about; *own when it is to be closed. */
static int subject(struct server_files *files, const struct file_call *call, bool *own)
{
	*own = call->request->handle == 0;
	if (*own)
		return open_path(files, call->path);
	struct open_file *file = agent_find(files, call->request->handle);
	return file ? file->fd : -EBADF;
}

/* FILE_GETATTR */
int agent_getattr(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	bool own;
	int fd = subject(files, call, &own);
	int result = fd < 0 ? fd : look(fd, answer);

	if (own && fd >= 0)
		close(fd);
	return result;
}

/* Sets a size. What is no regular file is not opened. */
static int set_size(int fd, const char *link, mode_t mode, uint64_t size)
{
	if (!S_ISREG(mode))
		return S_ISDIR(mode) ? -EISDIR : -EINVAL;
	if (ftruncate(fd, (off_t)size) == 0)
		return 0;
	/* The descriptor was opened to look, or to read. */
	int writable = open(link, O_WRONLY | O_CLOEXEC);
	if (writable < 0)
		return -errno;
	int result = ftruncate(writable, (off_t)size) < 0 ? -errno : 0;
	close(writable);
	return result;
}

/* Sets what the request says. proc(5)'s name of a descriptor leads to the very file, not to what
 * a link points to; chmod(2) has no other way to that. An owner that has no number in the
 * machine is one that cannot be given. */
static int set_attr(int fd, const struct file_attr *attr)
{
	struct timespec times[2] = { { .tv_sec = attr->atime }, { .tv_sec = attr->mtime } };
	struct stat status;
	char link[64];
	int result = 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fstat(fd, &status) < 0)
		return -errno;
	if (attr->valid & FILE_ATTR_SIZE)
		result = set_size(fd, link, status.st_mode, attr->size);
	if (!result && attr->valid & FILE_ATTR_OWNER &&
		fchownat(fd, "", attr->uid, attr->gid, AT_EMPTY_PATH) < 0)
		result = errno == EINVAL ? -EPERM : -errno;
	if (!result && attr->valid & FILE_ATTR_MODE) {
		if (S_ISLNK(status.st_mode))
			return -EOPNOTSUPP;
		result = chmod(link, attr->mode & 07777) < 0 ? -errno : 0;
	}
	if (!result && attr->valid & FILE_ATTR_TIMES && utimensat(AT_FDCWD, link, times, 0) < 0)
		result = -errno;
	return result;
}

/* FILE_SETATTR */
int agent_setattr(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	bool own;
	int fd = subject(files, call, &own);
	int result = fd < 0 ? fd : set_attr(fd, &call->request->attr);

	if (!result)
		result = look(fd, answer);
	if (own && fd >= 0)
		close(fd);
	return result;
}

/* FILE_READLINK */
int agent_readlink(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	char target[FILES_PATH_MAX + 2];
	const char *name;
	int parent = agent_parent(files, call->path, &name);

	if (parent < 0)
		return parent;
	ssize_t size = readlinkat(parent, name, target, sizeof(target));
	int result = size < 0 ? -errno : size > (ssize_t)FILES_PATH_MAX ? -ENAMETOOLONG : 0;
	close(parent);
	if (!result)
		text_append(&answer->data, target, (size_t)size);
	return result;
}

/* What a new name is looked at with. */
static int look_at(int parent, const char *name, struct answer *answer)
{
	struct stat status;

	if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	agent_attr(&status, &answer->reply.attr);
	return 0;
}

/* FILE_SYMLINK */
int agent_symlink(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	const char *name;
	int parent = agent_parent(files, call->path, &name);

	if (parent < 0)
		return parent;
	int result = symlinkat(call->path2, parent, name) < 0 ? -errno
							      : look_at(parent, name, answer);
	close(parent);
	return result;
}

/* Does what takes two names: renameat2(2), or linkat(2) where `link` is set. */
static int two_names(struct server_files *files, const struct file_call *call, bool link,
	struct answer *answer)
{
	const char *name, *name2;
	int result, parent = agent_parent(files, call->path, &name);

	if (parent < 0)
		return parent;
	int parent2 = agent_parent(files, call->path2, &name2);
	if (parent2 < 0)
		result = parent2;
	else if (link)
		result = linkat(parent, name, parent2, name2, 0) < 0 ? -errno
								     : look_at(parent2, name2, answer);
	else
		result = renameat2(parent, name, parent2, name2, call->request->flags) < 0 ? -errno : 0;
	close(parent);
	if (parent2 >= 0)
		close(parent2);
	return result;
}

/* FILE_LINK */
int agent_link(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	return two_names(files, call, true, answer);
}

/* FILE_RENAME */
int agent_rename(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	if (call->request->flags & ~(uint32_t)RENAME_NOREPLACE)
		return -EINVAL;
	return two_names(files, call, false, answer);
}

/* FILE_MKDIR */
int agent_mkdir(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	const char *name;
	int parent = agent_parent(files, call->path, &name);

	if (parent < 0)
		return parent;
	int result = mkdirat(parent, name, call->request->attr.mode & 01777) < 0
			     ? -errno
			     : look_at(parent, name, answer);
	close(parent);
	return result;
}

/* Removes a name. */
static int remove_name(struct server_files *files, const struct file_call *call, int flags)
{
	const char *name;
	int parent = agent_parent(files, call->path, &name);

	if (parent < 0)
		return parent;
	int result = unlinkat(parent, name, flags) < 0 ? -errno : 0;
	close(parent);
	return result;
}

/* FILE_UNLINK */
int agent_unlink(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	return remove_name(files, call, 0);
}

/* FILE_RMDIR */
int agent_rmdir(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	return remove_name(files, call, AT_REMOVEDIR);
}

/* FILE_STATFS */
int agent_statfs(struct server_files *files, const struct file_call *call, struct answer *answer)
{
	struct statvfs status;
	int fd = open_path(files, call->path);

	if (fd < 0)
		return fd;
	int result = fstatvfs(fd, &status) < 0 ? -errno : 0;
	close(fd);
	if (result)
		return result;
	struct file_statfs out = { .block_size = status.f_frsize, .blocks = status.f_blocks,
		.blocks_free = status.f_bfree, .blocks_available = status.f_bavail,
		.files = status.f_files, .files_free = status.f_ffree,
		.name_max = status.f_namemax };
	text_append(&answer->data, &out, sizeof(out));
	return 0;
}
