/* SPDX-License-Identifier: MIT */
/* Runs, files, console and the daemon's connection in the shim's core. */
#include "tests/unit/shim_fake.h"

#include "backends/protocol/slots.h"

static void add_run(uint64_t id, const char *text)
{
	send_frame(FRAME_RUN, id, text, strlen(text));
}

/* Output of the transport's nth run. */
static void output(int n, enum spool_kind kind, const char *text)
{
	fake.runs[n].events->output(fake.runs[n].data, kind, text, strlen(text));
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

static void runs_wait_for_the_boot(void **state)
{
	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	AWAIT(fake.connects == 1);
	add_run(1, "first");
	add_run(2, "second");
	add_run(3, "third");
	send_frame(FRAME_RUN_STOP, 2, NULL, 0);
	AWAIT(ended(2));
	assert_int_equal(peer.runs[2].state, RUN_STOPPED);
	assert_int_equal(peer.runs[2].status, 255);
	assert_int_equal(fake.run_count, 0);
	fake.events->up(fake.data);
	AWAIT(fake.run_count == 2);
	assert_string_equal(fake.runs[0].text, "first");
	assert_string_equal(fake.runs[1].text, "third");
	assert_int_equal(peer.runs[1].state, RUN_QUEUED);
	fake.runs[0].events->started(fake.runs[0].data);
	AWAIT(peer.runs[1].state == RUN_RUNNING);
	end(0, RUN_EXITED, 3);
	end(1, RUN_SIGNALED, 137);
	AWAIT(ended(1) && ended(3));
	assert_int_equal(peer.runs[1].state, RUN_EXITED);
	assert_int_equal(peer.runs[1].status, 3);
	assert_int_equal(peer.runs[3].status, 137);
	/* There was no output, so there are no files. */
	assert_string_equal(spool_text("run.1.output", NULL), "(none)");
}

static void stdout_is_the_output_until_stderr_comes(void **state)
{
	uint64_t offset;

	instance_ready();
	add_run(1, "x");
	AWAIT(fake.run_count == 1);
	output(0, SPOOL_STDOUT, "out1");
	AWAIT(peer.spools[1][SPOOL_OUTPUT].end == 4);
	assert_string_equal(spool_text("run.1.stdout", NULL), "(none)");
	assert_false(peer_saw(" spool 3 "));
	output(0, SPOOL_STDOUT, "+");
	output(0, SPOOL_STDERR, "err1");
	AWAIT(peer.spools[1][SPOOL_STDERR].end == 4);
	assert_int_equal(peer.spools[1][SPOOL_STDOUT].base, 5);
	assert_int_equal(peer.spools[1][SPOOL_STDOUT].end, 5);
	assert_string_equal(spool_text("run.1.stdout", NULL), "(none)");
	/* Who reads `output` as stdout must hear of the end of that before more of it. */
	assert_non_null(strstr(peer.log.data, " spool 3 5..5 base 5\n"));
	assert_true(strstr(peer.log.data, " spool 3 5..5 base 5\n") <
		strstr(peer.log.data, " spool 2 0..9 base 0\n"));
	output(0, SPOOL_STDOUT, "out2");
	output(0, SPOOL_STDERR, "err2");
	end(0, RUN_EXITED, 0);
	AWAIT(ended(1));
	assert_string_equal(spool_text("run.1.output", NULL), "out1+err1out2err2");
	assert_string_equal(spool_text("run.1.stderr", NULL), "err1err2");
	assert_string_equal(spool_text("run.1.stdout", &offset), "out2");
	assert_int_equal(offset, 5);
	assert_int_equal(peer.spools[1][SPOOL_STDOUT].start, 5);
	assert_int_equal(peer.spools[1][SPOOL_STDOUT].end, 9);
	assert_int_equal(peer.spools[1][SPOOL_OUTPUT].end, 17);
}

static void output_without_end_is_bounded(void **state)
{
	static char bytes[10001];
	int before;

	instance_ready();
	add_run(1, "yes");
	AWAIT(fake.run_count == 1);
	before = peer.notices;
	memset(bytes, 'y', sizeof(bytes) - 1);
	for (int i = 0; i < 1000; i++)
		output(0, SPOOL_STDOUT, bytes);
	end(0, RUN_STOPPED, 143);
	AWAIT(ended(1));
	assert_int_equal(peer.spools[1][SPOOL_OUTPUT].end, 10000000);
	assert_int_equal(peer.spools[1][SPOOL_OUTPUT].start, 10000000 - 65536);
	assert_int_equal(peer.runs[1].bytes_dropped, 10000000 - 65536);
	assert_int_equal(strlen(spool_text("run.1.output", NULL)), 65536);
	assert_true(peer.notices - before < 5);
}

/* What the transport may pass on of the first run's output. */
static size_t room(void)
{
	return fake.runs[0].events->room(fake.runs[0].data);
}

/* Readers of the first run need a spool from there on. */
static void keep(enum spool_kind kind, uint64_t offset)
{
	struct frame_run_keep frame = { .kind = kind, .offset = offset };
	int before = fake.runs[0].more;

	send_frame(FRAME_RUN_KEEP, 1, &frame, sizeof(frame));
	AWAIT(fake.runs[0].more > before);
}

static void readers_hold_a_command_up(void **state)
{
	static char bytes[60001];

	instance_ready();
	add_run(1, "x");
	AWAIT(fake.run_count == 1);
	memset(bytes, 'y', sizeof(bytes) - 1);
	assert_true(room() == SIZE_MAX);
	keep(SPOOL_OUTPUT, 0);
	assert_int_equal(room(), 65536);
	output(0, SPOOL_STDOUT, bytes);
	assert_int_equal(room(), 5536);
	output(0, SPOOL_STDOUT, "12345");
	output(0, SPOOL_STDERR, "e");
	assert_int_equal(room(), 5530);
	keep(SPOOL_OUTPUT, 50000);
	assert_int_equal(room(), 55530);
	keep(SPOOL_OUTPUT, PROTOCOL_KEEP_NONE);
	/* Who read stdout goes on to its own spool. */
	assert_int_equal(room(), 65536);
	output(0, SPOOL_STDOUT, bytes);
	assert_int_equal(room(), 5536);
	keep(SPOOL_STDOUT, PROTOCOL_KEEP_NONE);
	keep(SPOOL_STDERR, 0);
	assert_int_equal(room(), 65535);
	/* What is lost already is not waited for. */
	output(0, SPOOL_STDOUT, bytes);
	keep(SPOOL_OUTPUT, 0);
	assert_int_equal(room(), 0);
	/* A daemon that goes reads no more. */
	peer_done();
	AWAIT(room() == SIZE_MAX);
	peer_open();
	end(0, RUN_EXITED, 0);
	AWAIT(ended(1));
}

/* Empty lines make a transcript ten times as long as they are. */
static void readers_of_a_transcript_hold_a_command_up(void **state)
{
	static char lines[65537];
	size_t size, taken = 0;

	instance_ready();
	add_run(1, "x");
	AWAIT(fake.run_count == 1);
	keep(SPOOL_TRANSCRIPT, 0);
	memset(lines, 'y', 1000);
	fake.runs[0].events->output(fake.runs[0].data, SPOOL_STDERR, lines, 1000);
	memset(lines, '\n', sizeof(lines));
	while ((size = room()) > 0) {
		assert_true(taken < sizeof(lines));
		fake.runs[0].events->output(fake.runs[0].data,
			taken ? SPOOL_STDOUT : SPOOL_STDERR, lines, size);
		taken += size;
	}
	AWAIT(peer.spools[1][SPOOL_TRANSCRIPT].end > 0);
	assert_int_equal(peer.spools[1][SPOOL_TRANSCRIPT].start, 0);
	assert_int_equal(peer.spools[1][SPOOL_TRANSCRIPT].end, 1000 + 10 * taken);
	/* Who has read all of it can wait for a long line. */
	keep(SPOOL_TRANSCRIPT, peer.spools[1][SPOOL_TRANSCRIPT].end);
	assert_true(room() > 0);
	end(0, RUN_EXITED, 0);
	AWAIT(ended(1));
}

static void runs_are_lost_with_the_connection(void **state)
{
	fake.plans[1] = PLAN_HANG;
	instance_ready();
	add_run(1, "one");
	AWAIT(fake.run_count == 1);
	fake_lose("gone");
	AWAIT(peer.state == INSTANCE_LOST);
	assert_int_equal(peer.runs[1].state, RUN_LOST);
	assert_int_equal(peer.runs[1].status, 255);
	add_run(2, "two");
	AWAIT(fake.connects == 2);
	assert_int_equal(fake.run_count, 1);
	fake.events->up(fake.data);
	AWAIT(fake.run_count == 2);
	assert_string_equal(fake.runs[1].text, "two");
}

static void runs_are_lost_with_the_machine(void **state)
{
	instance_ready();
	add_run(1, "one");
	AWAIT(fake.run_count == 1);
	output(0, SPOOL_STDOUT, "some");
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "off");
	AWAIT(ended(1));
	assert_int_equal(peer.state, INSTANCE_STOPPED);
	assert_int_equal(peer.runs[1].state, RUN_LOST);
	assert_int_equal(peer.spools[1][SPOOL_OUTPUT].end, 4);
	add_run(2, "two");
	AWAIT(ended(2));
	assert_int_equal(peer.runs[2].state, RUN_LOST);
	assert_int_equal(fake.run_count, 1);
}

