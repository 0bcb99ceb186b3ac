/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "backends/shim/run.h"

/* What daemons that came and went may have left here, all together. */
#define INPUT_KEPT_MAX (4 * PROTOCOL_INPUT_WINDOW)

/* The transport took so many. */
static void input_count(struct run *run, size_t taken)
{
	size_t foreign = taken < run->in_foreign ? taken : run->in_foreign;

	run->in_foreign -= foreign;
	run->in_counted -= (uint32_t)(taken - foreign);
	run->in_untold += (uint32_t)(taken - foreign);
	if (run->in_untold)
		run_note(run);
}

/* Gives the transport what it takes, and then the end. */
void input_push(struct run *run)
{
	const struct transport_ops *transport = run->shim->setup.transport;

	if (!run->handle || !(run->setup.flags & RUN_INPUT))
		return;
	if (run->in.size > run->in_taken) {
		size_t taken = transport->run_input(
			run->handle, run->in.data + run->in_taken, run->in.size - run->in_taken);

		run->in_taken += taken;
		input_count(run, taken);
	}
	if (run->in_taken < run->in.size)
		return;
	text_done(&run->in);
	run->in_taken = 0;
	if (run->in_eof)
		transport->run_eof(run->handle);
}

/* FRAME_RUN_INPUT */
int input_take(struct run *run, const void *bytes, size_t size)
{
	if (run_ended(run) || run->forgotten || run->in_eof || !(run->setup.flags & RUN_INPUT))
		return 0;
	if (run->in_counted + size > PROTOCOL_INPUT_WINDOW ||
		run->in.size - run->in_taken + size > INPUT_KEPT_MAX)
		return -EPROTO;
	run->in_counted += (uint32_t)size;
	if (run->in_taken) {
		text_consume(&run->in, run->in_taken);
		run->in_taken = 0;
	}
	bool waiting = run->in.size > 0;

	text_append(&run->in, bytes, size);
	if (!waiting)
		input_push(run);
	return 0;
}

/* FRAME_RUN_EOF */
void input_eof(struct run *run)
{
	if (run_ended(run) || run->in_eof)
		return;
	run->in_eof = true;
	input_push(run);
}

/* Tells. */
void input_tell(struct run *run)
{
	struct frame_run_taken frame = { .bytes = run->in_untold, .closed = run_ended(run) };

	if (!(run->setup.flags & RUN_INPUT) || run->in_closed || (!frame.bytes && !frame.closed))
		return;
	run->in_untold = 0;
	run->in_closed = frame.closed;
	daemon_send(run->shim, FRAME_RUN_INPUT_TAKEN, run->id, &frame, sizeof(frame), NULL, 0);
}

/* Counts anew. */
void input_recount(struct run *run)
{
	run->in_foreign = run->in.size - run->in_taken;
	run->in_counted = run->in_untold = 0;
}

/* Drops what waits. */
void input_done(struct run *run)
{
	text_done(&run->in);
	run->in_taken = run->in_foreign = 0;
	run->in_counted = 0;
}
