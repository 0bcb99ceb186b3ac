/* SPDX-License-Identifier: MIT */
/* Set-up, input, signals, time limits and stops of runs in the shim's core. */
#include "tests/unit/shim_fake.h"

static void add_run(uint64_t id, const char *text)
{
	send_frame(FRAME_RUN, id, text, strlen(text));
}

/* Sends FRAME_RUN_SETUP. */
static void set_up(uint64_t id, struct frame_run_setup setup, const char *environment, const char *cwd)
{
	struct text payload = { 0 };

	setup.environment_size = (uint32_t)strlen(environment);
	setup.cwd_size = (uint32_t)strlen(cwd);
	text_append(&payload, &setup, sizeof(setup));
	text_printf(&payload, "%s%s", environment, cwd);
	send_frame(FRAME_RUN_SETUP, id, payload.data, payload.size);
	text_done(&payload);
}

static void send_signal(uint64_t id, int number)
{
	struct frame_run_signal frame = { number };

	send_frame(FRAME_RUN_SIGNAL, id, &frame, sizeof(frame));
}

/* Starts run 1 as the transport's first. */
static void start(void)
{
	add_run(1, "one");
	AWAIT(fake.run_count == 1);
	fake.runs[0].events->started(fake.runs[0].data);
}

static void end(int n, enum run_state state, int status)
{
	fake.runs[n].over = true;
	fake.runs[n].events->ended(fake.runs[n].data, state, status);
}

static bool ended(uint64_t id)
{
	return peer.runs[id].state > RUN_RUNNING;
}

static void the_setup_reaches_the_transport(void **state)
{
	struct frame_run_resize resize = { 80, 24 };

	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	set_up(1, (struct frame_run_setup){ .columns = 100, .rows = 30 }, "A=b\n_C=\n", "dir");
	set_up(2, (struct frame_run_setup){ .timeout_ms = 1 }, "", "");
	set_up(3, (struct frame_run_setup){ .flags = RUN_INPUT }, "", "");
	send_frame(FRAME_RUN_FORGET, 3, NULL, 0);
	add_run(1, "one");
	send_frame(FRAME_RUN_RESIZE, 1, &resize, sizeof(resize));
	add_run(3, "three");
	AWAIT(peer_saw("67 3 run 0"));
	AWAIT(fake.connects == 1);
	fake.events->up(fake.data);
	AWAIT(fake.run_count == 2);
	assert_string_equal(fake.runs[0].environment, "A=b\n_C=\n");
	assert_string_equal(fake.runs[0].cwd, "dir");
	assert_int_equal(fake.runs[0].columns, 80);
	assert_int_equal(fake.runs[0].rows, 24);
	assert_false(fake.runs[0].input);
	assert_false(fake.runs[1].input);
	resize.rows = 25;
	send_frame(FRAME_RUN_RESIZE, 1, &resize, sizeof(resize));
	AWAIT(fake.runs[0].rows == 25);
	/* A daemon that goes takes along what it only prepared. */
	assert_int_equal(shim->commands.count, 3);
	peer_done();
	AWAIT(shim->commands.count == 2);
	peer_open();
	assert_false(peer_saw(" 2 run"));
}

static void bad_frames_end_the_connection(void **state)
{
	static const struct frame_run_signal none = { 0 }, large = { 32 };
	static const struct frame_run_resize flat = { 80, 0 };
	static const struct {
		const char *environment, *cwd;
		struct frame_run_setup setup;
	} bad[] = {
		{ "A=b", "" }, { "A\n", "" }, { "=b\n", "" }, { "1A=b\n", "" }, { "A-B=c\n", "" },
		{ "A=b\n\n", "" }, { "", "", { .flags = 2 } }, { "", "", { .columns = 1 } },
	};
	static const struct frame_run_setup longer = { .cwd_size = 1 };

	instance_ready();
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		set_up(1, bad[i].setup, bad[i].environment, bad[i].cwd);
		AWAIT(peer.closed);
		peer_open();
	}
	send_frame(FRAME_RUN_SETUP, 1, &longer, sizeof(longer));
	AWAIT(peer.closed);
	peer_open();
	send_frame(FRAME_RUN_SIGNAL, 1, &none, sizeof(none));
	AWAIT(peer.closed);
	peer_open();
	send_frame(FRAME_RUN_SIGNAL, 1, &large, sizeof(large));
	AWAIT(peer.closed);
	peer_open();
	send_frame(FRAME_RUN_RESIZE, 1, &flat, sizeof(flat));
	AWAIT(peer.closed);
	peer_open();
}