static void stop_and_forget(void **state)
{
	instance_ready();
	add_run(1, "one");
	add_run(2, "two");
	AWAIT(fake.run_count == 2);
	fake.runs[0].events->started(fake.runs[0].data);
	send_frame(FRAME_RUN_STOP, 1, NULL, 0);
	AWAIT(fake.runs[0].signals[SIGTERM] && fake.runs[0].all);
	assert_false(ended(1));
	end(0, RUN_SIGNALED, 143);
	AWAIT(ended(1));
	send_frame(FRAME_RUN_STOP, 1, NULL, 0);
	output(1, SPOOL_STDERR, "x");
	output(1, SPOOL_STDOUT, "x");
	AWAIT(peer.spools[2][SPOOL_STDOUT].end == 1);
	assert_int_equal(faccessat(dir, "run.2.stdout", F_OK, 0), 0);
	send_frame(FRAME_RUN_FORGET, 2, NULL, 0);
	AWAIT(fake.runs[1].signals[SIGTERM] || fake.runs[1].abandoned);
	assert_int_not_equal(faccessat(dir, "run.2.output", F_OK, 0), 0);
	assert_int_not_equal(faccessat(dir, "run.2.stdout", F_OK, 0), 0);
	assert_int_not_equal(faccessat(dir, "run.2.stderr", F_OK, 0), 0);
	int notices = peer.notices;
	output(1, SPOOL_STDOUT, "more");
	end(1, RUN_STOPPED, 143);
	/* Unknown numbers are harmless. */
	send_frame(FRAME_RUN_FORGET, 99, NULL, 0);
	send_frame(FRAME_RUN_STOP, 99, NULL, 0);
	send_frame(FRAME_RUN_FORGET, 1, NULL, 0);
	add_run(1, "again");
	AWAIT(fake.run_count == 3);
	assert_int_equal(peer.notices, notices);
	assert_false(ended(2));
}

