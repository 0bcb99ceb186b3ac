/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/protocol/protocol.h"
#include "fs/input.h"
#include "fs/shim.h"
#include "tests/unit/record.h"

#define WINDOW PROTOCOL_INPUT_WINDOW

/* What the shim got. */
static struct text sent;
static int ends;

void shim_send(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	assert_int_equal(id, 7);
	if (type == FRAME_RUN_INPUT)
		text_append(&sent, data, size);
	else
		ends += type == FRAME_RUN_EOF;
}

static int set_up(void **state)
{
	struct input *input = *state = memory_new(sizeof(*input));

	input_init(input, 7);
	input_opened(input);
	ends = 0;
	return 0;
}

static int tear_down(void **state)
{
	input_done(*state);
	free(*state);
	text_done(&sent);
	return 0;
}

/* A write of size bytes. */
static void put(struct input *input, struct record *record, size_t size, bool nonblock)
{
	char *data = memory_new(size);

	memset(data, 'x', size);
	input_write(input, record_new(record), data, size, nonblock);
	free(data);
}

static void early_bytes_are_kept_and_the_end_follows(void **state)
{
	struct input *input = *state;
	struct record record;

	put(input, &record, 10, false);
	assert_int_equal(record.written, 10);
	input_closed(input);
	assert_int_equal(sent.size, 0);
	input_start(input, NULL);
	assert_int_equal(sent.size, 10);
	assert_int_equal(ends, 1);
	input_opened(input);
	put(input, &record, 1, false);
	assert_int_equal(record.error, -EPIPE);
}

static void a_write_waits_for_room(void **state)
{
	struct input *input = *state;
	struct record record;

	input_start(input, NULL);
	put(input, &record, 3 * WINDOW, false);
	assert_int_equal(record.replies, 0);
	assert_int_equal(sent.size, WINDOW);
	assert_true(input_taken(input, WINDOW, false));
	assert_int_equal(sent.size, 2 * WINDOW);
	/* The last window is held: the writer may go on. */
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.written, 3 * WINDOW);
	assert_true(input_taken(input, WINDOW, false));
	assert_true(input_taken(input, WINDOW, false));
	assert_int_equal(sent.size, 3 * WINDOW);
	assert_false(input_taken(input, 1, false));
	input_closed(input);
	assert_int_equal(ends, 1);
}

static void waiting_is_interrupted_and_refused(void **state)
{
	struct input *input = *state;
	struct record record;

	put(input, &record, WINDOW + 5, true);
	assert_int_equal(record.written, WINDOW);
	put(input, &record, 5, true);
	assert_int_equal(record.error, -EAGAIN);
	put(input, &record, 5, false);
	assert_int_equal(record.replies, 0);
	record.request.interrupt(&record.request, record.request.data);
	assert_int_equal(record.error, -EINTR);
}

static void a_command_that_wants_no_more_ends_it(void **state)
{
	struct input *input = *state;
	struct record record;

	input_start(input, NULL);
	put(input, &record, 3 * WINDOW, false);
	assert_true(input_taken(input, 100, true));
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.written, 2 * WINDOW);
	put(input, &record, 1, false);
	assert_int_equal(record.error, -EPIPE);
	input_closed(input);
	assert_int_equal(ends, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(early_bytes_are_kept_and_the_end_follows),
		TEST(a_write_waits_for_room),
		TEST(waiting_is_interrupted_and_refused),
		TEST(a_command_that_wants_no_more_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
