/* SPDX-License-Identifier: MIT */
/* The machine's console: kept in a spool, looked at for crashes, typed into. */
#ifndef SHIM_CONSOLE_H
#define SHIM_CONSOLE_H

#include <uv.h>

#include "backends/base/text.h"
#include "backends/shim/filter.h"
#include "backends/shim/lines.h"
#include "backends/shim/sink.h"

struct shim;

struct console {
	struct sink spool;
	struct lines lines;	/* of the bytes as they came */
	struct filter filter;
	bool filtered;		/* the key console_filter */
	struct text input;	/* waits until the backend takes it */
	uv_timer_t retry;
	bool inside;		/* the output's last line is not complete */
	bool dropping;		/* input is being dropped; it was logged */
};

void console_init(struct shim *shim);
/* What the machine wrote. */
void console_output(struct shim *shim, const void *data, size_t size);
/* What a user typed; more than PROTOCOL_CONSOLE_INPUT_MAX waiting bytes are dropped. */
void console_input(struct shim *shim, const void *data, size_t size);
void console_close(struct shim *shim);

#endif
