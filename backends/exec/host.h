/* SPDX-License-Identifier: MIT */
/* poolfs-programs, the process that keeps the programs of a machine (main.c). Loop's thread
 * only. */
#ifndef EXEC_HOST_H
#define EXEC_HOST_H

#include "backends/backend.h"

struct host;

/*
 * Starts one in a directory, with more NAME=VALUE for the environment of its programs (ended by
 * NULL). ended(data) is called once, later: it has ended, and so have all programs. 0 or a
 * negative errno.
 */
int host_new(struct poolfs_machine *machine, const char *directory, const char *const *environment,
	void (*ended)(void *data), void *data, struct host **host, struct poolfs_err *err);
/* The socket to it, for poolfs_address.agent. */
int host_socket(const struct host *host);
/* Ends it and all that its programs left, soon. */
void host_end(struct host *host);
/* Without a callback; what still runs ends by itself. NULL is allowed. */
void host_free(struct host *host);

#endif
