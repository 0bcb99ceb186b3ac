/* SPDX-License-Identifier: MIT */
/*
 * What the backend and poolfs-container say to each other on the program's standard input, a
 * SOCK_SEQPACKET socket. First the backend sends a BOOT_BEGIN with the agent's end of the control
 * socket (agent/talk.h). When the backend's end is closed, the container ends, and with it the
 * program.
 */
#ifndef CONTAINER_BOOT_H
#define CONTAINER_BOOT_H

#include <stdint.h>

enum boot_type {
	BOOT_BEGIN = 1,		/* descriptor: the control socket */
	BOOT_LOG,		/* text: a line for the instance's log */
	BOOT_STATUS,		/* text: "key value" for its status */
	BOOT_CONSOLE,		/* descriptor: the master of the console's terminal */
	BOOT_GROUP,		/* text: a control group that is going to be made: limits.c */
	BOOT_READY,		/* the agent listens */
	BOOT_FAILED,		/* code: a negative errno; text: why */
	BOOT_ENDED,		/* text: how the container ended; the program ends next */
};

struct boot_message {
	uint32_t type;		/* enum boot_type */
	int32_t code;
	char text[504];		/* with a NUL */
};

/* boot.c, for the program: sends one; fd may be -1. */
__attribute__((format(printf, 3, 4)))
void boot_send(enum boot_type type, int fd, const char *format, ...);
/* The same as BOOT_FAILED, ": " and code's meaning appended, and the end of the process. */
__attribute__((noreturn, format(printf, 2, 3)))
void boot_fail(int code, const char *format, ...);

#endif
