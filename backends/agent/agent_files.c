/* SPDX-License-Identifier: MIT */
#include "backends/agent/agent_files.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backends/agent/agent.h"
#include "backends/base/memory.h"
#include "backends/protocol/protocol.h"

/* What an idle server keeps of its buffer. */
#define KEPT 65536u
#define DESCRIPTORS 65536u

static file_operation *const operations[FILE_OPS] = {
	[FILE_GETATTR] = agent_getattr,
	[FILE_SETATTR] = agent_setattr,
	[FILE_READLINK] = agent_readlink,
	[FILE_SYMLINK] = agent_symlink,
	[FILE_LINK] = agent_link,
	[FILE_MKDIR] = agent_mkdir,
	[FILE_UNLINK] = agent_unlink,
	[FILE_RMDIR] = agent_rmdir,
	[FILE_RENAME] = agent_rename,
	[FILE_OPEN] = agent_open,
	[FILE_READ] = agent_read,
	[FILE_WRITE] = agent_write,
	[FILE_FSYNC] = agent_fsync,
	[FILE_CLOSE] = agent_close,
	[FILE_OPENDIR] = agent_opendir,
	[FILE_READDIR] = agent_readdir,
	[FILE_STATFS] = agent_statfs,
	[FILE_COPY] = agent_copy,
};

/* Reads size bytes; false at the end. */
static bool read_all(int socket, void *bytes, size_t size)
{
	for (size_t got = 0; got < size;) {
		ssize_t count = read(socket, (char *)bytes + got, size - got);

		if (count == 0 || (count < 0 && errno != EINTR))
			return false;
		got += count > 0 ? (size_t)count : 0;
	}
	return true;
}

/* Writes the parts; false at the end. */
static bool write_all(int socket, struct iovec *parts, int count)
{
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = (size_t)count };

	while (header.msg_iovlen > 0) {
		ssize_t sent = sendmsg(socket, &header, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			return false;
		while (sent > 0 && (size_t)sent >= header.msg_iov->iov_len) {
			sent -= (ssize_t)header.msg_iov->iov_len;
			header.msg_iov++;
			header.msg_iovlen--;
			if (header.msg_iovlen == 0)
				return true;
		}
		if (sent > 0) {
			header.msg_iov->iov_base = (char *)header.msg_iov->iov_base + sent;
			header.msg_iov->iov_len -= (size_t)sent;
		}
		while (header.msg_iovlen > 0 && header.msg_iov->iov_len == 0) {
			header.msg_iov++;
			header.msg_iovlen--;
		}
	}
	return true;
}

/* Carries one request out and answers it. */
static bool serve(struct server_files *files, int socket, uint64_t id, const void *payload,
	size_t size)
{
	char strings[2 * (FILES_PATH_MAX + 1)];
	struct answer answer = { 0 };
	struct file_call call;

	if (files_decode(payload, size, strings, &call) < 0)
		return false;
	answer.reply.error = operations[call.request->op](files, &call, &answer);
	if (answer.reply.error)
		answer.data.size = 0;
	struct frame_header header = { .type = FRAME_FILE_REPLY, .id = id,
		.size = (uint32_t)(sizeof(answer.reply) + answer.data.size) };
	struct iovec parts[] = { { &header, sizeof(header) },
		{ &answer.reply, sizeof(answer.reply) }, { answer.data.data, answer.data.size } };
	bool sent = write_all(socket, parts, 3);
	text_done(&answer.data);
	return sent;
}

/* Serves. */
void agent_files_serve(int socket, int directory)
{
	struct server_files files = { .root = directory };
	struct rlimit limit;
	struct frame_header header;
	size_t room = 0;
	char *payload = NULL;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS) {
		limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	umask(0);
	while (read_all(socket, &header, sizeof(header)) && header.type == FRAME_FILE &&
		header.size <= PROTOCOL_PAYLOAD_MAX) {
		if (header.size > room || room > KEPT) {
			room = header.size > KEPT ? header.size : KEPT;
			free(payload);
			payload = memory_new(room);
		}
		if (!read_all(socket, payload, header.size) ||
			!serve(&files, socket, header.id, payload, header.size))
			break;
	}
	free(payload);
}

/* Finds an open file. */
struct open_file *agent_find(const struct server_files *files, uint64_t handle)
{
	struct open_file *file = files->open[handle % AGENT_BUCKETS];

	while (file && file->handle != handle)
		file = file->next;
	return file;
}

/* What is told of a file. The bits that change who runs a program are not a guest's to give. */
void agent_attr(const struct stat *status, struct file_attr *attr)
{
	*attr = (struct file_attr){
		.valid = FILE_ATTR_SIZE | FILE_ATTR_OWNER | FILE_ATTR_MODE | FILE_ATTR_TIMES,
		.mode = status->st_mode & (S_IFMT | 01777),
		.size = (uint64_t)status->st_size,
		.uid = status->st_uid,
		.gid = status->st_gid,
		.atime = status->st_atime,
		.mtime = status->st_mtime,
		.nlink = (uint32_t)status->st_nlink,
	};
}
