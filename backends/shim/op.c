/* SPDX-License-Identifier: MIT */
#include "backends/shim/op.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "backends/base/memory.h"

struct poolfs_op {
	uv_timer_t turn;	/* runs out on the next turn, when the op is completed */
	op_done *done;		/* NULL: detached */
	void *data;
	void (*cancel)(void *data);
	void *cancel_data;
	bool cancelled, completed;
	int result;
	struct poolfs_err err;
};

/* Makes an operation. */
struct poolfs_op *op_new(struct uv_loop_s *loop, op_done *done, void *data)
{
	struct poolfs_op *op = memory_new(sizeof(*op));

	uv_timer_init(loop, &op->turn);
	op->done = done;
	op->data = data;
	return op;
}

/* Asks for the end. */
void op_cancel(struct poolfs_op *op)
{
	if (op->cancelled || op->completed)
		return;
	op->cancelled = true;
	if (op->cancel)
		op->cancel(op->cancel_data);
}

/* Forgets who waits. */
void op_detach(struct poolfs_op *op)
{
	op->done = NULL;
}

/* The last close of the timer. */
static void op_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct poolfs_op, turn));
}

/* Delivers the completion. */
static void op_turn(uv_timer_t *timer)
{
	struct poolfs_op *op = container_of(timer, struct poolfs_op, turn);

	if (op->done)
		op->done(op->data, op->result, op->err.text);
	uv_close((uv_handle_t *)&op->turn, op_closed);
}

/* A backend completes an operation. */
void poolfs_op_done(struct poolfs_op *op, int result, const char *format, ...)
{
	va_list args;

	assert(!op->completed);
	op->completed = true;
	op->result = result < 0 ? result : 0;
	if (result < 0 && format) {
		va_start(args, format);
		vsnprintf(op->err.text, sizeof(op->err.text), format, args);
		va_end(args);
	}
	uv_timer_start(&op->turn, op_turn, 0, 0);
}

/* A backend says how it can be hurried. */
void poolfs_op_on_cancel(struct poolfs_op *op, void (*cancel)(void *data), void *data)
{
	op->cancel = cancel;
	op->cancel_data = data;
	if (op->cancelled && !op->completed && cancel)
		cancel(data);
}
