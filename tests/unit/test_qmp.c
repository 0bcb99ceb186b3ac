/* SPDX-License-Identifier: MIT */
/*
 * qmp.c against an emulator that says what a test wants: a blocking socket at the other
 * end, written to before the loop turns.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "backends/base/text.h"
#include "backends/qemu/qmp.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define NEGOTIATED "{\"return\": {}, \"id\": 1}\n"

struct test {
	uv_loop_t loop;
	struct qmp *qmp;
	int fd;			/* the emulator's end */
	char directory[64];
	unsigned ready, closed, events, answers;
	int close_code, result;
	char reason[512], event[64], text[256];
	bool free_at_event;
};

static void on_ready(void *data)
{
	((struct test *)data)->ready++;
}

static void on_event(void *data, const char *name, const json_t *about)
{
	struct test *test = data;
	const char *reason = json_string_value(json_object_get(about, "reason"));

	test->events++;
	snprintf(test->event, sizeof(test->event), "%s %s", name, reason ? reason : "-");
	if (test->free_at_event) {
		qmp_free(test->qmp);
		test->qmp = NULL;
	}
}

static void on_closed(void *data, int code, const char *reason)
{
	struct test *test = data;

	test->closed++;
	test->close_code = code;
	snprintf(test->reason, sizeof(test->reason), "%s", reason);
}

static const struct qmp_events events = { on_ready, on_event, on_closed };

static void on_answer(void *data, int result, const json_t *value, const char *reason)
{
	struct test *test = data;
	const char *text = json_string_value(value);

	test->answers++;
	test->result = result;
	snprintf(test->text, sizeof(test->text), "%s", text ? text : reason);
}

