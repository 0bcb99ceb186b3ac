/* SPDX-License-Identifier: MIT */
/* How commands are collected from what programs write, on a real tree whose shim is a record. */
#include "tests/unit/alone.h"

static uint64_t instance_node, cmd;
static unsigned stops, forgets;

/* Keeps the commands, each ended by "|". */
static void shim_told(struct shim *shim, enum frame_type type, const void *data, size_t size)
{
	stops += type == FRAME_RUN_STOP;
	forgets += type == FRAME_RUN_FORGET;
	if (type != FRAME_RUN)
		return;
	text_append(&shim->told, data, size);
	text_append(&shim->told, "|", 1);
}

static int set_up(void **state)
{
	static const struct setting settings[] = { { "queue_limit", "3" }, { "runs_kept", "2" }, { 0 } };

	stops = forgets = 0;
	instance_node = alone_set_up(settings);
	cmd = look(instance_node, "cmd");
	return 0;
}

static int tear_down(void **state)
{
	return alone_tear_down();
}

static struct handle *open_file(uint64_t node, int flags)
{
	struct record record;

	tree_open(record_new(&record), node, flags);
	assert_int_equal(record.replies, 1);
	return record.error ? NULL : record.handle;
}

/* write(2): the result. */
static int put(struct handle *handle, const char *data, size_t size, uint64_t offset, uint64_t owner)
{
	struct record record;

	tree_write(record_new(&record), handle, data, size, offset, owner);
	assert_int_equal(record.replies, 1);
	return record.error ? record.error : (int)record.written;
}

static int puts_at(struct handle *handle, const char *text, uint64_t offset, uint64_t owner)
{
	return put(handle, text, strlen(text), offset, owner);
}

static void flush(struct handle *handle, uint64_t owner)
{
	struct record record;

	tree_flush(record_new(&record), handle, owner);
	assert_int_equal(record.error, 0);
}

static void release(struct handle *handle)
{
	struct record record;

	tree_release(record_new(&record), handle);
}

/* pread(2) of at most 100 bytes, compared. */
static void expect(struct handle *handle, uint64_t offset, const char *text)
{
	struct record record;

	tree_read(record_new(&record), handle, offset, 100);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.error, 0);
	assert_string_equal(record.data.data ? record.data.data : "", text);
	record_done(&record);
}

static void expect_commands(const char *text)
{
	assert_string_equal(the_shim->told.data ? the_shim->told.data : "", text);
}

static void end_run(uint64_t id)
{
	struct frame_run_state told = { .state = RUN_EXITED, .status = 3 };
	struct frame_header header = { .size = sizeof(told), .type = FRAME_RUN_STATE, .id = id };

	assert_int_equal(the_shim->events->frame(the_shim->instance, &header, &told), 0);
}

static void a_shell_closes_once_before_it_writes(void **state)
{
	struct handle *handle = open_file(cmd, O_WRONLY | O_TRUNC);

	flush(handle, 7);
	expect_commands("");
	assert_int_equal(puts_at(handle, "echo hi\n", 0, 7), 8);
	expect_commands("");
	flush(handle, 7);
	expect_commands("echo hi\n|");
	release(handle);
	expect_commands("echo hi\n|");
}

static void lines_of_one_writer_are_one_command(void **state)
{
	struct handle *handle = open_file(cmd, O_WRONLY);

	puts_at(handle, "a\n", 0, 7);
	flush(handle, 8); /* a child that inherited the descriptor ends */
	puts_at(handle, "b", 2, 7);
	flush(handle, 7);
	expect_commands("a\nb|");
	puts_at(handle, "c", 3, 7);
	release(handle);
	expect_commands("a\nb|c|");
}

static void what_a_child_adds_belongs_to_the_text(void **state)
{
	struct handle *handle = open_file(cmd, O_WRONLY);

	puts_at(handle, "a\n", 0, 7);
	puts_at(handle, "b\n", 2, 8);
	flush(handle, 8);
	puts_at(handle, "c\n", 4, 7);
	expect_commands("");
	flush(handle, 7);
	expect_commands("a\nb\nc\n|");
	release(handle);
}

