/* SPDX-License-Identifier: MIT */
/* The life of a machine in the shim's core. */
#include "tests/unit/shim_fake.h"

static void console(const char *text)
{
	poolfs_machine_console(fake.machine, text, strlen(text));
}

static void a_boot_reaches_ready(void **state)
{
	fake.plans[0] = fake.plans[1] = PLAN_DOWN;
	instance_begin("10");
	assert_int_equal(peer.state, INSTANCE_BOOTING);
	assert_int_equal(peer.boot_ms, 0);
	AWAIT(peer.state == INSTANCE_READY);
	assert_int_equal(fake.connects, 3);
	assert_true(peer.boot_ms >= 2 * LIFE_BOOT_RETRY_MS - 10);
	assert_string_equal(peer.text, "");
	assert_true(peer_saw("status backend fake\nplace a\\nb\n"));
	send_frame(FRAME_STOP, 0, NULL, 0);
	AWAIT(done);
	assert_true(done_clean);
	assert_int_equal(fake.stops, 1);
	assert_int_equal(fake.closes, 1);
	assert_int_equal(fake.frees, 1);
	assert_non_null(strstr(spool_text("log", NULL), "booting\n"));
	assert_non_null(strstr(spool_text("log", NULL), "ready\n"));
}

static void a_machine_that_ends_fails_the_boot_at_once(void **state)
{
	fake.start_hangs = true;
	instance_begin("1000");
	console("SeaBIOS\r\n\x1b[31mno bootable device\r\nlast");
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "the emulator exited");
	assert_int_equal(peer.state, INSTANCE_BOOTING);
	AWAIT(peer.state == INSTANCE_FAILED);
	assert_string_equal(peer.text, "the emulator exited\n"
		"The console's last lines:\nSeaBIOS\n\\x1b[31mno bootable device\nlast\n");
	AWAIT(fake.stops == 1);
	assert_int_equal(fake.cancels, 1);
	assert_false(done);
	assert_int_equal(fake.closes, 0);
	send_frame(FRAME_STOP, 0, NULL, 0);
	AWAIT(done);
	assert_int_equal(fake.stops, 1);
	assert_int_equal(fake.closes, 1);
}

static void a_panic_fails_the_boot_at_once(void **state)
{
	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	AWAIT(fake.connects == 1);
	for (int i = 0; i < 30; i++)
		console("line\r\n");
	console("[    1.000000] Kernel pa");
	console("nic - not syn");
	console("cing: VFS: no root\r");
	AWAIT(peer.spools[0][SPOOL_CONSOLE].end > 200);
	assert_int_equal(peer.state, INSTANCE_BOOTING);
	console("\n---[ end Kernel panic - not syncing: VFS: no root ]---\nmore");
	AWAIT(peer.state == INSTANCE_FAILED);
	assert_ptr_equal(peer.text, strstr(peer.text, "kernel panic: VFS: no root\n"));
	int lines = 0;
	for (char *at = peer.text; *at; at++)
		lines += *at == '\n';
	assert_int_equal(lines, 2 + LINES_KEPT);
}

static void a_reason_keeps_the_newest_lines_that_fit(void **state)
{
	char line[400];

	fake.start_hangs = true;
	instance_begin("1000");
	memset(line, 0x1b, sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	for (int i = 0; i < 20; i++) {
		console(line);
		console("\n");
	}
	console("the newest");
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "gone");
	AWAIT(peer.state == INSTANCE_FAILED);
	assert_true(strlen(peer.text) <= PROTOCOL_REASON_MAX);
	assert_ptr_equal(strstr(peer.text, "gone\nThe console's last lines:\n\\x1b"), peer.text);
	assert_string_equal(peer.text + strlen(peer.text) - 12, "\nthe newest\n");
}

static void a_boot_without_login_times_out(void **state)
{
	fake.plans[0] = fake.plans[1] = fake.plans[2] = PLAN_DOWN;
	instance_begin("0.3");
	AWAIT(peer.state == INSTANCE_FAILED);
	assert_string_equal(peer.text,
		"no login within 0.3 s (boot_timeout); the last attempt: connection refused");
	assert_int_equal(peer.boot_ms, 0);
	AWAIT(fake.stops == 1);
}

