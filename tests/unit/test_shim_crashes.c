/* SPDX-License-Identifier: MIT */
/* What the shim's core makes of crashes on the console. */
#include "tests/unit/shim_fake.h"

#define WARNING(name) "WARNING: CPU: 0 PID: 1 at a.c:1 " name "+0x1/0x2\n"
#define END "---[ end trace 0000000000000000 ]---\n"
#define PANIC "Kernel panic - not syncing: test\n"
#define LAST "---[ end Kernel panic - not syncing: test ]---\n"

static void console(const char *text)
{
	poolfs_machine_console(fake.machine, text, strlen(text));
}

static void start_run(uint64_t id)
{
	send_frame(FRAME_RUN, id, "x", 1);
	AWAIT(fake.run_count > 0);
	fake.runs[fake.run_count - 1].events->started(fake.runs[fake.run_count - 1].data);
	AWAIT(peer.runs[id].state == RUN_RUNNING);
}

static void a_report_makes_it_crashed(void **state)
{
	instance_ready();
	start_run(1);
	console("[    1.000000] before\r\n[    1.000001] " WARNING("slot_a"));
	assert_true(crashes_pending(shim));
	console("[    1.000002] " END "after\n");
	AWAIT(peer.state == INSTANCE_CRASHED);
	assert_ptr_equal(strstr(peer.text, "WARNING in slot_a\n"), peer.text);
	assert_int_equal(peer.crashes, 1);
	assert_string_equal(spool_text("crash.1", NULL), "WARNING in slot_a\n\n"
		"[    1.000000] before\n[    1.000001] " WARNING("slot_a")
		"[    1.000002] " END);
	char expected[64];
	snprintf(expected, sizeof(expected), " crash %zu 0 WARNING in slot_a\n",
		strlen(spool_text("crash.1", NULL)));
	assert_true(peer_saw(expected));
	AWAIT(peer.runs[1].state == RUN_LOST);
	assert_int_equal(peer.runs[1].status, 255);
	/* The report comes before the state, and the state before the run's end. */
	assert_true(strstr(peer.log.data, " crash ") < strstr(peer.log.data, " state 3"));
	/* The machine goes on, and may crash again. */
	assert_int_equal(fake.stops, 0);
	console(PANIC LAST);
	AWAIT(peer.crashes == 2);
	assert_int_equal(peer.state, INSTANCE_CRASHED);
	assert_ptr_equal(strstr(spool_text("crash.2", NULL), "kernel panic: test\n\nafter\n"),
		spool_text("crash.2", NULL));
	/* The next daemon hears of both. */
	peer_open();
	AWAIT(peer.crashes == 2);
	assert_true(peer_saw(" 1 crash ") && peer_saw(" 2 crash "));
}

static void a_quiet_console_ends_the_report(void **state)
{
	instance_ready();
	console(PANIC "Call Trace:\n");
	uint64_t begun = uv_hrtime();
	AWAIT(peer.state == INSTANCE_CRASHED);
	assert_true(uv_hrtime() - begun > (CRASHES_QUIET_MS - 100) * 1000000ull);
	assert_string_equal(spool_text("crash.1", NULL),
		"kernel panic: test\n\n" PANIC "Call Trace:\n");
}

static void a_crash_beats_the_exit_status(void **state)
{
	instance_ready();
	start_run(1);
	console(WARNING("slot_a"));
	fake.runs[0].over = true;
	fake.runs[0].events->ended(fake.runs[0].data, RUN_EXITED, 0);
	AWAIT(peer.runs[1].state > RUN_RUNNING);
	assert_int_equal(peer.runs[1].state, RUN_LOST);
	assert_int_equal(peer.runs[1].status, 255);
	AWAIT(peer.state == INSTANCE_CRASHED);
}

static void a_crash_beats_a_lost_connection(void **state)
{
	instance_ready();
	fake.plans[1] = PLAN_DOWN;
	console(WARNING("slot_a"));
	fake.events->down(fake.data, false, "reset by peer");
	AWAIT(peer.state != INSTANCE_READY);
	assert_int_equal(peer.state, INSTANCE_CRASHED);
	assert_false(peer_saw(" state 5"));
}

