/* SPDX-License-Identifier: MIT */
/* Many commands at once, and the further connections that some servers need for that. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "backends/ssh/bounds.h"
#include "backends/ssh/lanes.h"
#include "tests/ssh/told.h"

#define MANY 200u

#define STEP 4	/* seconds */

/* Seconds by which the clocks of this process, the loop's too, are ahead. */
static time_t leap;

/* In place of libc's. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	now->tv_sec += leap;
	return result;
}

/* Which servers have the fault. */
static void test_table(void **state)
{
	static const char *const faulty[] = { "SSH-2.0-dropbear_2022.82", "SSH-2.0-dropbear_2022.83",
		"SSH-2.0-dropbear_2024.84", "SSH-2.0-dropbear_2024.85", "SSH-2.0-dropbear_2022.83-x",
		"SSH-2.0-dropbear" };
	static const char *const sound[] = { "SSH-2.0-dropbear_2020.81", "SSH-2.0-dropbear_2024.86",
		"SSH-2.0-dropbear_2025.88", "SSH-2.0-dropbear_0.53", "SSH-2.0-dropbear_next",
		"SSH-2.0-OpenSSH_9.2p1 dropbear_2022.83", "dropbear_2022.83", "" };

	for (size_t i = 0; i < sizeof(faulty) / sizeof(*faulty); i++)
		assert_true(lanes_needed(faulty[i]));
	for (size_t i = 0; i < sizeof(sound) / sizeof(*sound); i++)
		assert_false(lanes_needed(sound[i]));
	assert_false(lanes_needed(NULL));
}

/* Whether the server needs lanes, by its banner. */
static bool faulty_server(const struct fixture *fixture)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)fixture->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = 20 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char banner[256] = "";

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	for (size_t size = 0; !strchr(banner, '\r') && size < sizeof(banner) - 1; size++)
		assert_int_equal(read(fd, banner + size, 1), 1);
	close(fd);
	banner[strcspn(banner, "\r")] = '\0';
	return lanes_needed(banner);
}

/* Opens, for a test that is about servers which need lanes; skips it with others. */
static void open_with_lanes(struct fixture *fixture, const char *const *keys)
{
	fixture_open(fixture, NULL, keys);
	if (faulty_server(fixture))
		return;
	fixture_close(fixture);
	skip();
}

/* The connections that the server has: its children. */
static unsigned connections(const struct fixture *fixture)
{
	char path[64], list[4096] = "";
	unsigned count = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)fixture->server,
		(int)fixture->server);
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	size_t size = fread(list, 1, sizeof(list) - 1, file);

	fclose(file);
	for (size_t i = 0; i < size; i++)
		count += list[i] == ' ';
	return count;
}

/* Whether all of many results have ended. */
static bool all_ended(void *data)
{
	const struct result *results = data;

	for (unsigned i = 0; i < MANY; i++)
		if (!results[i].ended)
			return false;
	return true;
}

/* Each of many commands at once gets exactly its own output and status, again and again. */
static void test_many_at_once(void **state)
{
	static struct result results[MANY];
	struct fixture fixture;
	char text[256];

	fixture_open(&fixture, NULL, NULL);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			snprintf(text, sizeof(text), "echo out %u; echo err %u >&2; exit %u", i, i, i);
			run_start(&fixture, text, &results[i]);
		}
		await_that(&fixture, all_ended, results);
		for (unsigned i = 0; i < MANY; i++) {
			assert_int_equal(results[i].state, RUN_EXITED);
			assert_int_equal(results[i].status, i);
			snprintf(text, sizeof(text), "out %u\n", i);
			assert_string_equal(results[i].out.data, text);
			snprintf(text, sizeof(text), "err %u\n", i);
			assert_string_equal(results[i].err.data, text);
			result_done(&results[i]);
		}
		assert_true(fixture.up);
	}
	assert_int_equal(fixture.downs, 0);
	unsigned count = connections(&fixture);

	if (faulty_server(&fixture))
		assert_true(count >= 2 && count <= 9);
	else
		assert_int_equal(count, 1);
	fixture_close(&fixture);
}

