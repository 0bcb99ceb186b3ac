/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/protocol/frame.h"

/* One end under test: what it received. */
struct end {
	struct frame_link *link;
	unsigned frames;
	bool closed;
	int reason;
	int answer;		/* what the frame event returns */
	bool free_within;	/* free the link from within the frame event */
	bool pause_within;	/* pause at each frame */
	bool echo;		/* send each frame back */
	struct text got;	/* type, id, size and payload of each frame */
};

static uv_loop_t loop;

static int end_frame(void *data, const struct frame_header *header, const void *payload)
{
	struct end *end = data;

	assert_int_equal((uintptr_t)payload % 8, 0);
	assert_true(end->link != NULL);
	end->frames++;
	text_printf(&end->got, "%u %llu %u ", header->type, (unsigned long long)header->id,
		header->size);
	text_append(&end->got, payload, header->size);
	if (end->echo) {
		struct iovec part = { (void *)payload, header->size };
		frame_link_send(end->link, header->type, header->id, &part, 1);
	}
	if (end->pause_within)
		frame_link_pause(end->link, true);
	if (end->free_within) {
		frame_link_free(end->link);
		end->link = NULL;
	}
	return end->answer;
}

static void end_closed(void *data, int reason)
{
	struct end *end = data;

	assert_false(end->closed);
	end->closed = true;
	end->reason = reason;
	frame_link_free(end->link);
	end->link = NULL;
}

static const struct frame_link_events end_events = { .frame = end_frame, .closed = end_closed };

