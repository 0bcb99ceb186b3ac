/* SPDX-License-Identifier: MIT */
#include "backends/agent/reply.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/protocol/link.h"

/* The highest number of asm-generic/errno.h. */
#define ERRNO_MAX 133

#define ATTR_ALL (FILE_ATTR_SIZE | FILE_ATTR_OWNER | FILE_ATTR_MODE | FILE_ATTR_TIMES)

/* What may be in an answer without error, beside the reply itself. */
#define ATTR 1u
#define DATA 2u

static const unsigned contents[FILE_OPS] = {
	[FILE_GETATTR] = ATTR,
	[FILE_SETATTR] = ATTR,
	[FILE_READLINK] = DATA,
	[FILE_SYMLINK] = ATTR,
	[FILE_LINK] = ATTR,
	[FILE_MKDIR] = ATTR,
	[FILE_OPEN] = ATTR | DATA,
	[FILE_READ] = DATA,
	[FILE_OPENDIR] = DATA,
	[FILE_READDIR] = DATA,
	[FILE_STATFS] = DATA,
};

/* Whether a mode's type is one that Linux knows. */
static bool type_known(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISFIFO(mode) ||
	       S_ISSOCK(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

/* Cleans attributes; false when they cannot be any. */
static bool clean_attr(struct file_attr *attr)
{
	attr->valid &= ATTR_ALL;
	attr->mode &= S_IFMT | 01777;
	attr->reserved = 0;
	return attr->valid == ATTR_ALL && type_known(attr->mode) && attr->size <= INT64_MAX;
}

/* A link's target. */
static int take_link(const struct reply_to *to, const char *bytes, size_t size, struct text *data)
{
	char target[FILES_PATH_MAX + 1];
	int result = link_contain(to->root, to->path, bytes, size, target);

	if (!result)
		text_append(data, target, strlen(target));
	return result;
}

/* A page of a directory. */
static int take_page(const char *bytes, size_t size, struct text *data)
{
	const struct file_entry *entry;
	const char *name;
	size_t position = 0;
	int result;

	while ((result = files_entry_next(bytes, size, &position, &entry, &name)) > 0) {
		struct file_attr attr = entry->attr;

		if (!clean_attr(&attr))
			return -EIO;
		files_entry_append(data, &attr, name, entry->name_size);
	}
	return result < 0 ? -EIO : 0;
}

/* A filesystem's numbers. */
static int take_statfs(const char *bytes, size_t size, struct text *data)
{
	struct file_statfs statfs;

	if (size != sizeof(statfs))
		return -EIO;
	memcpy(&statfs, bytes, sizeof(statfs));
	if (statfs.block_size == 0 || statfs.block_size > 1u << 30)
		return -EIO;
	if (statfs.name_max > FILES_NAME_MAX)
		statfs.name_max = FILES_NAME_MAX;
	text_append(data, &statfs, sizeof(statfs));
	return 0;
}

/* What follows the reply. */
static int take_data(const struct reply_to *to, const char *bytes, size_t size, struct text *data)
{
	switch (to->op) {
	case FILE_READLINK:
		return take_link(to, bytes, size, data);
	case FILE_OPENDIR:
	case FILE_READDIR:
		return size > FILES_DATA_MAX ? -EIO : take_page(bytes, size, data);
	case FILE_STATFS:
		return take_statfs(bytes, size, data);
	default:
		if (size > to->length)
			return -EIO;
		text_append(data, bytes, size);
		return 0;
	}
}

/* What is an error. ENOSYS makes the kernel never ask again, which is for us to say. */
static int clean_error(int error)
{
	return error < 0 && error >= -ERRNO_MAX && error != -ENOSYS ? error : -EIO;
}

/* Whether the reply's numbers can be right. The number of what is open is the one that we gave. */
static bool clean_reply(const struct reply_to *to, struct file_reply *reply)
{
	bool opens = to->op == FILE_OPEN || to->op == FILE_OPENDIR;

	if (contents[to->op] & ATTR && !clean_attr(&reply->attr))
		return false;
	if (to->op == FILE_OPEN && (!S_ISREG(reply->attr.mode) || !reply->handle))
		return false;
	if (to->op == FILE_COPY && reply->count > to->length)
		return false;
	reply->handle = opens && reply->handle ? to->handle : 0;
	return true;
}

/* Makes the answer of one without error. */
static int take(const struct reply_to *to, const char *bytes, size_t size,
	struct file_reply *reply, struct text *data)
{
	if (!clean_reply(to, reply) || (size > 0 && !(contents[to->op] & DATA)))
		return -EIO;
	if (to->op == FILE_OPEN && size > 0 && size != reply->attr.size)
		return -EIO;
	int result = contents[to->op] & DATA ? take_data(to, bytes, size, data) : 0;
	if (to->op == FILE_READ)
		reply->count = (uint32_t)data->size;
	if (to->op == FILE_WRITE)
		reply->count = to->length;
	return result;
}

/* Checks. */
void reply_check(const struct reply_to *to, const void *payload, size_t size,
	struct file_reply *reply, struct text *data)
{
	int error = -EIO;

	if (size >= sizeof(*reply)) {
		memcpy(reply, payload, sizeof(*reply));
		error = reply->error ? clean_error(reply->error)
				     : take(to, (const char *)payload + sizeof(*reply),
					       size - sizeof(*reply), reply, data);
	}
	if (error) {
		*reply = (struct file_reply){ .error = error };
		text_done(data);
	}
}