/* Commands that do not end, more of them than there are lanes at once, do not keep others out. */
static void test_endless_ones(void **state)
{
	struct fixture fixture;
	struct result endless[10] = { 0 }, result = { 0 };

	open_with_lanes(&fixture, NULL);
	for (unsigned i = 0; i < 10; i++)
		run_start(&fixture, "exec sleep 60", &endless[i]);
	run(&fixture, "echo x", &result);
	assert_string_equal(result.out.data, "x\n");
	result_done(&result);
	for (unsigned i = 0; i < 10; i++) {
		assert_true(endless[i].started && !endless[i].ended);
		ssh_transport.run_signal(endless[i].run, SIGTERM);
		await(&fixture, &endless[i].ended);
		assert_int_equal(endless[i].status, 128 + SIGTERM);
		result_done(&endless[i]);
	}
	fixture_close(&fixture);
}

/* A lane that breaks takes its own command with it, and nothing else. */
static void test_lane_that_breaks(void **state)
{
	struct fixture fixture;
	struct result broken = { 0 }, other = { 0 }, result = { 0 };
	struct lines lines = { &other, 1 };

	open_with_lanes(&fixture, NULL);
	run_start(&fixture, "echo x; exec sleep 60", &other);
	await_that(&fixture, has_lines, &lines);
	run_start(&fixture, "kill -KILL $PPID; exec sleep 60", &broken);
	await(&fixture, &broken.ended);
	assert_int_equal(broken.state, RUN_LOST);
	assert_int_equal(broken.status, 255);
	assert_non_null(strstr(fixture.log.data, "the connection of a command was lost"));
	run(&fixture, "exit 4", &result);
	assert_int_equal(result.status, 4);
	assert_false(other.ended || fixture.down);
	ssh_transport.run_abandon(other.run);
	await(&fixture, &other.ended);
	result_done(&broken);
	result_done(&other);
	result_done(&result);
	fixture_close(&fixture);
}

/* A command that was given up may end at any moment: its lane is used no more, the others are. */
static void test_given_up(void **state)
{
	struct fixture fixture;
	struct result given[20] = { 0 }, result = { 0 };

	open_with_lanes(&fixture, NULL);
	for (unsigned i = 0; i < 20; i++) {
		struct lines lines = { &given[i], 1 };

		run_start(&fixture, "echo x; exec sleep 60", &given[i]);
		await_that(&fixture, has_lines, &lines);
		ssh_transport.run_abandon(given[i].run);
		run_start(&fixture, "echo y", &result);
		await(&fixture, &given[i].ended);
		await(&fixture, &result.ended);
		assert_int_equal(given[i].state, RUN_STOPPED);
		assert_string_equal(result.out.data, "y\n");
		result_done(&given[i]);
		result_done(&result);
	}
	assert_int_equal(fixture.downs, 0);
	fixture_close(&fixture);
}

/* The end of the first connection is the end of all. */
static void test_end_of_all(void **state)
{
	struct fixture fixture;
	struct result result = { 0 }, queued[3] = { 0 };
	struct lines lines = { &result, 1 };

	open_with_lanes(&fixture, NULL);
	run_start(&fixture, "echo x; exec sleep 60", &result);
	await_that(&fixture, has_lines, &lines);
	for (unsigned i = 0; i < 3; i++)
		run_start(&fixture, "exec sleep 60", &queued[i]);
	ssh_transport.disconnect(fixture.transport);
	await(&fixture, &result.ended);
	assert_int_equal(result.state, RUN_LOST);
	for (unsigned i = 0; i < 3; i++) {
		await(&fixture, &queued[i].ended);
		assert_int_equal(queued[i].state, RUN_LOST);
		result_done(&queued[i]);
	}
	result_done(&result);
	fixture.up = false;
	connect_to(&fixture, fixture.known_hosts);
	await(&fixture, &fixture.up);
	run(&fixture, "exit 5", &result);
	assert_int_equal(result.status, 5);
	result_done(&result);
	fixture_close(&fixture);
}

