/* SPDX-License-Identifier: MIT */
#include "backends/shim/console.h"

#include <string.h>

#include "backends/shim/shim.h"

#define RETRY_MS 20

/* Prepares the console, whose file is there from the beginning. */
void console_init(struct shim *shim)
{
	struct console *console = &shim->console;

	sink_init(&console->spool, shim, SPOOL_CONSOLE, 0,
		(uint64_t)poolfs_number(shim->setup.values, "console_limit"));
	sink_make(&console->spool);
	console->filtered = poolfs_number(shim->setup.values, "console_filter");
	uv_timer_init(shim->loop, &console->retry);
}

/* Keeps bytes for those who read them. */
static void console_keep(struct shim *shim, const char *data, size_t size)
{
	sink_append(&shim->console.spool, data, size);
	commands_console(shim, data, size);
}

/* The same, in pieces that are made safe first. */
static void console_keep_filtered(struct shim *shim, const char *data, size_t size)
{
	char piece[4096];

	for (size_t count; size > 0; data += count, size -= count) {
		count = size < sizeof(piece) ? size : sizeof(piece);
		memcpy(piece, data, count);
		filter_apply(&shim->console.filter, piece, count);
		console_keep(shim, piece, count);
	}
}

/* Keeps output. */
void console_output(struct shim *shim, const void *data, size_t size)
{
	if (size == 0)
		return;
	shim->console.inside = ((const char *)data)[size - 1] != '\n';
	if (shim->console.filtered)
		console_keep_filtered(shim, data, size);
	else
		console_keep(shim, data, size);
	lines_feed(&shim->console.lines, data, size);
	crashes_feed(shim, data, size);
	quiet_heard(shim);
}

/* Gives the backend what waits, and tries again soon with what it does not take. */
static void console_push(struct shim *shim)
{
	struct console *console = &shim->console;
	struct text *input = &console->input;

	while (input->size > 0) {
		int count = life_type(shim, input->data, input->size);
		if (count == 0)
			break;
		if (count < 0) {
			journal_printf(shim, "console: %zu bytes of input are dropped: %s",
				input->size, strerror(-count));
			count = (int)input->size;
		}
		text_consume(input, (size_t)count);
	}
	if (input->size == 0) {
		text_done(input);
		console->dropping = false;
	}
}

/* Time for another attempt. */
static void console_retry(uv_timer_t *timer)
{
	struct shim *shim = timer->data;

	console_push(shim);
	if (shim->console.input.size == 0)
		uv_timer_stop(timer);
}

/* Takes input. */
void console_input(struct shim *shim, const void *data, size_t size)
{
	struct console *console = &shim->console;
	size_t room = PROTOCOL_CONSOLE_INPUT_MAX - console->input.size;

	if (size > room && !console->dropping) {
		console->dropping = true;
		journal_printf(shim, "console: input is dropped, for the machine does not read");
	}
	bool waiting = console->input.size > 0;
	text_append(&console->input, data, size < room ? size : room);
	if (waiting)
		return;
	console_push(shim);
	console->retry.data = shim;
	if (console->input.size > 0)
		uv_timer_start(&console->retry, console_retry, RETRY_MS, RETRY_MS);
}

/* Ends the console. */
void console_close(struct shim *shim)
{
	text_done(&shim->console.input);
	sink_finish(&shim->console.spool);
	uv_close((uv_handle_t *)&shim->console.retry, NULL);
}