static void a_stop_goes_from_term_to_kill(void **state)
{
	instance_ready();
	start();
	send_frame(FRAME_RUN_STOP, 1, NULL, 0);
	send_frame(FRAME_RUN_STOP, 1, NULL, 0);
	AWAIT(fake.runs[0].signals[SIGTERM] == 1 && fake.runs[0].all);
	assert_int_equal(fake.runs[0].signals[SIGKILL], 0);
	AWAIT(fake.runs[0].abandoned);
	assert_int_equal(fake.runs[0].signals[SIGTERM], 1);
	assert_int_equal(fake.runs[0].signals[SIGKILL], LIMITS_KILLS);
	fake.runs[0].events->output(fake.runs[0].data, SPOOL_STDOUT, "last", 4);
	end(0, RUN_STOPPED, 255);
	AWAIT(ended(1));
	assert_int_equal(peer.runs[1].state, RUN_STOPPED);
	assert_int_equal(peer.runs[1].status, 255);
	assert_int_equal(peer.spools[1][SPOOL_OUTPUT].end, 4);
	/* After the end all is harmless. */
	send_frame(FRAME_RUN_STOP, 1, NULL, 0);
	send_signal(1, SIGKILL);
	send_frame(FRAME_RUN_EOF, 1, NULL, 0);
	send_frame(FRAME_RUN_INPUT, 1, "x", 1);
	add_run(2, "two");
	AWAIT(fake.run_count == 2);
}

static void a_stop_tells_the_signal(void **state)
{
	instance_ready();
	start();
	send_frame(FRAME_RUN_STOP, 1, NULL, 0);
	AWAIT(fake.runs[0].signals[SIGTERM]);
	end(0, RUN_SIGNALED, 143);
	AWAIT(ended(1));
	assert_int_equal(peer.runs[1].state, RUN_STOPPED);
	assert_int_equal(peer.runs[1].status, 143);
}

static void a_limit_counts_from_the_start(void **state)
{
	instance_ready();
	set_up(1, (struct frame_run_setup){ .timeout_ms = 1 }, "", "");
	add_run(1, "one");
	AWAIT(fake.run_count == 1);
	add_run(2, "two");
	AWAIT(fake.run_count == 2);
	assert_false(fake.runs[0].signals[SIGTERM] || fake.runs[0].abandoned);
	fake.runs[0].events->started(fake.runs[0].data);
	AWAIT(fake.runs[0].signals[SIGTERM] == 1);
	send_frame(FRAME_RUN_STOP, 1, NULL, 0);
	AWAIT(fake.runs[0].signals[SIGKILL] > 0);
	end(0, RUN_SIGNALED, 137);
	AWAIT(ended(1));
	assert_int_equal(peer.runs[1].state, RUN_TIMEOUT);
	assert_int_equal(peer.runs[1].status, 124);
}

static void a_run_that_ends_in_time_has_no_limit(void **state)
{
	instance_ready();
	set_up(1, (struct frame_run_setup){ .timeout_ms = 60000 }, "", "");
	start();
	end(0, RUN_EXITED, 7);
	AWAIT(ended(1));
	assert_int_equal(peer.runs[1].state, RUN_EXITED);
	assert_int_equal(peer.runs[1].status, 7);
}

static void signals_reach_what_runs(void **state)
{
	instance_ready();
	start();
	send_signal(1, SIGUSR1);
	send_signal(1, SIGTERM);
	AWAIT(fake.runs[0].signals[SIGTERM] == 1 && fake.runs[0].signals[SIGUSR1] == 1);
	assert_false(fake.runs[0].all || ended(1));
	end(0, RUN_SIGNALED, 143);
	AWAIT(ended(1));
	assert_int_equal(peer.runs[1].state, RUN_SIGNALED);
	/* What waits for the transport ends; other signals do nothing. */
	add_run(2, "two");
	send_signal(2, SIGUSR1);
	AWAIT(fake.run_count == 2);
	assert_false(fake.runs[1].abandoned);
	send_signal(2, SIGINT);
	AWAIT(fake.runs[1].abandoned);
	end(1, RUN_STOPPED, 255);
	AWAIT(ended(2));
	assert_int_equal(peer.runs[2].state, RUN_STOPPED);
	send_signal(99, SIGTERM);
}

