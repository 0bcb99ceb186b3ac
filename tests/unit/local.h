/* SPDX-License-Identifier: MIT */
/* A transport that runs commands on this host: its `run` slots only, each command by a shell of the test's
 * choice, in a directory and with a PATH of its own. */
#ifndef TESTS_UNIT_LOCAL_H
#define TESTS_UNIT_LOCAL_H

#include <uv.h>

#include "backends/transport.h"

struct transport {
	uv_loop_t *loop;
	const char *shell[3];	/* its words, ended by NULL; "-c" and the command follow */
	const char *directory, *path;
	unsigned started, alive; /* runs */
};

extern const struct transport_ops local_transport;

#endif
