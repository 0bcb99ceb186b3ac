/* SPDX-License-Identifier: MIT */
/*
 * File requests: what an operation below an instance's files/ becomes on its way
 * from the daemon to the transport (payload of FRAME_FILE and FRAME_FILE_REPLY).
 *
 * Paths are relative to the root of files/: "" is the root itself; no leading or
 * double '/', no "." or "..", no NUL, components of 255 bytes at most, 4095 in all.
 * Links are never followed on the last component. Everything in a reply comes from a
 * guest in the end: the transport checks it, and the daemon checks again.
 */
#ifndef PROTOCOL_FILES_H
#define PROTOCOL_FILES_H

#include <stddef.h>
#include <stdint.h>

#define FILES_PATH_MAX	4095u
#define FILES_NAME_MAX	255u
#define FILES_DATA_MAX	1048576u	/* of one read, write, or page of a directory */
#define FILES_LIST	1u		/* of OPENDIR: the caller is going to read it */
#define FILES_AHEAD	1u		/* of READ: what was read ahead a moment ago will do */
#define FILES_FLUSH	1u		/* of FSYNC: the machine is to have what was written; on which medium
					   is all the same */
#define FILES_QUIET	1u		/* of CLOSE: nobody waits for the reply, and none is given */

#define FILES_COPY_MAX	4194304u	/* of one copy by the server, which does nothing else meanwhile */

enum file_op {
	FILE_GETATTR,	/* path, or handle when not 0 -> attr */
	FILE_SETATTR,	/* path, or handle when not 0; attr where attr.valid says -> attr (after); count: 1
			   where that was one step, in order with other requests */
	FILE_READLINK,	/* path -> data: the target, already contained in files/ */
	FILE_SYMLINK,	/* path; path2: the target's text, any bytes but NUL -> attr */
	FILE_LINK,	/* path: existing, path2: new -> attr */
	FILE_MKDIR,	/* path; attr.mode -> attr */
	FILE_UNLINK,	/* path */
	FILE_RMDIR,	/* path */
	FILE_RENAME,	/* path -> path2; flags: 0 or RENAME_NOREPLACE (else -EINVAL) -> count: as of SETATTR */
	FILE_OPEN,	/* path; flags: O_ACCMODE | O_TRUNC | O_APPEND | O_CREAT | O_EXCL of the host;
			   attr.mode for O_CREAT -> handle, attr. length: a file of at most so many bytes
			   may come along -> data: all of it, as it was after the open */
	FILE_READ,	/* handle, offset, length; flags: FILES_AHEAD -> data; fewer bytes only at the end of the file */
	FILE_WRITE,	/* handle, offset, data -> count (all, or an error) */
	FILE_FSYNC,	/* handle of a file; or 0 and path: of a directory; flags: FILES_FLUSH. -ENOSYS:
			   cannot be had */
	FILE_CLOSE,	/* handle; flags: FILES_QUIET. The reply is the errors that writing left */
	FILE_OPENDIR,	/* path -> handle; flags: FILES_LIST -> data: the first entries; without
			   a handle when these are all */
	FILE_READDIR,	/* handle -> data: the next file_entry's, none at the end */
	FILE_STATFS,	/* path -> data: struct file_statfs */
	FILE_COPY,	/* handle, offset -> handle2, offset2; length, at most FILES_COPY_MAX: copied by
			   the server -> count; 0 only at the end of the source. -EOPNOTSUPP where that
			   cannot be done: part of the target may be written then */
	FILE_OPS
};

#define FILE_ATTR_SIZE	1u
#define FILE_ATTR_OWNER	2u	/* uid and gid */
#define FILE_ATTR_MODE	4u
#define FILE_ATTR_TIMES	8u	/* atime and mtime */

struct file_attr {
	uint32_t valid;		/* FILE_ATTR_...: which fields mean something */
	uint32_t mode;		/* st_mode with the type; types are regular, directory, symbolic link,
				   FIFO, socket or device; no setuid or setgid from a guest */
	uint64_t size;		/* at most INT64_MAX */
	uint32_t uid, gid;	/* the guest's numbers */
	int64_t atime, mtime;	/* seconds since 1970 */
	uint32_t nlink;		/* 0: not known */
	uint32_t reserved;
};

struct file_request {
	uint32_t op;		/* enum file_op */
	uint32_t flags;
	uint64_t handle;	/* from OPEN or OPENDIR; never 0 there */
	uint64_t offset;
	uint32_t length;	/* of a read, or of a file that comes with its open: at most
				   FILES_DATA_MAX; of a copy */
	uint32_t path_size;	/* the bytes after this struct are path, path2 (neither with a NUL), data */
	uint32_t path2_size;
	uint32_t data_size;
	struct file_attr attr;
	uint64_t handle2;	/* of a copy: its target */
	uint64_t offset2;
};

struct file_reply {
	int32_t error;		/* 0 or a negative errno; then nothing else counts */
	uint32_t count;
	uint64_t handle;
	struct file_attr attr;
};

/* One entry of a directory in a reply's data: this, then name_size bytes, then padding to a
 * multiple of 8. "." and ".." are left out. */
struct file_entry {
	struct file_attr attr;
	uint32_t name_size;	/* 1 to FILES_NAME_MAX */
	uint32_t reserved;
};

struct file_statfs {
	uint64_t block_size, blocks, blocks_free, blocks_available, files, files_free;
	uint64_t name_max;
};

/* A request, taken apart. */
struct file_call {
	const struct file_request *request;
	const char *path;	/* path_size bytes and a NUL */
	const char *path2;	/* path2_size bytes and a NUL */
	const void *data;	/* data_size bytes */
};

/*
 * Takes apart and checks the payload of a FRAME_FILE by the rules above. The strings are copied
 * to buffer, which must hold 2 * (FILES_PATH_MAX + 1) bytes; the rest points into payload, which
 * is aligned to 8. 0, or -EPROTO.
 */
int files_decode(const void *payload, size_t size, char *buffer, struct file_call *call);
/* The same for a READ or a WRITE whose data are in a slot, not in the payload. */
int files_decode_apart(const void *payload, size_t size, char *buffer, const void *slot,
	struct file_call *call);

/* Whether path fits the rules at the head of this file. */
int files_path_valid(const char *path, size_t size);

/*
 * The entry at *position of a page of size bytes; *position moves on. 1: there was one (name points
 * into data, name_size bytes, no NUL), 0: the end, -EPROTO: the page is malformed, or the name is
 * empty, ".", "..", holds '/' or NUL, or is too long.
 */
int files_entry_next(const void *data, size_t size, size_t *position,
	const struct file_entry **entry, const char **name);

/* How much of these entries, in whole ones, fits into one page. */
size_t files_page_size(const void *data, size_t size);

struct text;
/* Appends one entry to a page. */
void files_entry_append(struct text *page, const struct file_attr *attr,
	const char *name, size_t name_size);

#endif