/* Where no lane can be made, commands use the first connection; nothing fails. */
static void test_no_lane(void **state)
{
	struct fixture fixture;
	struct result result = { 0 };

	open_with_lanes(&fixture, NULL);
	run(&fixture, "true", &result);
	result_done(&result);
	server_stop(&fixture);
	run(&fixture, "kill -KILL $PPID; exec sleep 60", &result);
	assert_int_equal(result.state, RUN_LOST);
	result_done(&result);
	run(&fixture, "echo x; exit 6", &result);
	assert_string_equal(result.out.data, "x\n");
	assert_int_equal(result.status, 6);
	assert_non_null(strstr(fixture.log.data, "commands share the first one"));
	assert_true(fixture.up);
	result_done(&result);
	fixture_close(&fixture);
}

/* Freeing the transport while lanes are made and used. */
static void test_freed(void **state)
{
	static struct result results[30];
	struct fixture fixture;
	struct result result = { 0 };

	open_with_lanes(&fixture, NULL);
	for (unsigned i = 0; i < 30; i++)
		run_start(&fixture, "echo x; exec sleep 60", &results[i]);
	run(&fixture, "exit 7", &result);
	ssh_transport.free(fixture.transport);
	fixture.transport = NULL;
	for (unsigned i = 0; i < 30; i++) {
		assert_false(results[i].ended);
		result_done(&results[i]);
	}
	result_done(&result);
	fixture_close(&fixture);
}

/* What a test waits for: how many connections the server has. */
struct connected {
	const struct fixture *fixture;
	unsigned count;
};

/* Whether it has so many. */
static bool is_connected(void *data)
{
	const struct connected *connected = data;

	return connections(connected->fixture) == connected->count;
}

/* Lanes that idle end, but for one, and are made again. */
static void test_idle(void **state)
{
	static const char *const keys[] = { "ssh_keepalive", "1h", NULL };
	struct fixture fixture;
	struct connected connected = { &fixture, LIMIT_LANES + 1 };
	struct result results[LIMIT_LANES] = { 0 };
	struct answer answer;
	char text[128];

	open_with_lanes(&fixture, keys);
	for (unsigned round = 0; round < 2; round++) {
		snprintf(text, sizeof(text), "until [ -e %s/go ]; do sleep 0.05; done",
			fixture.directory);
		connected.count = LIMIT_LANES + 1;
		for (unsigned i = 0; i < LIMIT_LANES; i++)
			run_start(&fixture, text, &results[i]);
		await_that(&fixture, is_connected, &connected);
		snprintf(text, sizeof(text), "%s/go", fixture.directory);
		assert_int_equal(mkdir(text, 0700), 0);
		for (unsigned i = 0; i < LIMIT_LANES; i++) {
			await(&fixture, &results[i].ended);
			assert_int_equal(results[i].status, 0);
			result_done(&results[i]);
		}
		assert_int_equal(rmdir(text), 0);
		connected.count = 2;
		/* Steps shorter than any limit of what may be under way. */
		for (unsigned step = 0; step < 50 && !is_connected(&connected); step++) {
			leap += STEP;
			uv_update_time(&fixture.loop);
			assert_int_equal(ask_path(&fixture, FILE_GETATTR, "", &answer), 0);
			answer_done(&answer);
		}
		await_that(&fixture, is_connected, &connected);
	}
	assert_int_equal(fixture.downs, 0);
	fixture_close(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_endless_ones),
		cmocka_unit_test(test_lane_that_breaks),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_end_of_all),
		cmocka_unit_test(test_no_lane),
		cmocka_unit_test(test_freed),
		cmocka_unit_test(test_idle),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