static void the_machines_end_completes_the_report(void **state)
{
	instance_ready();
	console(PANIC "[    1.000000] Kernel Offset: 0");
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "reset");
	AWAIT(peer.state == INSTANCE_CRASHED);
	assert_string_equal(spool_text("crash.1", NULL),
		"kernel panic: test\n\n" PANIC "[    1.000000] Kernel Offset: 0\n");
	assert_non_null(strstr(spool_text("log", NULL), "the machine ended: reset"));
}

static void warnings_do_not_end_a_boot(void **state)
{
	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	AWAIT(fake.connects == 1);
	console(WARNING("slot_a") END "\nx\n");
	AWAIT(peer.crashes == 1);
	assert_int_equal(peer.state, INSTANCE_BOOTING);
	fake.events->up(fake.data);
	AWAIT(peer.state == INSTANCE_READY);
}

static void only_what_counts_makes_it_crashed(void **state)
{
	fake.crash_on = "fatal";
	instance_ready();
	start_run(1);
	console(WARNING("slot_a") END "x\n");
	AWAIT(peer.crashes == 1);
	fake.runs[0].over = true;
	fake.runs[0].events->ended(fake.runs[0].data, RUN_EXITED, 7);
	AWAIT(peer.runs[1].state > RUN_RUNNING);
	assert_int_equal(peer.runs[1].status, 7);
	assert_int_equal(peer.state, INSTANCE_READY);
	/* One that becomes worse does. */
	console(WARNING("slot_b") PANIC LAST);
	AWAIT(peer.state == INSTANCE_CRASHED);
	assert_non_null(strstr(peer.log.data, " 1 WARNING in slot_b\n"));
}

static void never_is_never(void **state)
{
	fake.crash_on = "never";
	instance_ready();
	console(PANIC LAST);
	AWAIT(peer.crashes == 1);
	start_run(1);
	assert_int_equal(peer.state, INSTANCE_READY);
}

static void the_report_holds_what_sysrq_prints(void **state)
{
	fake.sysrq = "wt";
	instance_ready();
	console(WARNING("slot_a") END "user\nuser\n");
	assert_true(crashes_pending(shim));
	AWAIT(strlen(fake.keys) == 2);
	assert_string_equal(fake.keys, "wt");
	assert_int_equal(peer.crashes, 0);
	console("sysrq: Show State\nall that it says\n");
	AWAIT(peer.state == INSTANCE_CRASHED);
	assert_string_equal(spool_text("crash.1", NULL), "WARNING in slot_a\n\n" WARNING("slot_a") END
		"user\nuser\nsysrq: Show State\nall that it says\n");
	assert_string_equal(fake.keys, "wt");
}

static void send_verb(uint32_t verb, uint32_t key)
{
	struct frame_machine frame = { verb, key };

	send_frame(FRAME_MACHINE, 0, &frame, sizeof(frame));
}

static void the_machine_takes_verbs(void **state)
{
	static const struct frame_machine bad[] = { { MACHINE_SYSRQ, 0 }, { MACHINE_SYSRQ, 'A' },
		{ MACHINE_SYSRQ, 256 + 'a' }, { MACHINE_NMI, 1 }, { MACHINE_VERBS, 0 } };

	instance_ready();
	send_verb(MACHINE_SYSRQ, 'w');
	send_verb(MACHINE_SYSRQ, '9');
	send_verb(MACHINE_NMI, 0);
	AWAIT(fake.nmis == 1);
	assert_string_equal(fake.keys, "w9");
	assert_non_null(strstr(spool_text("log", NULL), "sysrq 9: "));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		send_verb(bad[i].verb, bad[i].key);
		AWAIT(peer.closed);
		peer_open();
	}
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "off");
	AWAIT(peer.state == INSTANCE_STOPPED);
	send_verb(MACHINE_NMI, 0);
	AWAIT(strstr(spool_text("log", NULL), "nmi: "));
	assert_int_equal(fake.nmis, 1);
}