static void nothing_written_runs_nothing(void **state)
{
	struct handle *handle = open_file(cmd, O_WRONLY | O_TRUNC);

	flush(handle, 7);
	release(handle);
	handle = open_file(cmd, O_RDONLY);
	expect(handle, 0, "");
	release(handle);
	expect_commands("");
}

static void the_descriptor_that_wrote_reads_the_number(void **state)
{
	struct handle *handle = open_file(cmd, O_RDWR);

	puts_at(handle, "one", 0, 7);
	expect(handle, 3, "1\n");
	expect(handle, 5, "");
	expect_commands("one|");
	puts_at(handle, "two", 5, 7);
	flush(handle, 7);
	puts_at(handle, "three", 8, 7);
	flush(handle, 7);
	expect(handle, 13, "2\n3\n");
	release(handle);
	/* seek to 0 and read, as Python's r+ does */
	end_run(1);
	handle = open_file(cmd, O_RDWR);
	puts_at(handle, "four", 0, 7);
	expect(handle, 0, "4\n");
	release(handle);
}

static void refusals_come_from_write(void **state)
{
	struct handle *handle = open_file(cmd, O_WRONLY);
	char *big = memory_new(PROTOCOL_COMMAND_MAX + 1);

	memset(big, 'x', PROTOCOL_COMMAND_MAX + 1);
	assert_int_equal(put(handle, "a\0b", 3, 0, 7), -EINVAL);
	assert_int_equal(puts_at(handle, "the rest", 3, 7), -EINVAL);
	flush(handle, 7);
	assert_int_equal(put(handle, big, PROTOCOL_COMMAND_MAX + 1, 0, 7), -EFBIG);
	flush(handle, 7);
	assert_int_equal(put(handle, big, PROTOCOL_COMMAND_MAX, 0, 7), PROTOCOL_COMMAND_MAX);
	assert_int_equal(put(handle, big, 1, 0, 7), -EFBIG);
	flush(handle, 7);
	expect_commands(""); /* a part of a text must not run */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(puts_at(handle, "x", 0, 7), 1);
		flush(handle, 7);
	}
	assert_int_equal(puts_at(handle, "x", 0, 7), -EAGAIN);
	end_run(2);
	assert_int_equal(puts_at(handle, "x", 0, 7), -EAGAIN);
	flush(handle, 7);
	assert_int_equal(puts_at(handle, "y", 0, 7), 1);
	release(handle);
	expect_commands("x|x|x|y|");
	the_shim->events->died(the_shim->instance, "gone");
	handle = open_file(cmd, O_WRONLY);
	assert_int_equal(puts_at(handle, "x", 0, 7), -EHOSTDOWN);
	release(handle);
	free(big);
}

static void a_named_run_starts_once(void **state)
{
	struct record record;
	uint64_t runs = look(instance_node, "runs");

	tree_mkdir(record_new(&record), runs, "build", 0777);
	assert_int_equal(record.error, 0);
	uint64_t node = look(record.entry.node, "cmd");
	uint64_t exit = look(record.entry.node, "exit");
	tree_mkdir(record_new(&record), runs, "build", 0777);
	assert_int_equal(record.error, -EEXIST);
	tree_mkdir(record_new(&record), runs, "17", 0777);
	assert_int_equal(record.error, -EINVAL);

	struct handle *handle = open_file(node, O_WRONLY), *late = open_file(node, O_WRONLY);
	puts_at(handle, "make\n", 0, 7);
	release(handle);
	expect_commands("make\n|");
	assert_int_equal(puts_at(late, "x", 0, 7), -EBUSY);
	release(late);
	assert_null(open_file(node, O_WRONLY));
	handle = open_file(node, O_RDONLY);
	expect(handle, 0, "make\n");
	release(handle);
	end_run(1);
	handle = open_file(exit, O_RDONLY);
	expect(handle, 0, "3\n");
	release(handle);
	tree_rmdir(record_new(&record), runs, "build");
	assert_int_equal(record.error, 0);
	assert_int_equal(forgets, 1);
}

