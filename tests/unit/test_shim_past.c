/* SPDX-License-Identifier: MIT */
/* Transcripts that are written only when somebody reads them, against those that always are. */
#include "tests/unit/shim_fake.h"

#include "backends/shim/past.h"
#include "backends/shim/transcript.h"

#define LIMIT (1u << 20)

/* The transcript as it should be, from the first byte on. */
static struct transcript lines;
static struct text expected;
static uint64_t random_state;

static unsigned random_below(unsigned limit)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % limit;
}

/* One run on an instance of that limit. */
static void begin(const char *limit)
{
	fake.limit = limit;
	instance_ready();
	send_frame(FRAME_RUN, 1, "x", 1);
	AWAIT(fake.run_count == 1);
	fake.runs[0].events->started(fake.runs[0].data);
}

static void output(enum spool_kind kind, const char *bytes, size_t size)
{
	fake.runs[0].events->output(fake.runs[0].data, kind, bytes, size);
	transcript_feed(&lines, kind == SPOOL_STDERR ? TRANSCRIPT_STDERR : TRANSCRIPT_STDOUT, bytes,
		size, &expected);
}

static void put(enum spool_kind kind, const char *text)
{
	output(kind, text, strlen(text));
}

static void console(const char *text)
{
	poolfs_machine_console(fake.machine, text, strlen(text));
	transcript_feed(&lines, TRANSCRIPT_CONSOLE, text, strlen(text), &expected);
}

static void end(void)
{
	fake.runs[0].over = true;
	fake.runs[0].events->ended(fake.runs[0].data, RUN_EXITED, 0);
	transcript_end(&lines, &expected);
	AWAIT(peer.runs[1].state == RUN_EXITED);
}

static struct frame_spool *told(void)
{
	return &peer.spools[1][SPOOL_TRANSCRIPT];
}

/* A number that grows as the first line does. */
static void number_lines(unsigned first, unsigned count)
{
	struct text text = { 0 };

	for (unsigned i = first; i < first + count; i++)
		text_printf(&text, "%u\n", i);
	output(SPOOL_STDOUT, text.data, text.size);
	text_done(&text);
}

/* The size is told as it is. */
static void check_size(void)
{
	AWAIT(told()->end == expected.size);
	assert_true(told()->start <= told()->end && told()->base <= told()->end);
}

/* What is in the file is the end of what should be. */
static void check_text(void)
{
	char *bytes = malloc(LIMIT + 1);
	struct spool_reader *reader;
	uint64_t at = 0;

	check_size();
	assert_int_equal(told()->base, 0);
	if (expected.size == 0)
		goto out;
	assert_int_equal(spool_reader_new(dir, "run.1.transcript", &reader), 0);
	ssize_t count = spool_read(reader, &at, bytes, LIMIT + 1);
	spool_reader_free(reader);
	assert_true(count >= 0);
	assert_int_equal(at, told()->start);
	assert_int_equal(at + (uint64_t)count, expected.size);
	assert_memory_equal(bytes, expected.data + at, (size_t)count);
out:
	free(bytes);
}

/* Somebody reads it. */
static void want(void)
{
	send_frame(FRAME_RUN_TRANSCRIPT, 1, NULL, 0);
	AWAIT(told()->end == expected.size && told()->base == 0);
}

