/* SPDX-License-Identifier: MIT */
/* Verbs of ctl that the backend has: their order, their outcome, their end with the machine. */
#include "tests/unit/shim_fake.h"

/* Sends FRAME_VERB; argument may be NULL. */
static void send_verb(const char *verb, const char *argument)
{
	struct frame_verb frame = { .verb_size = (uint32_t)strlen(verb),
		.argument_size = argument ? (uint32_t)strlen(argument) : 0,
		.has_argument = argument != NULL };
	struct text payload = { 0 };

	text_append(&payload, &frame, sizeof(frame));
	text_printf(&payload, "%s%s", verb, argument ? argument : "");
	send_frame(FRAME_VERB, 0, payload.data, payload.size);
	text_done(&payload);
}

/* The backend completes the verb that it does. */
static void finish(int result, const char *reason)
{
	struct poolfs_op *op = fake.verb;

	fake.verb = NULL;
	poolfs_op_done(op, result, "%s", reason);
}

/* Whether a notice with this line came. */
static bool was_told(const char *line)
{
	return peer.log.data && strstr(peer.log.data, line);
}

/* How often an outcome was told by a frame of its own. */
static int outcomes(const char *line)
{
	char frame[160];
	int count = 0;

	snprintf(frame, sizeof(frame), "%d 0 verb %s\n", FRAME_VERB_DONE, line);
	for (const char *at = peer.log.data; at && (at = strstr(at, frame)); at++)
		count++;
	return count;
}

static void verbs_come_one_after_the_other(void **state)
{
	instance_ready();
	send_verb("freeze", NULL);
	send_verb("snapshot", "one two");
	send_verb("thaw", "");
	AWAIT(fake.verb);
	assert_string_equal(fake.verbs, "freeze(-)");
	finish(0, "");
	AWAIT(was_told("verb freeze done"));
	AWAIT(fake.verb);
	assert_string_equal(fake.verbs, "freeze(-)snapshot(one two)");
	finish(-EIO, "no room");
	AWAIT(was_told("verb snapshot failed: no room"));
	AWAIT(fake.verb);
	assert_string_equal(fake.verbs, "freeze(-)snapshot(one two)thaw()");
	finish(0, "");
	AWAIT(was_told("verb thaw done"));
	assert_non_null(strstr(spool_text("log", NULL), "snapshot failed: no room"));
	AWAIT(outcomes("thaw done") == 1);
	assert_int_equal(outcomes("freeze done"), 1);
	assert_int_equal(outcomes("snapshot failed: no room"), 1);
}

static void too_many_are_refused(void **state)
{
	instance_ready();
	for (unsigned i = 0; i <= PROTOCOL_VERBS_MAX; i++)
		send_verb(i < PROTOCOL_VERBS_MAX ? "first" : "last", NULL);
	AWAIT(strstr(spool_text("log", NULL), "last failed: too many verbs wait"));
	AWAIT(outcomes("last failed: too many verbs wait") == 1);
	assert_string_equal(fake.verbs, "first(-)");
}

static void without_a_machine_they_fail(void **state)
{
	fake.start_hangs = true;
	instance_begin("1000");
	send_verb("freeze", NULL);
	AWAIT(was_told("verb freeze failed: Host is down"));
	assert_string_equal(fake.verbs, "");
}

static void the_end_cancels_them(void **state)
{
	instance_ready();
	send_verb("freeze", NULL);
	send_verb("thaw", NULL);
	AWAIT(fake.verb);
	send_frame(FRAME_STOP, 0, NULL, 0);
	AWAIT(done);
	assert_true(done_clean);
	assert_int_equal(fake.verb_cancels, 1);
	assert_string_equal(fake.verbs, "freeze(-)");
}

static void broken_frames_end_the_connection(void **state)
{
	static const struct {
		struct frame_verb frame;
		const char *text;
		size_t size;
	} bad[] = {
		{ { 0, 1, 1 }, "x", 1 },
		{ { 2, 0, 0 }, "x", 1 },
		{ { 1, 0, 0 }, "xy", 2 },
		{ { 1, 1, 0 }, "xy", 2 },
		{ { 1, 0, 2 }, "x", 1 },
		{ { 2, 0, 0 }, "x\0", 2 },
		{ { UINT32_MAX, 2, 1 }, "x", 1 },
	};

	instance_ready();
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct text payload = { 0 };

		text_append(&payload, &bad[i].frame, sizeof(bad[i].frame));
		text_append(&payload, bad[i].text, bad[i].size);
		send_frame(FRAME_VERB, 0, payload.data, payload.size);
		text_done(&payload);
		AWAIT(peer.closed);
		peer_open();
	}
	assert_string_equal(fake.verbs, "");
}

#define shim_test(f) cmocka_unit_test_setup_teardown(f, instance_set_up, instance_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		shim_test(verbs_come_one_after_the_other),
		shim_test(too_many_are_refused),
		shim_test(without_a_machine_they_fail),
		shim_test(the_end_cancels_them),
		shim_test(broken_frames_end_the_connection),
	};

	uv_loop_init(&loop);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return uv_loop_close(&loop) < 0 ? 1 : failed;
}
