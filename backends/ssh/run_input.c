/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "backends/ssh/bounds.h"
#include "backends/ssh/run.h"

/* Keeps what there is room for. */
size_t exec_input(struct transport_run *run, const void *bytes, size_t size)
{
	size_t room = RUN_INPUT_KEPT - (run->in.size - run->fed);

	if (!run->input || run->eof)
		return 0;
	run->drain |= size > room;
	size = size < room ? size : room;
	if (run->fed) {
		text_consume(&run->in, run->fed);
		run->fed = 0;
	}
	text_append(&run->in, bytes, size);
	session_wake(run->exec->session);
	return size;
}

/* Notes the end. */
void exec_eof(struct transport_run *run)
{
	run->eof = true;
	session_wake(run->exec->session);
}

/* Sends size bytes; *fed counts. A command that does not want its input is not an error. */
static int send_bytes(struct transport_run *run, const struct text *from, size_t *fed, bool *moved)
{
	struct session *session = run->exec->session;

	while (*fed < from->size) {
		if (wire_queued(session->wire) > LIMIT_OUTPUT)
			return -EAGAIN;
		int result = session_result(session,
			libssh2_channel_write(run->channel, from->data + *fed, from->size - *fed));

		if (result == -EIO) {
			*fed = from->size;
			return 0;
		}
		if (result <= 0)
			return result ? result : -EAGAIN;
		*fed += (size_t)result;
		*moved = true;
	}
	return 0;
}

/* There is room again. */
static void tell_drained(struct transport_run *run)
{
	if (!run->drain || run->in.size - run->fed > RUN_INPUT_KEPT / 2)
		return;
	run->drain = false;
	if (!run->exec->session->muted)
		run->events->drained(run->data);
}

/* Script, input, end. */
int run_feed(struct transport_run *run, bool *moved)
{
	int result;

	if (run->eof_sent || (run->sent.after_marker && !run->marker.done))
		return 0;
	result = send_bytes(run, &run->sent.script, &run->script_fed, moved);
	if (!result)
		result = send_bytes(run, &run->in, &run->fed, moved);
	tell_drained(run);
	if (result || !run->eof || run->fed < run->in.size)
		return result == -EAGAIN ? 0 : result;
	result = session_result(run->exec->session, libssh2_channel_send_eof(run->channel));
	if (result == -EAGAIN || result == -ECONNRESET)
		return result == -EAGAIN ? 0 : result;
	text_done(&run->sent.script);
	text_done(&run->in);
	run->fed = run->script_fed = 0;
	run->eof_sent = true;
	return 0;
}
