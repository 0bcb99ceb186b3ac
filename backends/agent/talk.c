/* SPDX-License-Identifier: MIT */
#include "backends/agent/talk.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

union space {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(TALK_FDS_MAX * sizeof(int))];
};

/* Sends. */
int talk_send_packet(int socket, const void *packet, size_t length, const int *fds, unsigned count)
{
	struct iovec part = { (void *)packet, length };
	union space space = { .head = { 0 } };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (count > 0) {
		header.msg_control = space.bytes;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		space.head.cmsg_level = SOL_SOCKET;
		space.head.cmsg_type = SCM_RIGHTS;
		space.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&space.head), fds, count * sizeof(int));
	}
	do
		sent = sendmsg(socket, &header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Sends a message. */
int talk_send(int socket, const struct talk_message *message, const int *fds, unsigned count)
{
	return talk_send_packet(socket, message, sizeof(*message), fds, count);
}

/* Collects the descriptors that came. */
static unsigned take_fds(struct msghdr *header, int *fds)
{
	unsigned count = 0;

	for (struct cmsghdr *one = CMSG_FIRSTHDR(header); one; one = CMSG_NXTHDR(header, one)) {
		if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS)
			continue;
		size_t more = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < more && count < TALK_FDS_MAX; i++)
			memcpy(&fds[count++], CMSG_DATA(one) + i * sizeof(int), sizeof(int));
	}
	return count;
}

/* Receives. The kernel closes descriptors beyond what there is room for. */
int talk_receive_packet(int socket, void *packet, size_t length, int *fds, unsigned *count)
{
	struct iovec part = { packet, length };
	union space space;
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = space.bytes,
		.msg_controllen = sizeof(space.bytes) };
	ssize_t size;

	do
		size = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	if (size < 0)
		return -errno;
	*count = take_fds(&header, fds);
	if (size == 0 && *count == 0)
		return 0;
	if ((size_t)size != length || header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (*count > 0)
			close(fds[--*count]);
		return -EPROTO;
	}
	return 1;
}

/* Receives a message. */
int talk_receive(int socket, struct talk_message *message, int *fds, unsigned *count)
{
	return talk_receive_packet(socket, message, sizeof(*message), fds, count);
}

/* The driver's number stands in the kernel's Documentation/admin-guide/devices.txt. */
int talk_terminal(int fd)
{
	struct stat status;

	if (fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
		status.st_rdev == makedev(5, 2))
		return 1;
	close(fd);
	return 0;
}
