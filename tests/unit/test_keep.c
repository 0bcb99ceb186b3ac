/* SPDX-License-Identifier: MIT */
/* What the daemon tells the shim of the readers of a run's output. */
#include "tests/unit/alone.h"

#include "backends/protocol/spool.h"

static char directory[] = "/tmp/test_keep.XXXXXX";
static uint64_t node;
static struct run *run;

/* Keeps what it is told of readers, "KIND OFFSET" each. */
static void shim_told(struct shim *shim, enum frame_type type, const void *data, size_t size)
{
	static const char *const names[SPOOL_KINDS] = { [SPOOL_OUTPUT] = "output",
		[SPOOL_STDOUT] = "stdout", [SPOOL_STDERR] = "stderr",
		[SPOOL_TRANSCRIPT] = "transcript" };
	const struct frame_run_keep *keep = data;

	if (type != FRAME_RUN_KEEP)
		return;
	assert_int_equal(size, sizeof(*keep));
	assert_true(keep->kind < SPOOL_KINDS && names[keep->kind]);
	if (keep->offset == PROTOCOL_KEEP_NONE)
		text_printf(&shim->told, "%s -, ", names[keep->kind]);
	else
		text_printf(&shim->told, "%s %u, ", names[keep->kind], (unsigned)keep->offset);
}

static int set_up(void **state)
{
	static const struct setting settings[] = { { "output_limit", "64K" }, { 0 } };

	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	assert_non_null(mkdtemp(directory));
	shim_directory = directory;
	/* At most 64 KiB of the run's output are kept. */
	node = make(look(alone_set_up(settings), "runs"), "x");
	run = TAILQ_FIRST(&the_shim->instance->runs);
	return 0;
}

static int tear_down(void **state)
{
	char command[64];
	int result = alone_tear_down();

	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
	return result;
}

static struct handle *open_file(const char *name)
{
	struct record record;

	tree_open(record_new(&record), look(node, name), O_RDONLY);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.error, 0);
	return record.handle;
}

static void close_file(struct handle *handle)
{
	struct record record;

	tree_release(record_new(&record), handle);
	assert_int_equal(record.error, 0);
}

/* A read that finds so many bytes. */
static void read_file(struct handle *handle, uint64_t offset, size_t size)
{
	struct record record;

	tree_read(record_new(&record), handle, offset, size);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.data.size, size);
	record_done(&record);
}

/* The shim was told this since the last look. */
static void told(const char *expected)
{
	assert_string_equal(the_shim->told.data ? the_shim->told.data : "", expected);
	text_done(&the_shim->told);
}

/* Its notice of a spool, whose file is made with that many bytes. */
static void notice(enum spool_kind which, const char *name, uint64_t base, uint64_t end)
{
	struct frame_spool frame = { .kind = which, .start = base, .end = end,
		.base = which == SPOOL_STDOUT ? base : 0 };
	struct frame_header header = { .size = sizeof(frame), .type = FRAME_SPOOL, .id = run->id };
	static const char bytes[65536];
	struct spool_writer *writer;
	char file[40];

	snprintf(file, sizeof(file), "run.%u.%s", (unsigned)run->id, name);
	assert_int_equal(spool_writer_new(the_shim->instance->directory, file, 65536, base, &writer), 0);
	assert_int_equal(spool_append(writer, bytes, end - base), 0);
	spool_writer_free(writer);
	assert_int_equal(the_shim->events->frame(the_shim->instance, &header, &frame), 0);
}

static void state_is(enum run_state now)
{
	struct frame_run_state frame = { .state = now };
	struct frame_header header = { .size = sizeof(frame), .type = FRAME_RUN_STATE,
		.id = run->id };

	assert_int_equal(the_shim->events->frame(the_shim->instance, &header, &frame), 0);
}

/* Who waits since before the start is told of with the start, and every eighth of the limit. */
static void a_reader_moves(void **state)
{
	struct handle *output = open_file("output");

	told("");
	instance_submit(the_shim->instance, run, "x", 1);
	told("output 0, ");
	notice(SPOOL_OUTPUT, "output", 0, 60000);
	told("");
	read_file(output, 0, 100);
	told("");
	read_file(output, 100, 10000);
	told("output 10100, ");
	read_file(output, 10100, 49900);
	told("output 60000, ");
	close_file(output);
	told("output -, ");
	output = open_file("output");
	told("output 0, ");
	state_is(RUN_EXITED);
	close_file(output);
	told("");
}

/* The slowest counts. */
static void readers_are_many(void **state)
{
	struct handle *slow, *fast, *transcript;

	instance_submit(the_shim->instance, run, "x", 1);
	notice(SPOOL_OUTPUT, "output", 0, 60000);
	told("");
	fast = open_file("output");
	slow = open_file("output");
	transcript = open_file("transcript");
	told("output 0, transcript 0, ");
	read_file(fast, 0, 50000);
	read_file(slow, 0, 20000);
	told("output 20000, ");
	close_file(slow);
	told("output 50000, ");
	close_file(fast);
	close_file(transcript);
	told("output -, transcript -, ");
}

/* stdout is in output's spool, then in one of its own. */
static void stdout_is_split(void **state)
{
	struct handle *out, *both;

	instance_submit(the_shim->instance, run, "x", 1);
	out = open_file("stdout");
	told("output 0, ");
	notice(SPOOL_OUTPUT, "output", 0, 30000);
	read_file(out, 0, 20000);
	told("output 20000, ");
	notice(SPOOL_STDOUT, "stdout", 30000, 50000);
	told("stdout 30000, ");
	both = open_file("output");
	told("output 0, ");
	close_file(both);
	told("output 20000, ");
	read_file(out, 20000, 10000);
	told("output -, ");
	read_file(out, 30000, 20000);
	told("stdout 50000, ");
	close_file(out);
	told("stdout -, ");
}

/* The shim must hear that nobody reads stdout, or it would keep that for good. */
static void stdout_is_split_for_nobody(void **state)
{
	struct handle *output;

	instance_submit(the_shim->instance, run, "x", 1);
	output = open_file("output");
	told("output 0, ");
	close_file(output);
	told("output -, ");
	notice(SPOOL_STDOUT, "stdout", 0, 1);
	told("stdout -, ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_reader_moves, set_up, tear_down),
		cmocka_unit_test_setup_teardown(readers_are_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stdout_is_split, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stdout_is_split_for_nobody, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