static void say(struct test *test, const char *text)
{
	assert_int_equal(write(test->fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Handles all that has been said. */
static void turn(struct test *test)
{
	for (unsigned i = 0; i < 20; i++)
		uv_run(&test->loop, UV_RUN_NOWAIT);
}

/* Listens, and connects as an emulator does. */
static int setup(void **state)
{
	struct test *test = calloc(1, sizeof(*test));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct poolfs_err err = { "" };

	snprintf(test->directory, sizeof(test->directory), "/tmp/poolfs-qmp.XXXXXX");
	assert_non_null(mkdtemp(test->directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/qmp", test->directory);
	uv_loop_init(&test->loop);
	if (qmp_listen(&test->loop, address.sun_path, 50, &events, test, &test->qmp, &err) < 0)
		fail_msg("%s", err.text);
	test->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(test->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	turn(test);
	/* Nobody else can connect, and nothing stays. */
	assert_int_equal(access(address.sun_path, F_OK), -1);
	*state = test;
	return 0;
}

static int teardown(void **state)
{
	struct test *test = *state;

	qmp_free(test->qmp);
	uv_run(&test->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&test->loop), 0);
	close(test->fd);
	assert_int_equal(rmdir(test->directory), 0);
	free(test);
	return 0;
}

/* Reads what the client sent: the whole of it. */
static const char *heard(struct test *test)
{
	static char text[4096];
	ssize_t size = recv(test->fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[size > 0 ? size : 0] = '\0';
	return text;
}

static void shake_hands(struct test *test)
{
	say(test, GREETING);
	turn(test);
	assert_string_equal(heard(test), "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	assert_int_equal(test->ready, 0);
	say(test, NEGOTIATED);
	turn(test);
	assert_int_equal(test->ready, 1);
}

static void calls_and_events(void **state)
{
	struct test *test = *state;

	assert_int_equal(qmp_call(test->qmp, "quit", NULL, on_answer, test), -ENOTCONN);
	shake_hands(test);
	json_t *arguments = json_pack("{s:s}", "command-line", "info usernet");
	assert_int_equal(qmp_call(test->qmp, "human-monitor-command", arguments, on_answer, test), 0);
	turn(test);
	assert_string_equal(heard(test), "{\"execute\":\"human-monitor-command\",\"id\":2,"
		"\"arguments\":{\"command-line\":\"info usernet\"}}\n");
	say(test, "{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-shutdown\"}}\n"
		"{\"event\":\"STOP\"}\n{\"return\": \"a \\\"text");
	turn(test);
	assert_int_equal(test->events, 2);
	assert_string_equal(test->event, "STOP -");
	assert_int_equal(test->answers, 0);
	say(test, "\\\"\", \"id\": 2}\n");
	turn(test);
	assert_int_equal(test->answers, 1);
	assert_int_equal(test->result, 0);
	assert_string_equal(test->text, "a \"text\"");
	assert_int_equal(qmp_call(test->qmp, "nonsense", NULL, on_answer, test), 0);
	say(test, "{\"error\":{\"class\":\"x\",\"desc\":\"not \\u001b[1m known\"},\"id\":3}\n");
	turn(test);
	assert_int_equal(test->result, -EIO);
	assert_string_equal(test->text, "not \\x1b[1m known");
	assert_int_equal(test->closed, 0);
}

static void wrong_answers_are_dropped(void **state)
{
	struct test *test = *state;

	shake_hands(test);
	assert_int_equal(qmp_call(test->qmp, "quit", NULL, on_answer, test), 0);
	say(test, "{\"return\":{},\"id\":1}\n{\"return\":{},\"id\":99}\n{\"return\":{}}\n{}\n"
		"{\"return\":{},\"id\":\"2\"}\n{\"event\":7}\n\n");
	turn(test);
	assert_int_equal(test->answers, 0);
	say(test, "{\"id\":2}\n");
	turn(test);
	assert_int_equal(test->answers, 1);
	assert_int_equal(test->result, -EIO);
}

static void the_end_is_told_to_all(void **state)
{
	struct test *test = *state;

	shake_hands(test);
	for (int i = 0; i < QMP_CALLS_MAX; i++)
		assert_int_equal(qmp_call(test->qmp, "stop", NULL, on_answer, test), 0);
	assert_int_equal(qmp_call(test->qmp, "stop", NULL, on_answer, test), -EAGAIN);
	shutdown(test->fd, SHUT_RDWR);
	turn(test);
	assert_int_equal(test->answers, QMP_CALLS_MAX);
	assert_true(test->result < 0);
	assert_int_equal(test->closed, 1);
	assert_int_equal(test->close_code, 0);
	assert_int_equal(qmp_call(test->qmp, "stop", NULL, on_answer, test), -ENOTCONN);
}

/* What it says ends the connection, with this in the reason. */
static void breaks(struct test *test, const char *text, const char *reason)
{
	say(test, text);
	turn(test);
	assert_int_equal(test->closed, 1);
	assert_int_equal(test->close_code, -EPROTO);
	assert_non_null(strstr(test->reason, reason));
}

static void garbage_instead_of_a_greeting(void **state)
{
	breaks(*state, "\x7f" "ELF\n", "no message");
}

static void another_object_instead_of_a_greeting(void **state)
{
	breaks(*state, "{\"return\": {}}\n", "greeting");
}

static void an_array_is_no_message(void **state)
{
	shake_hands(*state);
	breaks(*state, "[1]\n", "no message");
}

static void nesting_is_bounded(void **state)
{
	struct text text = { 0 };

	shake_hands(*state);
	text_printf(&text, "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}\n");
	say(*state, text.data);
	turn(*state);
	assert_int_equal(((struct test *)*state)->closed, 0);
	text_consume(&text, text.size);
	text_printf(&text, "{\"a\":");
	for (int i = 0; i < 100000; i++)
		text_append(&text, "[", 1);
	text_append(&text, "\n", 1);
	breaks(*state, text.data, "no message");
	text_done(&text);
}

static void a_flood_without_lines_is_ended(void **state)
{
	struct test *test = *state;
	char block[16384];
	size_t sent = 0;

	shake_hands(test);
	memset(block, 'x', sizeof(block));
	while (!test->closed && sent < 4 * QMP_LINE_MAX) {
		ssize_t size = send(test->fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);

		sent += size > 0 ? (size_t)size : 0;
		turn(test);
	}
	assert_int_equal(test->closed, 1);
	assert_non_null(strstr(test->reason, "too long"));
}

static void a_flood_of_events_is_handled(void **state)
{
	struct test *test = *state;

	shake_hands(test);
	for (unsigned i = 0; i < 20000; i++) {
		say(test, "{\"event\":\"RTC_CHANGE\",\"data\":{\"offset\":1}}\n");
		if (i % 100 == 99)
			turn(test);
	}
	turn(test);
	assert_int_equal(test->events, 20000);
}

static void silence_ends_it(void **state)
{
	struct test *test = *state;

	shake_hands(test);
	assert_int_equal(qmp_call(test->qmp, "quit", NULL, on_answer, test), 0);
	while (!test->closed)
		uv_run(&test->loop, UV_RUN_ONCE);
	assert_int_equal(test->answers, 1);
	assert_int_equal(test->result, -ETIMEDOUT);
	assert_int_equal(test->close_code, -ETIMEDOUT);
}

static void it_may_be_freed_in_an_event(void **state)
{
	struct test *test = *state;

	shake_hands(test);
	test->free_at_event = true;
	assert_int_equal(qmp_call(test->qmp, "quit", NULL, on_answer, test), 0);
	say(test, "{\"event\":\"A\"}\n{\"event\":\"B\"}\n{\"return\":{},\"id\":2}\n");
	turn(test);
	assert_int_equal(test->events, 1);
	assert_int_equal(test->answers, 0);
	assert_int_equal(test->closed, 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(calls_and_events),
		TEST(wrong_answers_are_dropped),
		TEST(the_end_is_told_to_all),
		TEST(garbage_instead_of_a_greeting),
		TEST(another_object_instead_of_a_greeting),
		TEST(an_array_is_no_message),
		TEST(nesting_is_bounded),
		TEST(a_flood_without_lines_is_ended),
		TEST(a_flood_of_events_is_handled),
		TEST(silence_ends_it),
		TEST(it_may_be_freed_in_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