static void old_runs_are_forgotten(void **state)
{
	struct handle *handle = open_file(cmd, O_WRONLY);
	struct record record;
	uint64_t runs = look(instance_node, "runs");

	for (uint64_t id = 1; id <= 4; id++) {
		puts_at(handle, "x", 0, 7);
		flush(handle, 7);
		end_run(id);
	}
	release(handle);
	tree_opendir(record_new(&record), runs);
	handle = record.handle;
	tree_readdir(record_new(&record), handle, 0);
	assert_string_equal(record.data.data, ".\n..\n3\n4\n");
	record_done(&record);
	release(handle);
	tree_readlink(record_new(&record), look(instance_node, "last"));
	assert_string_equal(record.data.data, "runs/4");
	record_done(&record);
}

static void the_machines_end_ends_the_runs(void **state)
{
	struct handle *handle = open_file(cmd, O_WRONLY);
	struct record output, status;

	puts_at(handle, "x", 0, 7);
	release(handle);
	uint64_t run = look(look(instance_node, "runs"), "1");
	struct handle *out = open_file(look(run, "output"), O_RDONLY);
	struct handle *exit = open_file(look(run, "exit"), O_RDONLY);
	tree_read(record_new(&output), out, 0, 10);
	tree_read(record_new(&status), exit, 0, 10);
	assert_int_equal(output.replies + status.replies, 0);
	the_shim->events->died(the_shim->instance, "killed");
	assert_int_equal(output.replies, 1);
	assert_int_equal(output.data.size, 0);
	assert_string_equal(status.data.data, "255\n");
	record_done(&status);
	record_done(&output);
	release(out);
	release(exit);
}

/* A frame of the shim; it must be taken. */
static void told(enum frame_type type, uint64_t id, const void *payload, uint32_t size)
{
	struct frame_header header = { .size = size, .type = (uint16_t)type, .id = id };

	assert_int_equal(the_shim->events->frame(the_shim->instance, &header, payload), 0);
}

static void last_words_come_after_the_crash(void **state)
{
	struct handle *handle = open_file(cmd, O_WRONLY);
	struct frame_state ready = { .state = INSTANCE_READY }, crashed = { .state = INSTANCE_CRASHED };
	struct frame_spool output = { .kind = SPOOL_OUTPUT, .end = 5 };
	struct frame_run_state lost = { .state = RUN_LOST, .status = 255 };
	struct record status;

	puts_at(handle, "x", 0, 7);
	release(handle);
	uint64_t run = look(look(instance_node, "runs"), "1");
	handle = open_file(look(run, "exit"), O_RDONLY);
	tree_read(record_new(&status), handle, 0, 10);
	told(FRAME_STATE, 0, &ready, sizeof(ready));
	told(FRAME_STATE, 0, &crashed, sizeof(crashed));
	assert_int_equal(status.replies, 0);
	told(FRAME_SPOOL, 1, &output, sizeof(output));
	told(FRAME_RUN_STATE, 1, &lost, sizeof(lost));
	assert_string_equal(status.data.data, "255\n");
	told(FRAME_SPOOL, 1, &output, sizeof(output));
	record_done(&status);
	release(handle);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_shell_closes_once_before_it_writes),
		TEST(lines_of_one_writer_are_one_command),
		TEST(what_a_child_adds_belongs_to_the_text),
		TEST(nothing_written_runs_nothing),
		TEST(the_descriptor_that_wrote_reads_the_number),
		TEST(refusals_come_from_write),
		TEST(a_named_run_starts_once),
		TEST(old_runs_are_forgotten),
		TEST(the_machines_end_ends_the_runs),
		TEST(last_words_come_after_the_crash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
