/* SPDX-License-Identifier: MIT */
#include "fs/input.h"

#include <errno.h>
#include <poll.h>

#include "backends/protocol/protocol.h"
#include "fs/shim.h"

/* An input that nobody has written to. */
void input_init(struct input *input, uint64_t id)
{
	*input = (struct input){ .state = INPUT_EARLY, .id = id };
}

/* Answers the write that waits: what was taken of it, or error when that is nothing. */
static void answer(struct input *input, int error)
{
	struct request *request = input->waiting;
	size_t taken = input->waiting_size - input->rest.size;

	if (!request)
		return;
	input->waiting = NULL;
	text_done(&input->rest);
	if (taken)
		request_written(request, taken);
	else
		request_error(request, error);
}

/* Tells who polls that there is room, or an end. */
static void wake(struct input *input)
{
	for (int i = 0; i < INPUT_POLLS; i++) {
		struct poller *poller = input->polls[i].poller;

		input->polls[i].poller = NULL;
		if (poller)
			poller_fire(poller);
	}
}

/* Nothing is wanted any more. */
void input_end(struct input *input)
{
	input->state = INPUT_CLOSED;
	text_done(&input->held);
	answer(input, -EPIPE);
	wake(input);
}

/* Frees. */
void input_done(struct input *input)
{
	input_end(input);
}

/* Moves bytes from what waits to what is held, as far as there is room. */
static void hold(struct input *input)
{
	size_t room = PROTOCOL_INPUT_WINDOW - input->held.size;
	size_t piece = input->rest.size < room ? input->rest.size : room;

	text_append(&input->held, input->rest.data, piece);
	text_consume(&input->rest, piece);
}

/* Sends what the window allows, then the end. */
static void pump(struct input *input)
{
	hold(input);
	while (input->state == INPUT_OPEN && input->held.size &&
		input->outstanding < PROTOCOL_INPUT_WINDOW) {
		size_t room = PROTOCOL_INPUT_WINDOW - input->outstanding;
		size_t piece = input->held.size < room ? input->held.size : room;

		shim_send(input->shim, FRAME_RUN_INPUT, input->id, input->held.data, piece);
		input->outstanding += (uint32_t)piece;
		text_consume(&input->held, piece);
		hold(input);
	}
	if (input->waiting && !input->rest.size)
		answer(input, 0);
	if (input->held.size < PROTOCOL_INPUT_WINDOW)
		wake(input);
	if (input->state == INPUT_OPEN && input->at_end && !input->held.size) {
		shim_send(input->shim, FRAME_RUN_EOF, input->id, NULL, 0);
		input->state = INPUT_CLOSED;
	}
}

/* A writer came. */
void input_opened(struct input *input)
{
	input->writers++;
}

/* A writer went; with the last one the input ends. */
void input_closed(struct input *input)
{
	if (--input->writers)
		return;
	input->at_end = true;
	pump(input);
}

/* The writer was interrupted: what was taken is taken. */
static void interrupted(struct request *request, void *data)
{
	answer(data, -EINTR);
}

/* Takes a write. */
void input_write(struct input *input, struct request *request, const void *data, size_t size,
	bool nonblock)
{
	/* After the end of a first writer there is no second one. */
	if (input->state == INPUT_CLOSED || input->at_end) {
		request_error(request, -EPIPE);
		return;
	}
	if (input->waiting) {
		request_error(request, -EAGAIN);
		return;
	}
	text_append(&input->rest, data, size);
	input->waiting = request;
	input->waiting_size = size;
	pump(input);
	if (!input->waiting)
		return;
	if (nonblock)
		answer(input, -EAGAIN);
	else
		request_wait(request, interrupted, input);
}

/* Keeps a poller, in place of the one that the same open file had. */
static void keep_poller(struct input *input, const void *file, struct poller *poller)
{
	int place = 0;

	for (int i = INPUT_POLLS - 1; i >= 0; i--)
		if (!input->polls[i].poller)
			place = i;
	for (int i = 0; i < INPUT_POLLS; i++)
		if (input->polls[i].poller && input->polls[i].file == file)
			place = i;
	struct poller *old = input->polls[place].poller;
	if (old && input->polls[place].file == file)
		poller_free(old);
	else if (old)
		poller_fire(old);
	input->polls[place].file = file;
	input->polls[place].poller = poller;
}

/* Answers a poll. The poller is kept also when there is room: epoll(7) with edges does not ask
 * again before it is woken. */
void input_poll(struct input *input, const void *file, struct request *request,
	struct poller *poller)
{
	bool closed = input->state == INPUT_CLOSED || input->at_end;
	bool room = input->held.size < PROTOCOL_INPUT_WINDOW;

	if (closed)
		poller_free(poller);
	else if (poller)
		keep_poller(input, file, poller);
	request_poll(request, closed ? POLLOUT | POLLWRNORM | POLLERR : room ? POLLOUT | POLLWRNORM : 0);
}

/* The command goes to the shim. */
void input_start(struct input *input, struct shim *shim)
{
	input->shim = shim;
	if (input->state == INPUT_EARLY)
		input->state = INPUT_OPEN;
	pump(input);
}

/* The shim passed bytes on. */
bool input_taken(struct input *input, uint32_t bytes, bool closed)
{
	if (bytes > input->outstanding)
		return false;
	input->outstanding -= bytes;
	if (closed)
		input_end(input);
	else
		pump(input);
	return true;
}
