/* SPDX-License-Identifier: MIT */
/*
 * A client of QEMU's monitor protocol (QMP, docs/interop/qmp-spec in QEMU's sources)
 * over a unix socket to which QEMU connects. What it sends is not trusted: lines and
 * nesting are bounded, an answer that is late ends the connection. Loop's thread only;
 * callbacks come from the loop, never from inside a call.
 */
#ifndef QEMU_QMP_H
#define QEMU_QMP_H

#include <jansson.h>
#include <stdint.h>

#include "backends/backend.h"

/* Longest line and deepest nesting that are read. */
#define QMP_LINE_MAX 262144
#define QMP_DEPTH_MAX 32
/* How long an answer may take. The first is given more: QEMU connects, and then sets up the
 * machine, which takes a while when it allocates or loads much. */
#define QMP_ANSWER_MS 5000
#define QMP_GREETING_MS 60000
/* Calls that may wait for their answers. */
#define QMP_CALLS_MAX 64

struct qmp;
struct uv_loop_s;

struct qmp_events {
	/* Commands are accepted from now on. */
	void (*ready)(void *data);
	/* An event; about is its "data", or NULL. */
	void (*event)(void *data, const char *name, const json_t *about);
	/* The connection is over: its end (code 0), or what was wrong. Once; waiting calls were
	 * told before. */
	void (*closed)(void *data, int code, const char *reason);
};

/* The answer of a call: result 0 and "return", or a negative errno, NULL and the reason. */
typedef void qmp_done(void *data, int result, const json_t *value, const char *reason);

/* Listens for QEMU at path (see peer_listen). answer_ms: 0 means QMP_ANSWER_MS. */
int qmp_listen(struct uv_loop_s *loop, const char *path, uint64_t answer_ms,
	const struct qmp_events *events, void *data, struct qmp **qmp, struct poolfs_err *err);

/* Sends a command; arguments (may be NULL) becomes qmp's. Negative errno, and done is not called,
 * when there is no connection or too many calls wait. */
int qmp_call(struct qmp *qmp, const char *command, json_t *arguments, qmp_done *done, void *data);

/* Handles what has already arrived, now: for when QEMU has ended. */
void qmp_drain(struct qmp *qmp);

/* No callback from now on. NULL is fine. */
void qmp_free(struct qmp *qmp);

#endif