static void input_passes_in_a_window(void **state)
{
	static char bytes[PROTOCOL_INPUT_WINDOW];

	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	AWAIT(fake.connects == 1);
	set_up(1, (struct frame_run_setup){ .flags = RUN_INPUT }, "", "");
	add_run(1, "cat");
	send_frame(FRAME_RUN_INPUT, 1, "early", 5);
	AWAIT(peer_saw("67 1 run 0"));
	fake.events->up(fake.data);
	AWAIT(fake.run_count == 1 && fake.runs[0].in.size == 5);
	AWAIT(peer_saw("69 1 taken 5 0\n"));
	fake.runs[0].room = 3;
	send_frame(FRAME_RUN_INPUT, 1, "abcdef", 6);
	AWAIT(peer_saw("69 1 taken 3 0\n"));
	send_frame(FRAME_RUN_INPUT, 1, "ghi", 3);
	send_frame(FRAME_RUN_EOF, 1, NULL, 0);
	send_signal(1, SIGUSR1);
	fake.runs[0].events->started(fake.runs[0].data);
	fake.runs[0].room = SIZE_MAX;
	uv_run(&loop, UV_RUN_NOWAIT);
	uv_run(&loop, UV_RUN_NOWAIT);
	fake.runs[0].events->drained(fake.runs[0].data);
	AWAIT(fake.runs[0].eof);
	assert_string_equal(fake.runs[0].in.data, "earlyabcdefghi");
	end(0, RUN_EXITED, 0);
	AWAIT(ended(1));
	assert_true(peer_saw(" 1\n"));
	/* More than the window breaks the protocol. */
	set_up(2, (struct frame_run_setup){ .flags = RUN_INPUT }, "", "");
	add_run(2, "cat");
	AWAIT(fake.run_count == 2);
	fake.runs[1].room = 0;
	send_frame(FRAME_RUN_INPUT, 2, bytes, sizeof(bytes));
	/* The next daemon has a window of its own. */
	AWAIT(shim->commands.count == 2);
	peer_open();
	send_frame(FRAME_RUN_INPUT, 2, bytes, sizeof(bytes));
	send_frame(FRAME_RUN_INPUT, 2, "x", 1);
	AWAIT(peer.closed);
	peer_open();
}

static void the_transcript_holds_output_and_console(void **state)
{
	instance_ready();
	poolfs_machine_console(fake.machine, "before\nhalf", 11);
	add_run(1, "one");
	AWAIT(fake.run_count == 1);
	fake.runs[0].events->started(fake.runs[0].data);
	fake.runs[0].events->output(fake.runs[0].data, SPOOL_STDOUT, "a\nb", 3);
	poolfs_machine_console(fake.machine, " a line\nkernel\n", 15);
	fake.runs[0].events->output(fake.runs[0].data, SPOOL_STDERR, "e\n", 2);
	end(0, RUN_EXITED, 0);
	poolfs_machine_console(fake.machine, "after\n", 6);
	AWAIT(ended(1));
	assert_string_equal(spool_text("run.1.transcript", NULL),
		"[stdout] a\n[console] kernel\n[stderr] e\n[stdout] b\n");
	assert_int_equal(peer.spools[1][SPOOL_TRANSCRIPT].end,
		strlen(spool_text("run.1.transcript", NULL)));
	send_frame(FRAME_RUN_FORGET, 1, NULL, 0);
	AWAIT(faccessat(dir, "run.1.transcript", F_OK, 0) != 0);
}

#define shim_test(f) cmocka_unit_test_setup_teardown(f, instance_set_up, instance_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		shim_test(the_setup_reaches_the_transport),
		shim_test(bad_frames_end_the_connection),
		shim_test(a_stop_goes_from_term_to_kill),
		shim_test(a_stop_tells_the_signal),
		shim_test(a_limit_counts_from_the_start),
		shim_test(a_run_that_ends_in_time_has_no_limit),
		shim_test(signals_reach_what_runs),
		shim_test(input_passes_in_a_window),
		shim_test(the_transcript_holds_output_and_console),
	};

	uv_loop_init(&loop);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return uv_loop_close(&loop) < 0 ? 1 : failed;
}