static void a_repeated_run_starts_once(void **state)
{
	instance_ready();
	add_run(1, "one");
	add_run(1, "one");
	add_run(2, "two");
	AWAIT(fake.run_count == 2);
	assert_string_equal(fake.runs[1].text, "two");
}

static void the_next_daemon_hears_everything(void **state)
{
	instance_ready();
	add_run(1, "one");
	add_run(2, "two");
	add_run(3, "three");
	AWAIT(fake.run_count == 3);
	fake.runs[1].events->started(fake.runs[1].data);
	output(0, SPOOL_STDERR, "e");
	end(0, RUN_EXITED, 7);
	send_frame(FRAME_RUN_FORGET, 3, NULL, 0);
	AWAIT(ended(1) && fake.runs[2].abandoned);
	peer_done();
	uv_run(&loop, UV_RUN_NOWAIT);
	output(1, SPOOL_STDOUT, "while nobody listens");
	poolfs_machine_console(fake.machine, "hello", 5);
	uv_run(&loop, UV_RUN_NOWAIT);
	peer_open();
	AWAIT(peer.runs[2].state == RUN_RUNNING);
	assert_int_equal(peer.state, INSTANCE_READY);
	assert_true(peer.boot_ms > 0);
	assert_int_equal(peer.spools[0][SPOOL_CONSOLE].end, 5);
	assert_true(peer.spools[0][SPOOL_LOG].end > 0);
	assert_int_equal(peer.spools[2][SPOOL_OUTPUT].end, 20);
	assert_int_equal(peer.runs[1].state, RUN_EXITED);
	assert_int_equal(peer.runs[1].status, 7);
	assert_int_equal(peer.spools[1][SPOOL_STDERR].end, 1);
	assert_true(peer_saw("1 0\n"));
	assert_true(peer_saw("status backend fake\n"));
	assert_false(peer_saw(" 3 run"));
}

