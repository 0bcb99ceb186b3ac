/* SPDX-License-Identifier: MIT */
#include "backends/remote/tap_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	unsigned baud;
	speed_t speed;
} speeds[] = {
	{ 1200, B1200 }, { 2400, B2400 }, { 4800, B4800 }, { 9600, B9600 }, { 19200, B19200 },
	{ 38400, B38400 }, { 57600, B57600 }, { 115200, B115200 }, { 230400, B230400 },
	{ 460800, B460800 }, { 500000, B500000 }, { 921600, B921600 }, { 1000000, B1000000 },
	{ 1500000, B1500000 }, { 2000000, B2000000 }, { 3000000, B3000000 }, { 4000000, B4000000 },
};

/* "COMMAND" */
static int read_command(const char *rest, struct tap_text *out, struct poolfs_err *err)
{
	if (!rest[strspn(rest, " \t")])
		return poolfs_err_set(err, -EINVAL, "exec: needs a command");
	out->kind = TAP_EXEC;
	out->command = rest;
	return 0;
}

/* "PATH[,SPEED]" */
static int read_device(const char *rest, struct tap_text *out, struct poolfs_err *err)
{
	const char *comma = strrchr(rest, ',');
	size_t length = comma ? (size_t)(comma - rest) : strlen(rest);
	char *end = NULL;
	unsigned long baud = comma ? strtoul(comma + 1, &end, 10) : 115200;

	if (rest[0] != '/' || length >= sizeof(out->path))
		return poolfs_err_set(err, -EINVAL, "dev: needs the absolute path of a device");
	memcpy(out->path, rest, length);
	out->path[length] = '\0';
	for (size_t i = 0; i < sizeof(speeds) / sizeof(*speeds); i++) {
		if (speeds[i].baud != baud || (comma && (end == comma + 1 || *end)))
			continue;
		out->kind = TAP_DEVICE;
		out->speed = speeds[i].speed;
		return 0;
	}
	return poolfs_err_set(err, -EINVAL, "\"%s\" is no speed: write one such as 9600 or 115200",
		comma ? comma + 1 : "");
}

/* "HOST:PORT" */
static int read_port(const char *rest, struct tap_text *out, struct poolfs_err *err)
{
	int result = target_parse_host(rest, &out->target, err);

	if (result < 0)
		return result;
	if (!out->target.port || *out->target.user)
		return poolfs_err_set(err, -EINVAL, "tcp: needs HOST:PORT");
	out->kind = TAP_TCP;
	return 0;
}

/* Reads. */
int tap_text_read(const char *text, struct tap_text *out, struct poolfs_err *err)
{
	static const struct {
		const char *name;
		int (*read)(const char *rest, struct tap_text *out, struct poolfs_err *err);
	} kinds[] = {
		{ "exec:", read_command },
		{ "dev:", read_device },
		{ "tcp:", read_port },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strncmp(text, kinds[i].name, strlen(kinds[i].name)) == 0)
			return kinds[i].read(text + strlen(kinds[i].name), out, err);
	return poolfs_err_set(err, -EINVAL,
		"write exec:COMMAND, dev:/dev/NAME,SPEED or tcp:HOST:PORT");
}