/* Makes an end under test; the other end of the socket is returned, not blocking. */
static int end_open(struct end *end)
{
	int fds[2];

	*end = (struct end){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	end->link = frame_link_new(&loop, fds[0], &end_events, end);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	return fds[1];
}

static void end_done(struct end *end, int fd)
{
	frame_link_free(end->link);
	if (fd >= 0)
		close(fd);
	uv_run(&loop, UV_RUN_DEFAULT);
	text_done(&end->got);
}

static void put_frame(struct text *out, uint32_t size, uint16_t type, uint64_t id)
{
	struct frame_header header = { .size = size, .type = type, .id = id };

	text_append(out, &header, sizeof(header));
	for (uint32_t i = 0; i < size; i++)
		text_append(out, &(char){ (char)(i * 7 + id) }, 1);
}

static void turn(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void frames_split_everywhere(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 8, 13, 0, 24, 3 };
	struct text stream = { 0 }, whole = { 0 };
	struct end end;

	for (uint64_t i = 0; i < 7; i++)
		put_frame(&stream, sizes[i], (uint16_t)(16 + i), i);
	for (size_t first = 0; first <= stream.size; first++) {
		for (size_t second = first; second <= stream.size; second += 5) {
			int fd = end_open(&end);
			assert_int_equal(write(fd, stream.data, first), first);
			turn();
			assert_int_equal(write(fd, stream.data + first, second - first),
				second - first);
			turn();
			assert_int_equal(write(fd, stream.data + second, stream.size - second),
				stream.size - second);
			turn();
			assert_int_equal(end.frames, 7);
			if (whole.size == 0)
				text_append(&whole, end.got.data, end.got.size);
			assert_int_equal(end.got.size, whole.size);
			assert_memory_equal(end.got.data, whole.data, whole.size);
			end_done(&end, fd);
		}
	}
	int fd = end_open(&end);
	for (size_t i = 0; i < stream.size; i++) {
		assert_int_equal(write(fd, stream.data + i, 1), 1);
		turn();
	}
	assert_int_equal(end.got.size, whole.size);
	assert_memory_equal(end.got.data, whole.data, whole.size);
	end_done(&end, fd);
	text_done(&stream);
	text_done(&whole);
}

static void large_frames_go_through(void **state)
{
	struct end left = { 0 }, right = { .echo = true };
	char *bytes = memory_new(PROTOCOL_PAYLOAD_MAX);
	struct text expected = { 0 };
	int fds[2];

	for (size_t i = 0; i < PROTOCOL_PAYLOAD_MAX; i++)
		bytes[i] = (char)(i * 13 + (i >> 9));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	left.link = frame_link_new(&loop, fds[0], &end_events, &left);
	right.link = frame_link_new(&loop, fds[1], &end_events, &right);
	for (unsigned i = 0; i < 12; i++) {
		size_t size = i % 3 ? i * 1001 : PROTOCOL_PAYLOAD_MAX - i;
		struct iovec parts[] = { { bytes, size / 3 }, { bytes, 0 },
			{ bytes + size / 3, size - size / 3 } };
		assert_int_equal(frame_link_send(left.link, FRAME_FILE, i, parts, 3), 0);
		text_printf(&expected, "%u %u %zu ", FRAME_FILE, i, size);
		text_append(&expected, bytes, size);
	}
	assert_true(frame_link_queued(left.link) > 0);
	while (left.frames < 12)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(frame_link_queued(left.link), 0);
	assert_int_equal(left.got.size, expected.size);
	assert_memory_equal(left.got.data, expected.data, expected.size);
	frame_link_free(right.link);
	while (!left.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(left.reason, 0);
	text_done(&right.got);
	text_done(&expected);
	free(bytes);
	end_done(&left, -1);
}

static void oversize_is_refused(void **state)
{
	struct frame_header header = { .size = PROTOCOL_PAYLOAD_MAX + 1, .type = FRAME_FILE };
	struct iovec part = { (void *)"", PROTOCOL_PAYLOAD_MAX + 1 };
	struct iovec wrapping[] = { { (void *)"", 1 }, { (void *)"", SIZE_MAX } };
	struct end end;
	int fd = end_open(&end);

	assert_int_equal(frame_link_send(end.link, FRAME_FILE, 1, &part, 1), -EMSGSIZE);
	assert_int_equal(frame_link_send(end.link, FRAME_FILE, 1, wrapping, 2), -EMSGSIZE);
	assert_int_equal(write(fd, &header, sizeof(header)), sizeof(header));
	while (!end.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(end.reason, -EPROTO);
	assert_int_equal(end.frames, 0);
	end_done(&end, fd);
}

static void garbage_never_harms(void **state)
{
	for (unsigned round = 0; round < 300; round++) {
		struct end end;
		char bytes[4096];
		int fd = end_open(&end);
		srand(round);
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)(rand() % (round % 2 ? 256 : 3));
		assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
		close(fd);
		while (!end.closed)
			uv_run(&loop, UV_RUN_ONCE);
		end_done(&end, -1);
	}
}

static void an_end_within_a_frame_is_an_error(void **state)
{
	struct text stream = { 0 };
	struct end end;
	int fd = end_open(&end);

	put_frame(&stream, 10, FRAME_RUN, 1);
	assert_int_equal(write(fd, stream.data, stream.size - 1), stream.size - 1);
	close(fd);
	while (!end.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(end.reason, -ECONNRESET);
	end_done(&end, -1);
	text_done(&stream);
}

static void the_owners_refusal_closes(void **state)
{
	struct text stream = { 0 };
	struct end end;
	int fd = end_open(&end);

	put_frame(&stream, 1, 200, 1);
	put_frame(&stream, 1, 200, 2);
	end.answer = -EPROTO;
	assert_int_equal(write(fd, stream.data, stream.size), stream.size);
	while (!end.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(end.frames, 1);
	assert_int_equal(end.reason, -EPROTO);
	end_done(&end, fd);
	text_done(&stream);
}

static void free_from_within_an_event(void **state)
{
	struct text stream = { 0 };
	struct end end;
	int fd = end_open(&end);

	put_frame(&stream, 1, 16, 1);
	put_frame(&stream, 1, 16, 2);
	end.free_within = true;
	assert_int_equal(write(fd, stream.data, stream.size), stream.size);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(end.frames, 1);
	assert_false(end.closed);
	end_done(&end, fd);
	text_done(&stream);
}

static void a_peer_that_never_reads(void **state)
{
	static char bytes[65536];
	struct iovec part = { bytes, sizeof(bytes) };
	struct end end;
	int fd = end_open(&end), result;
	unsigned sent = 0;

	while ((result = frame_link_send(end.link, FRAME_FILE, 1, &part, 1)) == 0)
		assert_true(++sent < 3 * FRAME_QUEUE_MAX / sizeof(bytes));
	assert_int_equal(result, -ENOBUFS);
	assert_int_equal(frame_link_send(end.link, FRAME_FILE, 1, &part, 1), -EPIPE);
	assert_false(end.closed);
	while (!end.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(end.reason, -ENOBUFS);
	end_done(&end, fd);
}

static void small_frames_count_against_the_cap_too(void **state)
{
	struct end end;
	int fd = end_open(&end), result;
	unsigned sent = 0;

	while ((result = frame_link_send(end.link, FRAME_STOP, 1, NULL, 0)) == 0)
		assert_true(++sent < FRAME_QUEUE_MAX / 100);
	assert_int_equal(result, -ENOBUFS);
	end_done(&end, fd);
}

static void a_paused_link_delivers_nothing(void **state)
{
	struct text stream = { 0 };
	struct end end;
	int fd = end_open(&end);

	for (uint64_t i = 0; i < 3; i++)
		put_frame(&stream, 5, FRAME_RUN, i);
	end.pause_within = true;
	assert_int_equal(write(fd, stream.data, stream.size), stream.size);
	for (unsigned i = 1; i <= 3; i++) {
		while (end.frames < i)
			uv_run(&loop, UV_RUN_ONCE);
		turn();
		turn();
		assert_int_equal(end.frames, i);
		frame_link_pause(end.link, false);
		assert_int_equal(end.frames, i);
	}
	turn();
	close(fd);
	while (!end.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(end.reason, 0);
	end_done(&end, -1);
	text_done(&stream);
}

/* Sending fails while a frame waits behind a pause: it is still delivered. */
static void a_pause_ends_with_the_connection(void **state)
{
	struct text stream = { 0 };
	struct end end;
	int fd = end_open(&end);

	put_frame(&stream, 5, FRAME_RUN, 1);
	frame_link_pause(end.link, true);
	assert_int_equal(write(fd, stream.data, stream.size), stream.size);
	close(fd);
	assert_int_equal(frame_link_send(end.link, FRAME_STOP, 0, NULL, 0), -EPIPE);
	while (!end.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(end.frames, 1);
	end_done(&end, -1);
	text_done(&stream);
}

static void last_words_arrive_although_sending_failed(void **state)
{
	struct text stream = { 0 };
	struct end end;
	int fd = end_open(&end);

	put_frame(&stream, 5, FRAME_STATE, 0);
	assert_int_equal(write(fd, stream.data, stream.size), stream.size);
	close(fd);
	assert_int_equal(frame_link_send(end.link, FRAME_STOP, 0, NULL, 0), -EPIPE);
	while (!end.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(end.frames, 1);
	assert_int_equal(end.reason, 0);
	end_done(&end, -1);
	text_done(&stream);
}

static void a_bad_descriptor_is_reported(void **state)
{
	struct end end = { 0 };

	end.link = frame_link_new(&loop, 9999, &end_events, &end);
	assert_false(end.closed);
	while (!end.closed)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(end.reason < 0);
	end_done(&end, -1);
}

static int set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
	return uv_loop_close(&loop);
}

/* Frames of 3 bytes, as the peer gets them, and what there is of them is exactly these. */
static void expect_frames(int fd, unsigned first, unsigned count)
{
	char got[256];
	struct text expected = { 0 };

	for (unsigned i = first; i < first + count; i++) {
		struct frame_header header = { .size = 3, .type = 20, .id = i };

		text_append(&expected, &header, sizeof(header));
		text_append(&expected, "abc", 3);
	}
	ssize_t there = recv(fd, got, sizeof(got), MSG_DONTWAIT);
	assert_int_equal(there < 0 ? 0 : (size_t)there, expected.size);
	if (expected.size)
		assert_memory_equal(got, expected.data, expected.size);
	text_done(&expected);
}

/* A late frame goes at once, as long as no others followed such soon; then with the next one, in order, or by
 * itself after a moment. */
static void late_frames_go_with_the_next(void **state)
{
	static char many[PROTOCOL_PAYLOAD_MAX];
	struct iovec part = { "abc", 3 }, large = { many, sizeof(many) };
	struct end end;
	int fd = end_open(&end);
	char byte;

	uv_update_time(&loop);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(frame_link_send_late(end.link, 20, 1, &part, 1), 0);
		expect_frames(fd, 1, 1);
		assert_int_equal(frame_link_send(end.link, 20, 2, &part, 1), 0);
		expect_frames(fd, 2, 1);
	}
	assert_int_equal(frame_link_send_late(end.link, 20, 1, &part, 1), 0);
	assert_int_equal(frame_link_send_late(end.link, 20, 2, &part, 1), 0);
	expect_frames(fd, 0, 0);
	assert_int_equal(frame_link_send(end.link, 20, 3, &part, 1), 0);
	expect_frames(fd, 1, 3);
	/* Nothing follows: the next one has to show that again. */
	assert_int_equal(frame_link_send_late(end.link, 20, 1, &part, 1), 0);
	while (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0)
		uv_run(&loop, UV_RUN_ONCE);
	expect_frames(fd, 1, 1);
	assert_int_equal(frame_link_send_late(end.link, 20, 1, &part, 1), 0);
	expect_frames(fd, 1, 1);
	assert_int_equal(frame_link_send_late(end.link, 20, 1, &large, 9), -EMSGSIZE);
	end_done(&end, fd);
}

/* What waits is bounded. */
static void late_frames_are_few(void **state)
{
	static char many[4096];
	struct iovec part = { "abc", 3 }, large = { many, sizeof(many) };
	char got[8192];
	struct end end;
	int fd = end_open(&end);

	uv_update_time(&loop);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(frame_link_send_late(end.link, 20, 1, &part, 1), 0);
		assert_int_equal(frame_link_send(end.link, 20, 1, &part, 1), 0);
	}
	assert_true(recv(fd, got, sizeof(got), MSG_DONTWAIT) > 0);
	assert_int_equal(frame_link_send_late(end.link, 20, 1, &part, 1), 0);
	expect_frames(fd, 0, 0);
	assert_int_equal(frame_link_send_late(end.link, 20, 1, &large, 1), 0);
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT),
		2 * sizeof(struct frame_header) + 3 + sizeof(many));
	end_done(&end, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_split_everywhere),
		cmocka_unit_test(large_frames_go_through),
		cmocka_unit_test(oversize_is_refused),
		cmocka_unit_test(garbage_never_harms),
		cmocka_unit_test(an_end_within_a_frame_is_an_error),
		cmocka_unit_test(the_owners_refusal_closes),
		cmocka_unit_test(free_from_within_an_event),
		cmocka_unit_test(a_peer_that_never_reads),
		cmocka_unit_test(small_frames_count_against_the_cap_too),
		cmocka_unit_test(a_paused_link_delivers_nothing),
		cmocka_unit_test(a_pause_ends_with_the_connection),
		cmocka_unit_test(last_words_arrive_although_sending_failed),
		cmocka_unit_test(late_frames_go_with_the_next),
		cmocka_unit_test(late_frames_are_few),
		cmocka_unit_test(a_bad_descriptor_is_reported),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