static void a_new_daemon_replaces_the_old(void **state)
{
	instance_ready();
	struct frame_link *old = peer.link;
	peer.link = NULL;
	peer_open();
	AWAIT(peer.closed);	/* the old one: both ends report here */
	assert_int_equal(peer.reason, 0);
	frame_link_free(old);
	add_run(1, "one");
	AWAIT(fake.run_count == 1);
}

static void garbage_only_ends_the_connection(void **state)
{
	static const struct frame_hello other = { .version = 77 };
	static const struct frame_hello good = { .version = PROTOCOL_VERSION };
	static char large[PROTOCOL_COMMAND_MAX + 1];
	static const struct file_request unknown = { .op = 1000 }, root = { .op = FILE_GETATTR };
	static const struct {
		bool hello;
		enum frame_type type;
		uint64_t id;
		const void *data;
		size_t size;
	} bad[] = {
		{ false, FRAME_STOP, 0, "", 0 },
		{ false, FRAME_HELLO, 0, &other, sizeof(other) },
		{ false, FRAME_HELLO, 0, "x", 1 },
		{ true, FRAME_HELLO, 0, &good, sizeof(good) },
		{ true, 0, 0, "", 0 },
		{ true, 50, 0, "", 0 },
		{ true, 65535, 0, "", 0 },
		{ true, FRAME_STATE, 0, "12345678", 8 },
		{ true, FRAME_STOP, 0, "x", 1 },
		{ true, FRAME_STOP, 1, "", 0 },
		{ true, FRAME_RUN, 0, "x", 1 },
		{ true, FRAME_RUN, 1, "", 0 },
		{ true, FRAME_RUN, 1, "a\0b", 3 },
		{ true, FRAME_RUN, 1, large, sizeof(large) },
		{ true, FRAME_RUN_STOP, 1, "x", 1 },
		{ true, FRAME_RUN_FORGET, 0, "", 0 },
		{ true, FRAME_FILE, 1, "", 0 },
		{ true, FRAME_FILE, 1, &unknown, sizeof(unknown) },
		{ true, FRAME_FILE, 0, &root, sizeof(root) },
		{ true, FRAME_CANCEL, 1, "x", 1 },
	};

	memset(large, 'x', sizeof(large));
	instance_ready();
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (bad[i].hello)
			peer_open();
		else
			peer_connect();
		send_frame(bad[i].type, bad[i].id, bad[i].data, bad[i].size);
		AWAIT(peer.closed);
		assert_false(done);
	}
	peer_open();
	assert_int_equal(peer.state, INSTANCE_READY);
	assert_int_equal(fake.run_count + fake.file_count, 0);
}

