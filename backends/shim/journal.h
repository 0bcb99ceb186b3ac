/* SPDX-License-Identifier: MIT */
/*
 * The instance's `log`: messages of shim, backend and transport, and what the backend's
 * tools print. All of it is escaped here, for people read it on terminals.
 */
#ifndef SHIM_JOURNAL_H
#define SHIM_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "backends/shim/sink.h"

#define JOURNAL_LIMIT (1024u * 1024u)

struct shim;

struct journal {
	struct sink spool;
	bool within;		/* the last byte was not a newline */
};

void journal_init(struct shim *shim);
/* One message, on a line of its own. */
void journal_printf(struct shim *shim, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Bytes as they come. */
void journal_bytes(struct shim *shim, const void *data, size_t size);

#endif
