/* SPDX-License-Identifier: MIT */
#include "backends/protocol/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024	/* the kernel has its own limit below that (net.core.somaxconn) */

union address {
	struct sockaddr any;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
	struct sockaddr_un local;
};

/* Makes the address of a place; its size. */
static socklen_t address_of(const struct sockets_place *place, union address *address)
{
	memset(address, 0, sizeof(*address));
	switch (place->family) {
	case FORWARD_IPV4:
		address->ipv4.sin_family = AF_INET;
		address->ipv4.sin_port = htons(place->port);
		address->ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(address->ipv4);
	case FORWARD_IPV6:
		address->ipv6.sin6_family = AF_INET6;
		address->ipv6.sin6_port = htons(place->port);
		address->ipv6.sin6_addr = in6addr_loopback;
		return sizeof(address->ipv6);
	default:
		address->local.sun_family = AF_UNIX;
		strncpy(address->local.sun_path, place->path, sizeof(address->local.sun_path) - 1);
		return sizeof(address->local);
	}
}

/* The text. */
void sockets_text(enum forward_family family, uint16_t port, char *text)
{
	snprintf(text, SOCKETS_ADDRESS, family == FORWARD_IPV6 ? "[::1]:%u" : "127.0.0.1:%u", port);
}

/* Whether it is one. */
bool sockets_is_stream(int fd, enum forward_family family)
{
	static const int domains[] = { [FORWARD_IPV4] = AF_INET, [FORWARD_IPV6] = AF_INET6,
		[FORWARD_UNIX] = AF_UNIX };
	int domain = 0, type = 0;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
		domain == domains[family] &&
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/* The port. */
uint16_t sockets_port(int fd)
{
	union address address = { .any.sa_family = AF_UNSPEC };
	socklen_t size = sizeof(address);

	if (getsockname(fd, &address.any, &size) < 0)
		return 0;
	if (address.any.sa_family == AF_INET)
		return ntohs(address.ipv4.sin_port);
	return address.any.sa_family == AF_INET6 ? ntohs(address.ipv6.sin6_port) : 0;
}

/* The text of where a socket listens. */
static int text_of(int fd, const struct sockets_place *place, char *text)
{
	if (place->family == FORWARD_UNIX) {
		snprintf(text, SOCKETS_ADDRESS, "%s", place->path);
		return 0;
	}
	uint16_t port = sockets_port(fd);
	if (!port)
		return -EIO;
	sockets_text(place->family, port, text);
	return 0;
}

/* Binds and listens. A port of one's own choice may have old connections in TIME_WAIT. */
static int bind_listen(int fd, const struct sockets_place *place)
{
	union address address;
	socklen_t size = address_of(place, &address);
	int on = 1;

	if (place->family != FORWARD_UNIX && place->port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (place->family == FORWARD_IPV6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &address.any, size) < 0)
		return -errno;
	if (listen(fd, BACKLOG) == 0)
		return 0;
	int error = -errno;
	if (place->family == FORWARD_UNIX)
		unlink(place->path);
	return error;
}

/* Listens. */
int sockets_listen(const struct sockets_place *place, char *text)
{
	union address address;

	address_of(place, &address);
	int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int result = bind_listen(fd, place);
	if (result == 0)
		result = text_of(fd, place, text);
	if (result == 0)
		return fd;
	close(fd);
	return result;
}

/* Connects. */
int sockets_connect(const struct sockets_place *place)
{
	union address address;
	socklen_t size = address_of(place, &address);
	int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, &address.any, size) == 0 || errno == EINPROGRESS)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

/* A close with no time to linger drops what was sent and not received. */
void sockets_linger(int fd)
{
	struct linger none = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

/* Closes. */
void sockets_reset(int fd)
{
	sockets_linger(fd);
	close(fd);
}
