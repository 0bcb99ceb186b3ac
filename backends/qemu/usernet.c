/* SPDX-License-Identifier: MIT */
/*
 * The table looks so, since QEMU 0.12 (net/slirp.c; libslirp's slirp_connection_info):
 *
 *   Hub -1 (net0):
 *     Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
 *     TCP[HOST_FORWARD]  12       127.0.0.1 40123       10.0.2.15    22     0     0
 */
#include "backends/qemu/usernet.h"

#include <stdio.h>
#include <string.h>

/* A line of the table is shorter. */
#define LINE_MAX_SIZE 256

/* A port as decimal digits, or 0. */
static uint16_t port_of(const char *word)
{
	unsigned number = 0;

	for (; *word; word++) {
		if (*word < '0' || *word > '9')
			return 0;
		number = number * 10 + (unsigned)(*word - '0');
		if (number > 65535)
			return 0;
	}
	return (uint16_t)number;
}

/* The host port when the line is the forward that is looked for, or 0. */
static uint16_t line_port(const char *line, uint16_t guest_port)
{
	char source[64], from[16], to[16];

	if (sscanf(line, " TCP[HOST_FORWARD] %*15[0-9] %63[0-9.] %15[0-9] %*63[0-9.*] %15[0-9]",
		    source, from, to) != 3)
		return 0;
	return strcmp(source, "127.0.0.1") == 0 && port_of(to) == guest_port ? port_of(from) : 0;
}

/* Looks line by line. */
uint16_t usernet_port(const char *text, uint16_t guest_port)
{
	char line[LINE_MAX_SIZE];
	uint16_t port;

	while (*text) {
		size_t size = strcspn(text, "\n");

		if (size < sizeof(line)) {
			memcpy(line, text, size);
			line[size] = '\0';
			if ((port = line_port(line, guest_port)))
				return port;
		}
		text += size + (text[size] == '\n');
	}
	return 0;
}