static void random_frames_never_harm(void **state)
{
	char bytes[400];

	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	srand(1);
	for (int i = 0; i < 3000; i++) {
		enum frame_type type = FRAME_RUN + (unsigned)rand() % 6;
		struct file_request request = { .op = (uint32_t)rand() % FILE_OPS, .handle = 1,
			.path_size = (uint32_t)rand() % 3, .path2_size = (uint32_t)rand() % 3 };
		size_t size = rand() % 3 ? (size_t)rand() % sizeof(bytes) : 0;
		for (size_t k = 0; k < size; k++)
			bytes[k] = (char)(type == FRAME_FILE ? 'a' : rand());
		if (type == FRAME_FILE && size >= sizeof(request))
			memcpy(bytes, &request, sizeof(request));
		if (peer.closed || !peer.link)
			peer_open();
		send_frame(type, (uint64_t)rand() % 4, bytes, size);
		uv_run(&loop, UV_RUN_NOWAIT);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_false(done);
	assert_int_equal(fake.run_count + fake.file_count, 0);
}

static void send_file(uint64_t id, struct file_request request)
{
	send_frame(FRAME_FILE, id, &request, sizeof(request));
}

static void answer_file(int n, struct file_reply reply, const char *text)
{
	fake.files[n].done(fake.files[n].data, &reply, text, strlen(text));
}

static void files_go_through(void **state)
{
	instance_ready();
	send_file(5, (struct file_request){ .op = FILE_GETATTR });
	send_file(6, (struct file_request){ .op = FILE_READ, .handle = 1 });
	send_file(7, (struct file_request){ .op = FILE_READ, .handle = 1 });
	AWAIT(fake.file_count == 3);
	send_frame(FRAME_CANCEL, 6, NULL, 0);
	send_frame(FRAME_CANCEL, 99, NULL, 0);
	AWAIT(fake.files[1].cancelled);
	answer_file(2, (struct file_reply){ 0 }, "data");
	answer_file(0, (struct file_reply){ .error = -ENOENT }, "");
	AWAIT(peer_saw("68 5 reply -2 \n"));
	assert_true(peer_saw("68 7 reply 0 data\n"));
	assert_false(peer_saw("68 6 reply"));
	/* A number that is in use is a mistake. */
	send_file(8, (struct file_request){ .op = FILE_GETATTR });
	send_file(8, (struct file_request){ .op = FILE_GETATTR });
	AWAIT(peer.closed);
}

static void files_without_a_machine_fail_at_once(void **state)
{
	fake.plans[0] = PLAN_HANG;
	instance_begin("1000");
	send_file(1, (struct file_request){ .op = FILE_GETATTR });
	AWAIT(peer_saw("68 1 reply -112 \n"));
	AWAIT(fake.connects == 1);
	fake.events->up(fake.data);
	send_file(2, (struct file_request){ .op = FILE_GETATTR });
	AWAIT(fake.file_count == 1);
	poolfs_machine_ended(fake.machine, POOLFS_ENDED_STOPPED, "off");
	AWAIT(peer_saw("68 2 reply -112 \n"));
	send_file(3, (struct file_request){ .op = FILE_GETATTR });
	AWAIT(peer_saw("68 3 reply -112 \n"));
}

/* Sends a request with a slot. */
static void send_slot(uint64_t id, uint32_t number, struct file_request request)
{
	struct {
		struct frame_slot slot;
		struct file_request request;
	} frame = { .slot = { .number = number }, .request = request };

	send_frame(FRAME_FILE_SLOT, id, &frame, sizeof(frame));
}

static void data_go_through_slots(void **state)
{
	static char bytes[FILES_DATA_MAX + 1];
	char *slots = NULL;
	int fd = slots_make();

	assert_int_equal(slots_map(fd, &slots), 0);
	close(fd);
	fake.slots = slots;
	instance_ready();
	send_slot(1, 2, (struct file_request){ .op = FILE_WRITE, .handle = 1, .data_size = 1000000 });
	send_slot(2, 3, (struct file_request){ .op = FILE_READ, .handle = 1, .length = 1000000 });
	send_slot(3, SLOTS_COUNT, (struct file_request){ .op = FILE_READ, .handle = 1, .length = 1000000 });
	AWAIT(fake.file_count == 3);
	assert_ptr_equal(fake.files[0].bytes, slots_at(slots, 2));
	answer_file(0, (struct file_reply){ .count = 1000000 }, "");
	AWAIT(peer_saw("68 1 reply 0 \n"));
	assert_int_equal(peer.count, 1000000);
	answer_file(1, (struct file_reply){ 0 }, "data");
	AWAIT(peer_saw("68 2 reply 0 \n"));
	assert_int_equal(peer.count, 4);
	assert_memory_equal(slots_at(slots, 3), "data", 4);
	/* More than a slot holds. */
	fake.files[2].done(fake.files[2].data, &(struct file_reply){ 0 }, bytes, sizeof(bytes));
	AWAIT(peer_saw("68 3 reply -5 \n"));
	/* There is no such slot. */
	for (uint32_t i = 0; i < 2; i++) {
		send_slot(4, i * (SLOTS_COUNT + 1), (struct file_request){ .op = FILE_READ, .handle = 1 });
		AWAIT(peer.closed);
		peer_open();
	}
	assert_int_equal(fake.file_count, 3);
	slots_unmap(slots);
}

/* A later daemon shares no memory. */
static void without_memory_there_are_no_slots(void **state)
{
	instance_ready();
	send_slot(1, 1, (struct file_request){ .op = FILE_READ, .handle = 1 });
	AWAIT(peer.closed);
	assert_int_equal(fake.file_count, 0);
}

static void too_many_requests_are_refused(void **state)
{
	instance_ready();
	for (uint64_t id = 1; id <= REQUESTS_MAX + 1; id++)
		send_file(id, (struct file_request){ .op = FILE_GETATTR });
	AWAIT(peer_saw("68 4097 reply -11 \n"));
	assert_int_equal(fake.file_count, REQUESTS_MAX);
}

/* 100 MB of requests at once: the shim takes some, the rest waits, nothing fails. */
static void large_requests_wait_for_each_other(void **state)
{
	static char payload[sizeof(struct file_request) + FILES_DATA_MAX];
	struct file_request request = { .op = FILE_READ, .handle = 1, .length = FILES_DATA_MAX };
	int answered = 0;

	instance_ready();
	for (uint64_t id = 1; id <= 50; id++)
		send_file(id, request);
	request.op = FILE_WRITE;
	request.length = 0;
	request.data_size = FILES_DATA_MAX;
	memcpy(payload, &request, sizeof(request));
	for (uint64_t id = 51; id <= 100; id++)
		send_frame(FRAME_FILE, id, payload, sizeof(payload));
	while (answered < 100) {
		AWAIT(fake.file_count > answered);
		assert_true(shim->requests.bytes <= REQUESTS_BYTES_MAX + FILES_DATA_MAX);
		answer_file(answered++, (struct file_reply){ 0 }, "");
	}
	assert_true(fake.file_count == 100);
	assert_int_equal(shim->requests.bytes, 0);
	AWAIT(peer_saw("68 100 reply 0 \n"));
}

static void an_answer_that_is_too_long_becomes_an_error(void **state)
{
	static char bytes[PROTOCOL_PAYLOAD_MAX];
	struct file_reply reply = { 0 };

	instance_ready();
	send_file(1, (struct file_request){ .op = FILE_GETATTR });
	AWAIT(fake.file_count == 1);
	fake.files[0].done(fake.files[0].data, &reply, bytes, sizeof(bytes));
	AWAIT(peer_saw("68 1 reply -5 \n"));
}

static void a_daemon_that_goes_leaves_no_open_files(void **state)
{
	instance_ready();
	send_frame(FRAME_FILE, 1, &(struct file_request){ .op = FILE_OPENDIR },
		sizeof(struct file_request));
	send_file(2, (struct file_request){ .op = FILE_OPEN });
	send_file(3, (struct file_request){ .op = FILE_OPEN });
	send_file(4, (struct file_request){ .op = FILE_OPEN });
	AWAIT(fake.file_count == 4);
	for (int i = 0; i < 3; i++)
		answer_file(i, (struct file_reply){ .handle = 100 + (uint64_t)i }, "");
	send_file(5, (struct file_request){ .op = FILE_CLOSE, .handle = 101 });
	AWAIT(fake.file_count == 5);
	peer_done();
	AWAIT(fake.file_count == 7);
	assert_true(fake.files[3].cancelled);
	assert_false(fake.files[4].cancelled);
	assert_int_equal(fake.files[5].op, FILE_CLOSE);
	assert_int_equal(fake.files[5].handle + fake.files[6].handle, 100 + 102);
	peer_open();
	for (int i = 4; i < 7; i++)
		answer_file(i, (struct file_reply){ 0 }, "");
	send_file(5, (struct file_request){ .op = FILE_GETATTR });
	AWAIT(fake.file_count == 8);
	assert_false(peer_saw("reply"));
}

static void a_close_that_nobody_waits_for_has_no_reply(void **state)
{
	instance_ready();
	send_file(1, (struct file_request){ .op = FILE_OPEN });
	AWAIT(fake.file_count == 1);
	answer_file(0, (struct file_reply){ .handle = 100 }, "");
	send_file(2, (struct file_request){ .op = FILE_CLOSE, .flags = FILES_QUIET, .handle = 100 });
	AWAIT(fake.file_count == 2);
	answer_file(1, (struct file_reply){ 0 }, "");
	send_file(2, (struct file_request){ .op = FILE_GETATTR });
	AWAIT(fake.file_count == 3);
	answer_file(2, (struct file_reply){ 0 }, "later");
	AWAIT(peer_saw("68 2 reply 0 later\n"));
	assert_false(peer_saw("68 2 reply 0 \n"));
}

static void the_console_is_typed_into(void **state)
{
	static char bytes[100000];

	instance_ready();
	fake.room = 3;
	send_frame(FRAME_CONSOLE_INPUT, 0, "hello", 5);
	AWAIT(fake.typed_size == 3);
	send_frame(FRAME_CONSOLE_INPUT, 0, " you", 4);
	fake.room = 100;
	AWAIT(fake.typed_size == 9);
	assert_string_equal(fake.typed, "hello you");
	/* Beyond the limit the rest is dropped. */
	fake.room = 0;
	send_frame(FRAME_CONSOLE_INPUT, 0, bytes, sizeof(bytes));
	AWAIT(strstr(spool_text("log", NULL), "console: input is dropped"));
	fake.room = sizeof(bytes);
	AWAIT(fake.typed_size == 9 + PROTOCOL_CONSOLE_INPUT_MAX);
	fake.room = sizeof(bytes);
	send_frame(FRAME_CONSOLE_INPUT, 0, "x", 1);
	AWAIT(fake.typed_size == 10 + PROTOCOL_CONSOLE_INPUT_MAX);
}

static void what_tools_print_is_escaped(void **state)
{
	instance_ready();
	poolfs_machine_log_bytes(fake.machine, "tool: \x1b[2J\r\nhalf\0", 17);
	poolfs_machine_log(fake.machine, "message %d", 7);
	assert_non_null(strstr(spool_text("log", NULL),
		"tool: \\x1b[2J\nhalf\\x01\nmessage 7\n"));
}

static void the_console_is_bounded(void **state)
{
	static char bytes[100001];

	instance_ready();
	memset(bytes, 'x', sizeof(bytes) - 1);
	for (int i = 0; i < 10; i++)
		poolfs_machine_console(fake.machine, bytes, sizeof(bytes) - 1);
	AWAIT(peer.spools[0][SPOOL_CONSOLE].end == 1000000);
	assert_int_equal(peer.spools[0][SPOOL_CONSOLE].start, 1000000 - 65536);
}

/* A daemon that does not read is not sent notice after notice; it is told when it reads. */
static void notices_for_a_slow_daemon_are_joined(void **state)
{
	struct frame_hello hello = { .version = PROTOCOL_VERSION };
	struct frame_header header = { .size = sizeof(hello), .type = FRAME_HELLO };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	instance_ready();
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/shim.sock", directory);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(write(fd, &header, sizeof(header)), sizeof(header));
	assert_int_equal(write(fd, &hello, sizeof(hello)), sizeof(hello));
	AWAIT(shim->daemon.greeted && peer.closed);
	for (int i = 0; i < 100000; i++) {
		poolfs_machine_console(fake.machine, "x", 1);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_true(frame_link_queued(shim->daemon.link) < 2 << 20);
	assert_non_null(shim->daemon.link);
	close(fd);
}

#define shim_test(f) cmocka_unit_test_setup_teardown(f, instance_set_up, instance_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		shim_test(runs_wait_for_the_boot),
		shim_test(stdout_is_the_output_until_stderr_comes),
		shim_test(output_without_end_is_bounded),
		shim_test(readers_hold_a_command_up),
		shim_test(readers_of_a_transcript_hold_a_command_up),
		shim_test(runs_are_lost_with_the_connection),
		shim_test(runs_are_lost_with_the_machine),
		shim_test(stop_and_forget),
		shim_test(a_repeated_run_starts_once),
		shim_test(the_next_daemon_hears_everything),
		shim_test(a_new_daemon_replaces_the_old),
		shim_test(garbage_only_ends_the_connection),
		shim_test(random_frames_never_harm),
		shim_test(files_go_through),
		shim_test(files_without_a_machine_fail_at_once),
		shim_test(data_go_through_slots),
		shim_test(without_memory_there_are_no_slots),
		shim_test(too_many_requests_are_refused),
		shim_test(large_requests_wait_for_each_other),
		shim_test(an_answer_that_is_too_long_becomes_an_error),
		shim_test(a_daemon_that_goes_leaves_no_open_files),
		shim_test(a_close_that_nobody_waits_for_has_no_reply),
		shim_test(the_console_is_typed_into),
		shim_test(what_tools_print_is_escaped),
		shim_test(the_console_is_bounded),
		shim_test(notices_for_a_slow_daemon_are_joined),
	};

	uv_loop_init(&loop);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return uv_loop_close(&loop) < 0 ? 1 : failed;
}
