/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <uv.h>

#include "backends/transport.h"

/* What was told. */
struct told {
	struct transport *transport;
	unsigned ups, refused, others;
};

static void on_up(void *data)
{
	struct told *told = data;

	told->ups++;
}

static const struct transport_events events = { .up = on_up };

static void on_done(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct told *told = data;

	if (reply->error == -EOPNOTSUPP && size == 0)
		told->refused++;
	else
		told->others++;
}

/* The first answer cancels what else was asked for, and frees all. */
static void on_done_free(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct told *told = data;

	on_done(data, reply, bytes, size);
	none_transport.file_cancel(told->transport, 2);
	none_transport.free(told->transport);
}

static void begin(uv_loop_t *loop, struct told *told)
{
	struct poolfs_err err;

	assert_int_equal(uv_loop_init(loop), 0);
	assert_int_equal(none_transport.new(loop, NULL, &events, told, &told->transport, &err), 0);
}

static void end(uv_loop_t *loop)
{
	uv_run(loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(loop), 0);
}

static void answers_come_on_a_later_turn(void **state)
{
	struct file_request request = { .op = FILE_GETATTR };
	struct file_call call = { .request = &request };
	struct told told = { 0 };
	uv_loop_t loop;

	begin(&loop, &told);
	none_transport.connect(told.transport, NULL);
	for (uint64_t key = 1; key <= 3; key++)
		none_transport.file(told.transport, key, &call, on_done, &told);
	assert_int_equal(told.ups + told.refused, 0);
	none_transport.file_cancel(told.transport, 2);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(told.ups, 1);
	assert_int_equal(told.refused, 2);
	none_transport.file(told.transport, 4, &call, on_done, &told);
	none_transport.connect(told.transport, NULL);
	none_transport.disconnect(told.transport);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(told.ups, 1);
	assert_int_equal(told.refused, 3);
	assert_int_equal(told.others, 0);
	none_transport.free(told.transport);
	end(&loop);
}

static void an_answer_may_end_it(void **state)
{
	struct file_request request = { .op = FILE_GETATTR };
	struct file_call call = { .request = &request };
	struct told told = { 0 };
	uv_loop_t loop;

	begin(&loop, &told);
	none_transport.file(told.transport, 1, &call, on_done_free, &told);
	none_transport.file(told.transport, 2, &call, on_done, &told);
	none_transport.file(told.transport, 3, &call, on_done, &told);
	end(&loop);
	assert_int_equal(told.refused, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_come_on_a_later_turn),
		cmocka_unit_test(an_answer_may_end_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