static bool there(const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

static int set_up(void **state)
{
	lines = (struct transcript){ 0 };
	return instance_set_up(state);
}

static int tear_down(void **state)
{
	struct text rest = { 0 };

	transcript_end(&lines, &rest);
	text_done(&rest);
	text_done(&expected);
	return instance_tear_down(state);
}

#define past_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void it_is_not_written_for_nobody(void **state)
{
	begin("1M");
	for (unsigned i = 0; i < 10; i++) {
		number_lines(i * 1000, 1000);
		check_size();
		assert_int_equal(told()->base, told()->end);
		assert_int_equal(told()->start, 0);
	}
	put(SPOOL_STDOUT, "last");
	end();
	check_size();
	assert_false(there("run.1.transcript"));
	assert_true(fake.runs[0].events->room(fake.runs[0].data) == SIZE_MAX);
	want();
	assert_int_equal(told()->start, 0);
	check_text();
	/* To ask again is harmless, and so is to ask for what is not there. */
	send_frame(FRAME_RUN_TRANSCRIPT, 1, NULL, 0);
	send_frame(FRAME_RUN_TRANSCRIPT, 7, NULL, 0);
	send_frame(FRAME_RUN_FORGET, 1, NULL, 0);
	AWAIT(!there("run.1.transcript"));
}

static void it_is_written_from_the_question_on(void **state)
{
	begin("1M");
	number_lines(0, 10000);
	put(SPOOL_STDOUT, "half");
	check_size();
	int more = fake.runs[0].more;
	send_frame(FRAME_RUN_TRANSCRIPT, 1, NULL, 0);
	AWAIT(fake.runs[0].more > more);
	want();
	check_text();
	put(SPOOL_STDOUT, " and half\nnew\n");
	check_text();
	put(SPOOL_STDERR, "error\n");
	end();
	check_text();
	assert_int_equal(told()->start, 0);
}

static void nothing_more_is_taken_while_it_is_made(void **state)
{
	begin("4M");
	for (int i = 0; i < 8; i++)
		number_lines(1000000, 50000);
	check_size();
	struct run *run = fake.runs[0].data;
	past_want(run);
	assert_int_equal(fake.runs[0].events->room(run), 0);
	/* What cannot wait goes behind it. */
	console("kernel\n");
	put(SPOOL_STDERR, "late\n");
	AWAIT(fake.runs[0].events->room(run) > 0);
	check_size();
	assert_int_equal(told()->base, 0);
	end();
}

static void other_sources_leave_it_behind(void **state)
{
	begin("1M");
	number_lines(0, 10000);
	put(SPOOL_STDOUT, "begun");
	console("kernel");
	check_size();
	assert_false(there("run.1.transcript"));
	console(" line\n");
	check_size();
	uint64_t base = told()->base;
	assert_true(base > 0 && base < told()->end);
	put(SPOOL_STDERR, "error\n");
	put(SPOOL_STDOUT, " ended\n");
	put(SPOOL_STDERR, "no end");
	check_size();
	assert_int_equal(told()->base, base);
	end();
	check_size();
	assert_int_equal(told()->base, base);
	want();
	assert_int_equal(told()->start, 0);
	check_text();
}

static void a_console_line_that_has_not_ended(void **state)
{
	begin("1M");
	number_lines(0, 10);
	put(SPOOL_STDOUT, "out");
	console("console");
	end();
	want();
	check_text();
}

static void it_loses_what_the_output_lost(void **state)
{
	begin("1M");
	for (unsigned i = 0; i < 100; i++) {
		number_lines(i * 10000, 10000);
		check_size();
	}
	uint64_t start = told()->start;
	assert_true(start > 0 && start < told()->end && told()->end - start <= LIMIT);
	end();
	want();
	assert_true(told()->start >= start);
	/* Lines are longer in a transcript: it is full, as if it had been written. */
	assert_int_equal(told()->end - told()->start, LIMIT);
	check_text();
}

static void it_loses_what_comes_later(void **state)
{
	begin("1M");
	number_lines(0, 10000);
	for (unsigned i = 0; i < 20; i++) {
		put(SPOOL_STDERR, "x\n");
		number_lines(i * 10000, 10000);
		check_size();
	}
	want();
	check_text();
	assert_int_equal(told()->end - told()->start, LIMIT);
	end();
	check_text();
}

static void a_line_without_end(void **state)
{
	static char bytes[100000];

	begin("1M");
	memset(bytes, 'y', sizeof(bytes));
	for (int i = 0; i < 20; i++) {
		output(SPOOL_STDOUT, bytes, sizeof(bytes));
		check_size();
	}
	end();
	want();
	assert_true(told()->end - told()->start > LIMIT / 4 * 3);
	check_text();
}

static void the_output_is_gone(void **state)
{
	begin("1M");
	number_lines(0, 10000);
	put(SPOOL_STDOUT, "begun");
	check_size();
	assert_int_equal(unlinkat(dir, "run.1.output", 0), 0);
	put(SPOOL_STDERR, "error\n");
	AWAIT(told()->base == 0);
	put(SPOOL_STDOUT, " line\n");
	/* It is not there, but as long as it was. */
	AWAIT(told()->end == expected.size);
	assert_true(told()->start > 0);
	end();
}

static void the_next_daemon_may_ask_too(void **state)
{
	begin("1M");
	number_lines(0, 10000);
	put(SPOOL_STDERR, "error\n");
	check_size();
	send_frame(FRAME_RUN_TRANSCRIPT, 1, NULL, 0);
	peer_done();
	uv_run(&loop, UV_RUN_NOWAIT);
	number_lines(0, 10);
	peer_open();
	check_size();
	want();
	check_text();
	end();
	check_text();
}

static void a_run_is_forgotten_meanwhile(void **state)
{
	begin("4M");
	for (int i = 0; i < 8; i++)
		number_lines(1000000, 50000);
	check_size();
	past_want(fake.runs[0].data);
	uv_run(&loop, UV_RUN_NOWAIT);
	send_frame(FRAME_RUN_FORGET, 1, NULL, 0);
	AWAIT(!there("run.1.output"));
	assert_false(there("run.1.transcript"));
	fake.runs[0].over = true;
	fake.runs[0].events->ended(fake.runs[0].data, RUN_STOPPED, 143);
}

/* Anything, in any order. */
static void chance(uint64_t seed)
{
	static char bytes[150000];
	unsigned style;

	random_state = seed;
	style = random_below(4);
	begin("1M");
	unsigned steps = 1 + random_below(40), wanted = random_below(80), other = random_below(60);
	for (unsigned i = 0; i < steps; i++) {
		size_t size = 1 + random_below(style == 0 ? 300 : sizeof(bytes));
		unsigned every = style == 1 ? 3 : style == 2 ? 70000 : 60;

		for (size_t k = 0; k < size; k++)
			bytes[k] = random_below(every) ? (char)('a' + k % 26) : '\n';
		output(i >= other && random_below(2) ? SPOOL_STDERR : SPOOL_STDOUT, bytes, size);
		if (i >= other && !random_below(3))
			console(random_below(2) ? "con" : "sole\n");
		if (i == wanted)
			send_frame(FRAME_RUN_TRANSCRIPT, 1, NULL, 0);
		if (!random_below(3))
			uv_run(&loop, UV_RUN_NOWAIT);
		if (!random_below(3))
			check_size();
	}
	end();
	check_size();
	want();
	check_text();
}

static void anything(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		assert_int_equal(set_up(state), 0);
		chance(seed);
		assert_int_equal(tear_down(state), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		past_test(it_is_not_written_for_nobody),
		past_test(it_is_written_from_the_question_on),
		past_test(nothing_more_is_taken_while_it_is_made),
		past_test(other_sources_leave_it_behind),
		past_test(a_console_line_that_has_not_ended),
		past_test(it_loses_what_the_output_lost),
		past_test(it_loses_what_comes_later),
		past_test(a_line_without_end),
		past_test(the_output_is_gone),
		past_test(the_next_daemon_may_ask_too),
		past_test(a_run_is_forgotten_meanwhile),
		cmocka_unit_test(anything),
	};

	uv_loop_init(&loop);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return uv_loop_close(&loop) < 0 ? 1 : failed;
}
