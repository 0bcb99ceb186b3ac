/* SPDX-License-Identifier: MIT */
#include "backends/container/boot.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/agent/talk.h"

/* Sends. */
void boot_send(enum boot_type type, int fd, const char *format, ...)
{
	struct boot_message message = { .type = type };
	va_list list;

	va_start(list, format);
	vsnprintf(message.text, sizeof(message.text), format, list);
	va_end(list);
	talk_send_packet(0, &message, sizeof(message), &fd, fd >= 0 ? 1 : 0);
}

/* Fails. */
void boot_fail(int code, const char *format, ...)
{
	struct boot_message message = { .type = BOOT_FAILED, .code = code };
	va_list list;

	va_start(list, format);
	int size = vsnprintf(message.text, sizeof(message.text), format, list);
	va_end(list);
	if (size > 0 && (size_t)size < sizeof(message.text))
		snprintf(message.text + size, sizeof(message.text) - (size_t)size, ": %s",
			strerror(-code));
	talk_send_packet(0, &message, sizeof(message), NULL, 0);
	_exit(EXIT_FAILURE);
}
