/* SPDX-License-Identifier: MIT */
#include "backends/qemu/qmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/qemu/peer.h"

enum stage { GREETING, NEGOTIATING, READY, OVER };

/* A command whose answer has not come. Answers may come in any order, deadlines cannot. */
struct call {
	struct call *next;
	json_int_t id;
	uint64_t deadline;	/* loop time */
	qmp_done *done;
	void *data;
};

struct qmp {
	struct peer *peer;
	uv_timer_t timer;
	const struct qmp_events *events;
	void *data;
	enum stage stage;
	uint64_t answer_ms;
	json_int_t last_id;
	struct call *first;
	size_t calls;
	struct text line;
};

/* Takes the first call out of the list. */
static struct call *take_first(struct qmp *qmp)
{
	struct call *call = qmp->first;

	if (call) {
		qmp->first = call->next;
		qmp->calls--;
	}
	return call;
}

/* Takes the call with that id out of the list, or NULL. */
static struct call *take(struct qmp *qmp, json_int_t id)
{
	for (struct call **at = &qmp->first; *at; at = &(*at)->next) {
		struct call *call = *at;

		if (call->id != id)
			continue;
		*at = call->next;
		qmp->calls--;
		return call;
	}
	return NULL;
}

/* Ends the connection; everyone who waits hears why. The owner may free us in any callback. */
static void over(struct qmp *qmp, int code, const char *reason)
{
	struct call *call;

	if (qmp->stage == OVER)
		return;
	qmp->stage = OVER;
	uv_timer_stop(&qmp->timer);
	while (qmp->events && (call = take_first(qmp))) {
		call->done(call->data, code ? code : -EPIPE, NULL, reason);
		free(call);
	}
	if (qmp->events)
		qmp->events->closed(qmp->data, code, reason);
}

/* The limit of the handshake or of the oldest call. */
static void on_late(uv_timer_t *timer)
{
	over(timer->data, -ETIMEDOUT, "QEMU does not answer on its monitor");
}

/* Sets the timer to the first deadline. */
static void watch(struct qmp *qmp)
{
	uint64_t now = uv_now(qmp->timer.loop);

	if (qmp->stage == OVER)
		return;
	if (qmp->first)
		uv_timer_start(&qmp->timer, on_late,
			qmp->first->deadline > now ? qmp->first->deadline - now : 0, 0);
	else if (qmp->stage == READY)
		uv_timer_stop(&qmp->timer);
}

/* Writes one command as a line. */
static int write_command(struct qmp *qmp, const char *command, json_t *arguments, json_int_t id)
{
	json_t *object = json_pack("{s:s, s:I}", "execute", command, "id", id);

	if (arguments)
		json_object_set_new(object, "arguments", arguments);
	char *line = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (!line)
		return -EINVAL;
	size_t size = strlen(line);
	line[size] = '\n';	/* in place of the NUL; peer_write takes a size */
	int written = peer_write(qmp->peer, line, size + 1);
	free(line);
	return written == (int)size + 1 ? 0 : written < 0 ? written : -ENOBUFS;
}

/* Sends a command and notes who waits. */
static int send_command(struct qmp *qmp, const char *command, json_t *arguments,
	qmp_done *done, void *data)
{
	json_int_t id = ++qmp->last_id;
	int result = write_command(qmp, command, arguments, id);
	struct call **at = &qmp->first;

	if (result < 0)
		return result;
	struct call *new = memory_new(sizeof(*new));
	*new = (struct call){ .id = id, .done = done, .data = data,
		.deadline = uv_now(qmp->timer.loop) + qmp->answer_ms };
	while (*at)
		at = &(*at)->next;
	*at = new;
	qmp->calls++;
	watch(qmp);
	return 0;
}

/* Whether the line nests no deeper than we allow; jansson's parser is recursive. */
static bool is_shallow(const char *line, size_t size)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < size; i++) {
		if (in_string && line[i] == '\\')
			i++;
		else if (line[i] == '"')
			in_string = !in_string;
		else if (!in_string && (line[i] == '{' || line[i] == '['))
			depth++;
		else if (!in_string && depth > 0 && (line[i] == '}' || line[i] == ']'))
			depth--;
		if (depth > QMP_DEPTH_MAX)
			return false;
	}
	return true;
}

/* The handshake is complete. */
static void on_negotiated(void *data, int result, const json_t *value, const char *reason)
{
	struct qmp *qmp = data;

	if (qmp->stage == OVER)
		return;
	if (result < 0)
		return over(qmp, result, reason);
	qmp->stage = READY;
	qmp->events->ready(qmp->data);
}

