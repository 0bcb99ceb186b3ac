/* SPDX-License-Identifier: MIT */
/*
 * File requests by shell commands: for machines that run commands and serve no files in any better
 * way. Any transport whose `run` works can have its `file` done by this.
 *
 * One shell in the machine, started with the first request, carries the requests out, one after
 * the other in their order, as an SFTP server does (program.h says what it is told). It needs a
 * POSIX shell and the usual tools, those of busybox for instance. If it ends, takes too long or
 * answers what it cannot have been asked, it is ended and another one is started for the
 * requests that it had not begun; the one that it was at fails.
 *
 * Loop's thread only. `done` comes from the loop, never from inside a call of these functions, but for
 * shellfiles_lose. What comes from the machine is checked here: see protocol/files.h.
 */
#ifndef SHELLFILES_SHELLFILES_H
#define SHELLFILES_SHELLFILES_H

#include <stdint.h>

#include "backends/transport.h"

struct shellfiles;

struct shellfiles_events {
	/* A message for the instance's log. */
	void (*log)(void *data, const char *message);
	/* A line of the instance's `status`. */
	void (*status)(void *data, const char *key, const char *value);
};

/* Uses ops->run and the run_... slots of the transport, which must stay longer. Commands without a
 * cwd of their own must start in the directory that files/ shows. Requests fail with -EHOSTDOWN until
 * shellfiles_begin. */
struct shellfiles *shellfiles_new(struct uv_loop_s *loop, const struct transport_ops *ops,
	struct transport *transport, const struct shellfiles_events *events, void *data);
/* Frees all without callbacks. No event of a run of the transport may come from here on; the run itself
 * is left to the transport. NULL is allowed. */
void shellfiles_free(struct shellfiles *files);
/* The transport is up: commands run. */
void shellfiles_begin(struct shellfiles *files);
/* It is not any more, and loses its runs now: call this first. Every request ends with error, within this
 * call; what is open is forgotten. */
void shellfiles_lose(struct shellfiles *files, int error);
/* Where the directory of files/ is in the machine, absolute; "" as long as no request was answered. */
const char *shellfiles_root(const struct shellfiles *files);
/* A request, and its end before time, as the slots `file` and `file_cancel` of struct transport_ops. */
void shellfiles_add(struct shellfiles *files, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data);
void shellfiles_cancel(struct shellfiles *files, uint64_t key);

#endif