static void a_start_that_hangs_is_cancelled(void **state)
{
	fake.start_hangs = true;
	instance_begin("0.1");
	AWAIT(peer.state == INSTANCE_FAILED);
	assert_string_equal(peer.text, "the machine did not start within boot_timeout: cancelled");
	AWAIT(fake.stops == 1);
	assert_int_equal(fake.cancels, 1);
}

static void a_start_that_ignores_the_cancel_is_given_up(void **state)
{
	fake.start_hangs = fake.ignores_cancel = true;
	instance_begin("0.1");
	AWAIT(peer.state == INSTANCE_FAILED);
	AWAIT(fake.stops == 1);
	assert_int_equal(fake.cancels, 1);
}

static void a_refused_key_fails_the_boot_at_once(void **state)
{
	fake.plans[0] = PLAN_FATAL;
	instance_begin("1000");
	AWAIT(peer.state == INSTANCE_FAILED);
	assert_string_equal(peer.text, "the login failed: the key is refused");
	AWAIT(fake.stops == 1);
	assert_int_equal(fake.connects, 1);
}

static void a_backend_that_can_not_open_fails(void **state)
{
	fake.open_fails = true;
	instance_begin("1000");
	assert_int_equal(peer.state, INSTANCE_FAILED);
	assert_string_equal(peer.text, "no such disk");
	send_frame(FRAME_STOP, 0, NULL, 0);
	AWAIT(done);
	assert_true(done_clean);
	assert_int_equal(fake.closes + fake.stops + fake.starts, 0);
}

static void a_lost_connection_is_rebuilt(void **state)
{
	fake.plans[1] = PLAN_DOWN;
	instance_ready();
	fake_lose("the network is gone");
	AWAIT(peer.state == INSTANCE_LOST);
	assert_string_equal(peer.text, "the network is gone");
	AWAIT(peer.state == INSTANCE_READY);
	assert_int_equal(fake.connects, 3);
	assert_string_equal(peer.text, "");
	assert_true(peer.boot_ms > 0);
}

static void a_lost_connection_may_be_lost_for_good(void **state)
{
	fake.plans[1] = PLAN_FATAL;
	instance_ready();
	fake_lose("the network is gone");
	AWAIT(strcmp(peer.text, "the key is refused") == 0);
	assert_int_equal(peer.state, INSTANCE_LOST);
	assert_int_equal(fake.connects, 2);
	assert_int_equal(fake.stops, 0);
}

static void an_end_beats_the_connection_that_it_closes(void **state)
{
	instance_ready();
	fake_lose("the connection was closed");
	uv_run(&loop, UV_RUN_NOWAIT);
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "powered off");
	AWAIT(peer.state != INSTANCE_READY);
	assert_int_equal(peer.state, INSTANCE_STOPPED);
	assert_int_equal(fake.connects, 1);
}

static void a_machine_that_ends_later_is_stopped(void **state)
{
	instance_ready();
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "powered off");
	AWAIT(peer.state == INSTANCE_STOPPED);
	assert_string_equal(peer.text, "powered off");
	assert_int_equal(fake.frees, 1);
	/* Nothing follows. */
	console("Kernel panic - not syncing: late\n");
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_CRASHED, "again");
	AWAIT(strstr(spool_text("log", NULL), "the machine ended: again"));
	assert_int_equal(peer.state, INSTANCE_STOPPED);
}

static void a_panic_beats_the_end_that_comes_with_it(void **state)
{
	instance_ready();
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "powered off");
	console("# Kernel panic - not syncing: Fatal exception\r\r\n");
	AWAIT(peer.state == INSTANCE_CRASHED);
	assert_string_equal(peer.text, "kernel panic: Fatal exception\n"
		"The console's last lines:\n# Kernel panic - not syncing: Fatal exception\n");
}

