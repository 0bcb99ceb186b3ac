/* SPDX-License-Identifier: MIT */
#include "fs/forward_name.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "backends/base/ports.h"

static const struct {
	const char *text;
	enum forward_family family;
} addresses[] = {
	{ "127.0.0.1:", FORWARD_IPV4 },
	{ "localhost:", FORWARD_IPV4 },
	{ "[::1]:", FORWARD_IPV6 },
};

/* The value of a hexadecimal digit, or -1. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of a path, of one character or three; how many there were, or 0. */
static size_t path_byte(const char *text, size_t length, char *byte)
{
	if (text[0] != '%') {
		*byte = text[0];
		return text[0] > ' ' && text[0] <= '~';
	}
	if (length < 3 || digit(text[1]) < 0 || digit(text[2]) < 0)
		return 0;
	*byte = (char)(digit(text[1]) * 16 + digit(text[2]));
	return *byte ? 3 : 0;
}

/* Reads a path. */
static int parse_path(const char *text, size_t length, struct forward_name_end *end,
	struct poolfs_err *err)
{
	size_t used = 0, count;

	end->family = FORWARD_UNIX;
	for (size_t i = 0; i < length; i += count, used++) {
		if (used == PROTOCOL_FORWARD_PATH_MAX)
			return poolfs_err_set(err, -ENAMETOOLONG, "the path of a unix socket has %u bytes "
				"at most", PROTOCOL_FORWARD_PATH_MAX);
		count = path_byte(text + i, length - i, &end->path[used]);
		if (!count)
			return poolfs_err_set(err, -EINVAL, "what is no printable ASCII in a path "
				"is written as %% and two hexadecimal digits, not 00");
	}
	end->path[used] = '\0';
	if (end->path[0] != '/')
		return poolfs_err_set(err, -EINVAL, "the path of a unix socket is absolute: "
			"unix:%%2Frun%%2Fx.sock");
	return 0;
}

/* Reads a port, which may be 0 for one that listens. */
static int parse_port(const char *text, size_t length, bool listens, struct forward_name_end *end,
	struct poolfs_err *err)
{
	int port = ports_parse(text, length);

	if (port < 0 || (port == 0 && !listens))
		return poolfs_err_set(err, -EINVAL, "\"%.*s\" is no port (1 to 65535)", (int)length, text);
	end->port = (uint16_t)port;
	return 0;
}

/* Reads ADDRESS:PORT. */
static int parse_tcp(const char *text, size_t length, bool listens, struct forward_name_end *end,
	struct poolfs_err *err)
{
	for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
		size_t size = strlen(addresses[i].text);

		if (length < size || strncmp(text, addresses[i].text, size) != 0)
			continue;
		end->family = addresses[i].family;
		return parse_port(text + size, length - size, listens, end, err);
	}
	return poolfs_err_set(err, -EINVAL, "\"tcp:%.*s\": write tcp:127.0.0.1:PORT or tcp:[::1]:PORT",
		(int)length, text);
}

/* How long the first end of text is: up to a ':' that is none of its own. */
static size_t end_length(const char *text)
{
	const char *at = text;

	if (strncmp(at, "unix:", 5) == 0) {
		at += 5;
	} else if (strncmp(at, "tcp:", 4) == 0) {
		at += 4;
		if (*at == '[')
			at = strchrnul(at, ']');
		at = strchrnul(at, ':');
		at += *at == ':';
	}
	return (size_t)(strchrnul(at, ':') - text);
}

/* Reads one end. */
static int parse_end(const char *text, size_t length, bool listens, struct forward_name_end *end,
	struct poolfs_err *err)
{
	if (strncmp(text, "unix:", 5) == 0)
		return parse_path(text + 5, length - 5, end, err);
	if (strncmp(text, "tcp:", 4) == 0)
		return parse_tcp(text + 4, length - 4, listens, end, err);
	return parse_port(text, length, listens, end, err);
}

/* Reads a name. */
int forward_name_parse(enum forward_direction direction, const char *name,
	struct forward_name *result, struct poolfs_err *err)
{
	struct forward_name parsed = { 0 };
	size_t length = end_length(name);

	if (strlen(name) > PROTOCOL_FORWARD_NAME_MAX)
		return poolfs_err_set(err, -ENAMETOOLONG, "the name has %u bytes at most",
			PROTOCOL_FORWARD_NAME_MAX);
	int error = parse_end(name, length, false, &parsed.target, err);
	if (error == 0 && name[length]) {
		name += length + 1;
		error = parse_end(name, strlen(name), true, &parsed.listen, err);
	}
	if (error)
		return error;
	if (direction == FORWARD_TO_HOST && parsed.listen.family == FORWARD_UNIX)
		return poolfs_err_set(err, -EOPNOTSUPP, "a guest can listen at a port only");
	*result = parsed;
	return 0;
}