static void a_crashed_machine_boots_again(void **state)
{
	fake.resets = true;
	instance_ready();
	start_run(1);
	console(WARNING("slot_a") END "x\n");
	AWAIT(fake.reset_count == 1 && peer.state == INSTANCE_READY);
	assert_true(peer_saw(" state 3\n") && fake.frees == 1 && fake.connects == 2);
	assert_int_equal(peer.runs[1].state, RUN_LOST);
	assert_int_equal(peer.text[0], '\0');
	start_run(2);
	/* Also one that reset itself after a panic, and one that stands still. */
	console(PANIC);
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_RESTARTED, "reset");
	AWAIT(fake.reset_count == 2 && peer.state == INSTANCE_READY);
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_CRASHED, "panicked");
	AWAIT(fake.reset_count == 3 && peer.state == INSTANCE_READY);
	assert_int_equal(peer.runs[2].state, RUN_LOST);
	assert_int_equal(peer.crashes, 2);
	/* Not one whose emulator is gone. */
	console(PANIC);
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "killed");
	AWAIT(peer.state == INSTANCE_CRASHED);
	assert_int_equal(fake.reset_count, 3);
}

static void a_reset_without_a_crash_is_the_end(void **state)
{
	fake.resets = true;
	instance_ready();
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_RESTARTED, "reset");
	AWAIT(peer.state == INSTANCE_STOPPED && fake.stops == 1);
	assert_int_equal(fake.reset_count, 0);
}

static void a_reset_that_hangs_can_be_stopped(void **state)
{
	fake.resets = true;
	instance_ready();
	fake.start_hangs = true;
	console(WARNING("slot_a") END "x\n");
	AWAIT(peer.state == INSTANCE_BOOTING && fake.start);
	send_frame(FRAME_STOP, 0, NULL, 0);
	AWAIT(done);
	assert_int_equal(fake.cancels, 1);
	assert_int_equal(fake.stops, 1);
}

static void a_quiet_machine_is_told_once(void **state)
{
	fake.quiet = "50ms";
	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	AWAIT(fake.connects == 1);
	uint64_t begun = uv_hrtime();
	AWAIT(uv_hrtime() - begun > 150000000); /* a boot is not quiet */
	assert_false(peer_saw(" quiet "));
	fake.events->up(fake.data);
	AWAIT(peer_saw(" quiet 50 1\n"));
	peer_open();
	AWAIT(peer_saw(" quiet 50 1\n"));
	console("x");
	AWAIT(peer_saw(" quiet 50 0\n"));
	peer_open();
	AWAIT(peer_saw(" quiet 50 1\n"));
	start_run(1);
	fake.runs[0].events->output(fake.runs[0].data, SPOOL_STDOUT, "y", 1);
	AWAIT(peer_saw(" quiet 50 0\n"));
	assert_int_equal(peer.state, INSTANCE_READY);
}

static void there_are_only_so_many(void **state)
{
	fake.crash_on = "never";
	instance_ready();
	for (unsigned i = 0; i < PROTOCOL_CRASHES_MAX + 2; i++)
		console(WARNING("slot_a") END "x\n");
	AWAIT(peer.crashes == PROTOCOL_CRASHES_MAX);
	assert_non_null(strstr(spool_text("log", NULL), "not looked at any more"));
	assert_int_not_equal(faccessat(dir, "crash.65", F_OK, 0), 0);
}

#define shim_test(f) cmocka_unit_test_setup_teardown(f, instance_set_up, instance_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		shim_test(a_report_makes_it_crashed),
		shim_test(a_quiet_console_ends_the_report),
		shim_test(a_crash_beats_the_exit_status),
		shim_test(a_crash_beats_a_lost_connection),
		shim_test(the_machines_end_completes_the_report),
		shim_test(warnings_do_not_end_a_boot),
		shim_test(only_what_counts_makes_it_crashed),
		shim_test(never_is_never),
		shim_test(the_report_holds_what_sysrq_prints),
		shim_test(the_machine_takes_verbs),
		shim_test(a_crashed_machine_boots_again),
		shim_test(a_reset_without_a_crash_is_the_end),
		shim_test(a_reset_that_hangs_can_be_stopped),
		shim_test(a_quiet_machine_is_told_once),
		shim_test(there_are_only_so_many),
	};

	uv_loop_init(&loop);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return uv_loop_close(&loop) < 0 ? 1 : failed;
}