static void a_backend_that_tells_of_a_crash(void **state)
{
	instance_ready();
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_CRASHED, "guest panicked");
	AWAIT(peer.state == INSTANCE_CRASHED);
	assert_string_equal(peer.text, "guest panicked");
}

static void a_stop_during_the_boot(void **state)
{
	fake.start_hangs = true;
	instance_begin("1000");
	send_frame(FRAME_STOP, 0, NULL, 0);
	AWAIT(done);
	assert_true(done_clean);
	assert_int_equal(fake.cancels, 1);
	assert_int_equal(fake.stops, 1);
	assert_int_equal(fake.closes, 1);
	assert_int_equal(peer.state, INSTANCE_BOOTING);
}

/* The login is through, or is refused, in the turn of the loop in which the stop comes. */
static void a_stop_is_not_lost_to_the_login(void **state)
{
	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	AWAIT(fake.connects == 1);
	shim_stop(shim);
	fake.events->up(fake.data);
	AWAIT(done);
	assert_true(done_clean);
	AWAIT(peer_saw("73 0\n"));
	assert_int_equal(peer.state, INSTANCE_BOOTING);
}

static void a_stop_comes_before_what_the_login_was_refused_for(void **state)
{
	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	AWAIT(fake.connects == 1);
	fake.events->down(fake.data, true, "the key is refused");
	shim_stop(shim);
	AWAIT(done);
	assert_true(done_clean);
	AWAIT(peer_saw("73 0\n"));
	assert_int_equal(peer.state, INSTANCE_BOOTING);
}

static void a_stop_that_hangs_is_given_up(void **state)
{
	fake.stop_hangs = true;
	instance_ready();
	send_frame(FRAME_STOP, 0, NULL, 0);
	AWAIT(done);
	AWAIT(peer_saw(" remains the backend does not answer\n"));
	assert_false(done_clean);
	assert_int_equal(fake.closes, 0);
}

static void a_backend_of_another_interface_is_refused(void **state)
{
	struct poolfs_backend other = fake_backend;
	struct poolfs_err err = { "" };
	struct door *door;

	other.abi = 2;
	assert_int_equal(door_open(&other, NULL, &door, &err), -EINVAL);
	assert_non_null(strstr(err.text, "interface 2"));
	other.abi = POOLFS_ABI;
	other.size = 1 << 20;
	assert_int_equal(door_open(&other, NULL, &door, &err), -EINVAL);
	other.size = offsetof(struct poolfs_backend, stop);
	assert_int_equal(door_open(&other, NULL, &door, &err), -EINVAL);
	other.size = sizeof(other);
	other.stop = NULL;
	assert_int_equal(door_open(&other, NULL, &door, &err), -EINVAL);
}

#define shim_test(f) cmocka_unit_test_setup_teardown(f, instance_set_up, instance_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		shim_test(a_boot_reaches_ready),
		shim_test(a_machine_that_ends_fails_the_boot_at_once),
		shim_test(a_panic_fails_the_boot_at_once),
		shim_test(a_reason_keeps_the_newest_lines_that_fit),
		shim_test(a_boot_without_login_times_out),
		shim_test(a_start_that_hangs_is_cancelled),
		shim_test(a_start_that_ignores_the_cancel_is_given_up),
		shim_test(a_refused_key_fails_the_boot_at_once),
		shim_test(a_backend_that_can_not_open_fails),
		shim_test(a_lost_connection_is_rebuilt),
		shim_test(a_lost_connection_may_be_lost_for_good),
		shim_test(an_end_beats_the_connection_that_it_closes),
		shim_test(a_machine_that_ends_later_is_stopped),
		shim_test(a_panic_beats_the_end_that_comes_with_it),
		shim_test(a_backend_that_tells_of_a_crash),
		shim_test(a_stop_during_the_boot),
		shim_test(a_stop_is_not_lost_to_the_login),
		shim_test(a_stop_comes_before_what_the_login_was_refused_for),
		shim_test(a_stop_that_hangs_is_given_up),
		cmocka_unit_test(a_backend_of_another_interface_is_refused),
	};

	uv_loop_init(&loop);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return uv_loop_close(&loop) < 0 ? 1 : failed;
}