/* The first line: QEMU says who it is; we take no optional capability. */
static void greeting(struct qmp *qmp, const json_t *object)
{
	if (!json_is_object(json_object_get(object, "QMP")))
		return over(qmp, -EPROTO, "QEMU's monitor does not begin with a greeting");
	qmp->stage = NEGOTIATING;
	uint64_t answer_ms = qmp->answer_ms;
	qmp->answer_ms = QMP_GREETING_MS;
	int result = send_command(qmp, "qmp_capabilities", NULL, on_negotiated, qmp);
	qmp->answer_ms = answer_ms;
	if (result < 0)
		over(qmp, result, "cannot write to QEMU's monitor");
}

/* An answer goes to who waits for it; one that nobody waits for is dropped. */
static void answer(struct qmp *qmp, const json_t *object)
{
	const json_t *value = json_object_get(object, "return");
	const json_t *error = json_object_get(object, "error");
	struct call *call = take(qmp, json_integer_value(json_object_get(object, "id")));
	const char *text = json_string_value(json_object_get(error, "desc"));
	char reason[512];

	if (!call)
		return;
	watch(qmp);
	text_escape(reason, sizeof(reason), text ? text : "QEMU gave no reason");
	if (value)
		call->done(call->data, 0, value, "");
	else
		call->done(call->data, -EIO, NULL, reason);
	free(call);
}

/* One complete line. */
static void handle_line(struct qmp *qmp, const char *line, size_t size)
{
	json_t *object = is_shallow(line, size) ?
		json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *event = json_string_value(json_object_get(object, "event"));

	if (!json_is_object(object))
		over(qmp, -EPROTO, "QEMU's monitor sent what is no message");
	else if (qmp->stage == GREETING)
		greeting(qmp, object);
	else if (event && qmp->stage == READY)
		qmp->events->event(qmp->data, event, json_object_get(object, "data"));
	else if (!event)
		answer(qmp, object);
	json_decref(object);
}

/* Puts lines together. */
static void on_bytes(void *data, const void *bytes, size_t size)
{
	struct qmp *qmp = data;
	const char *next = bytes, *end = next + size;

	while (next < end && qmp->stage != OVER) {
		const char *newline = memchr(next, '\n', (size_t)(end - next));
		size_t piece = (size_t)((newline ? newline : end) - next);

		if (qmp->line.size + piece > QMP_LINE_MAX)
			return over(qmp, -EPROTO, "QEMU's monitor sent a line that is too long");
		text_append(&qmp->line, next, piece);
		next += piece + 1;
		if (!newline)
			return;
		if (qmp->line.size > 0)
			handle_line(qmp, qmp->line.data, qmp->line.size);
		text_consume(&qmp->line, qmp->line.size);
	}
}

/* QEMU connected; its greeting follows. */
static void on_connected(void *data)
{
	struct qmp *qmp = data;

	uv_timer_start(&qmp->timer, on_late, QMP_GREETING_MS, 0);
}

/* The socket is gone. */
static void on_closed(void *data, int code)
{
	over(data, code, code ? uv_strerror(code) : "QEMU closed its monitor");
}

static const struct peer_events peer_events = {
	.connected = on_connected,
	.bytes = on_bytes,
	.closed = on_closed,
};

/* Listens for QEMU. */
int qmp_listen(struct uv_loop_s *loop, const char *path, uint64_t answer_ms,
	const struct qmp_events *events, void *data, struct qmp **qmp, struct poolfs_err *err)
{
	struct qmp *new = memory_new(sizeof(*new));
	int result = peer_listen(loop, path, &peer_events, new, &new->peer, err);

	if (result < 0) {
		free(new);
		return result;
	}
	new->events = events;
	new->data = data;
	new->answer_ms = answer_ms ? answer_ms : QMP_ANSWER_MS;
	uv_timer_init(loop, &new->timer);
	new->timer.data = new;
	*qmp = new;
	return 0;
}

/* Sends a command. */
int qmp_call(struct qmp *qmp, const char *command, json_t *arguments, qmp_done *done, void *data)
{
	int result = qmp->stage != READY ? -ENOTCONN : qmp->calls >= QMP_CALLS_MAX ? -EAGAIN : 0;

	if (result < 0) {
		json_decref(arguments);
		return result;
	}
	return send_command(qmp, command, arguments, done, data);
}

/* Reads on. */
void qmp_drain(struct qmp *qmp)
{
	if (qmp && qmp->stage != OVER)
		peer_drain(qmp->peer);
}

/* Frees what is left when the timer is closed: we may be in the middle of on_bytes. */
static void on_timer_closed(uv_handle_t *handle)
{
	struct qmp *qmp = handle->data;
	struct call *call;

	while ((call = take_first(qmp)))
		free(call);
	text_done(&qmp->line);
	free(qmp);
}

/* Ends it. */
void qmp_free(struct qmp *qmp)
{
	if (!qmp || uv_is_closing((uv_handle_t *)&qmp->timer))
		return;
	qmp->stage = OVER;
	qmp->events = NULL;
	peer_free(qmp->peer);
	uv_close((uv_handle_t *)&qmp->timer, on_timer_closed);
}
