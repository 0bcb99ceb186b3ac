/* SPDX-License-Identifier: MIT */
/* Requests to a guest's files and the shim's replies, with a record in the shim's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include "fs/guestop.h"
#include "fs/shim.h"
#include "tests/unit/record.h"

/* What was sent last. */
static struct {
	int count;
	enum frame_type type;
	uint64_t id;
	struct file_request request;
	struct frame_slot slot;
	size_t data_size;		/* behind the request, with the paths */
} sent;
static char *slots;
static size_t queued;

void shim_send(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	sent.count++;
	sent.type = type;
	sent.id = id;
}

void shim_send_parts(struct shim *shim, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count)
{
	shim_send(shim, type, id, NULL, 0);
	memset(&sent.slot, 0, sizeof(sent.slot));
	if (type == FRAME_FILE_SLOT) {
		assert_int_equal(parts[0].iov_len, sizeof(sent.slot));
		memcpy(&sent.slot, parts[0].iov_base, sizeof(sent.slot));
		parts++;
		count--;
	}
	assert_int_equal(parts[0].iov_len, sizeof(sent.request));
	memcpy(&sent.request, parts[0].iov_base, sizeof(sent.request));
	sent.data_size = 0;
	for (int i = 1; i < count; i++)
		sent.data_size += parts[i].iov_len;
}

void shim_send_late(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	struct iovec part = { (void *)data, size };

	shim_send_parts(shim, type, id, &part, 1);
	assert_int_equal(sent.request.op, FILE_CLOSE);
	assert_int_equal(sent.request.flags, FILES_QUIET);
}

char *shim_slots(const struct shim *shim)
{
	return slots;
}

size_t shim_queued(const struct shim *shim)
{
	return queued;
}

/* Answers with the error alone. */
static void done(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	request_error(op->request, reply->error);
}

/* Sends a request without a path. */
static void send_one(struct guest_queue *queue, struct record *record, enum file_op what)
{
	guest_op_send(guest_op_new(queue, record ? record_new(record) : NULL, NULL, what, done));
}

/* A reply of the shim. */
static int reply_with(struct guest_queue *queue, uint64_t id, int error, uint64_t handle)
{
	struct file_reply reply = { .error = error, .handle = handle };

	return guest_queue_reply(queue, id, &reply, sizeof(reply));
}

static void begin(struct guest_queue *queue)
{
	memset(&sent, 0, sizeof(sent));
	queued = 0;
	guest_queue_init(queue, NULL);
	guest_queue_set(queue, GUEST_UP);
}

/* The same with memory for slots. */
static void begin_slots(struct guest_queue *queue)
{
	int fd = slots_make();

	begin(queue);
	assert_int_equal(slots_map(fd, &slots), 0);
	close(fd);
}

/* Ends it, and what is under way. */
static void end_slots(struct guest_queue *queue)
{
	guest_queue_set(queue, GUEST_GONE);
	slots_unmap(slots);
	slots = NULL;
}

/* Answers a read. */
static void read_done(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
	if (reply->error)
		request_error(op->request, reply->error);
	else
		request_data(op->request, data, size);
}

/* Nobody waits for a write. */
static void written(struct guest_op *op, const struct file_reply *reply, const void *data, size_t size)
{
}

/* Sends a read. */
static void send_read(struct guest_queue *queue, struct record *record, uint32_t length)
{
	struct guest_op *op = guest_op_new(queue, record_new(record), NULL, FILE_READ, read_done);

	op->message.length = length;
	guest_op_send(op);
}

/* Sends a write. */
static void send_write(struct guest_queue *queue, const char *bytes, uint32_t size)
{
	struct guest_op *op = guest_op_new(queue, NULL, NULL, FILE_WRITE, written);

	op->message.data_size = size;
	op->borrowed = bytes;
	guest_op_send(op);
}

/* The caller has its EINTR; what the shim opened for it meanwhile is closed. */
static void opened_for_nobody_is_closed(void **state)
{
	struct guest_queue queue;
	struct record record;

	begin(&queue);
	send_one(&queue, &record, FILE_OPEN);
	uint64_t id = sent.id;
	record.request.interrupt(&record.request, record.request.data);
	assert_int_equal(record.error, -EINTR);
	assert_int_equal(sent.type, FRAME_CANCEL);
	assert_int_equal(sent.id, id);
	assert_int_equal(reply_with(&queue, id, 0, 17), 0);
	assert_int_equal(sent.type, FRAME_FILE);
	assert_int_equal(sent.request.op, FILE_CLOSE);
	assert_int_equal(sent.request.handle, 17);
	int count = sent.count;
	assert_int_equal(reply_with(&queue, id, -ENOENT, 17), 0);
	assert_int_equal(sent.count, count);
	guest_queue_set(&queue, GUEST_GONE);
}

/* Errors that would mean something else to the kernel do not reach it. */
static void errors_are_checked(void **state)
{
	struct guest_queue queue;
	struct record record;

	begin(&queue);
	send_one(&queue, &record, FILE_OPEN);
	assert_int_equal(reply_with(&queue, sent.id, 1, 0), -EPROTO);
	assert_int_equal(reply_with(&queue, sent.id, -512, 0), -EPROTO);
	assert_int_equal(record.replies, 0);
	assert_int_equal(reply_with(&queue, sent.id, -ENOSYS, 0), 0);
	assert_int_equal(record.error, -EOPNOTSUPP);
	send_one(&queue, &record, FILE_FSYNC);
	assert_int_equal(reply_with(&queue, sent.id, -ENOSYS, 0), 0);
	assert_int_equal(record.error, -ENOSYS);
}

/* A storm is refused, but closes pass; what a slow shim holds back goes when it keeps up. */
static void storms_are_refused(void **state)
{
	static struct record records[8192], more, after;
	struct guest_queue queue;

	begin(&queue);
	queued = SIZE_MAX;
	for (size_t i = 0; i < 8192; i++)
		send_one(&queue, &records[i], FILE_READ);
	assert_int_equal(sent.count, 0);
	send_one(&queue, &more, FILE_READ);
	assert_int_equal(more.error, -EAGAIN);
	guest_queue_close(&queue, 5);
	queued = 0;
	guest_queue_set(&queue, GUEST_UP);
	assert_int_equal(sent.count, 8193);
	assert_int_equal(sent.request.op, FILE_CLOSE);
	assert_int_equal(queue.count, 8192);
	unsigned connection = queue.connection;
	guest_queue_set(&queue, GUEST_DOWN);
	assert_int_not_equal(queue.connection, connection);
	for (size_t i = 0; i < 8192; i++) {
		assert_int_equal(records[i].replies, 1);
		assert_int_equal(records[i].error, -EHOSTDOWN);
	}
	send_one(&queue, &after, FILE_READ);
	assert_int_equal(after.error, -EHOSTDOWN);
}

/* Bulk data lie in slots, as long as there are any; less of it goes in the frame. */
static void bulk_has_slots(void **state)
{
	static char bytes[FILES_DATA_MAX];
	struct guest_queue queue;

	begin_slots(&queue);
	memset(bytes, 'w', sizeof(bytes));
	send_write(&queue, bytes, GUEST_SLOT_LEAST - 1);
	assert_int_equal(sent.type, FRAME_FILE);
	assert_int_equal(sent.data_size, GUEST_SLOT_LEAST - 1);
	for (uint32_t i = 1; i <= SLOTS_COUNT; i++) {
		send_write(&queue, bytes, FILES_DATA_MAX);
		assert_int_equal(sent.type, FRAME_FILE_SLOT);
		assert_int_equal(sent.slot.number, i);
		assert_int_equal(sent.request.data_size, FILES_DATA_MAX);
		assert_int_equal(sent.data_size, 0);
		assert_memory_equal(slots_at(slots, i), bytes, FILES_DATA_MAX);
	}
	uint64_t last = sent.id;
	send_write(&queue, bytes, FILES_DATA_MAX);
	assert_int_equal(sent.type, FRAME_FILE);
	assert_int_equal(sent.data_size, FILES_DATA_MAX);
	assert_int_equal(reply_with(&queue, last, 0, 0), 0);
	send_write(&queue, bytes, FILES_DATA_MAX);
	assert_int_equal(sent.slot.number, SLOTS_COUNT);
	end_slots(&queue);
}

/* What is read is taken from the slot, and nothing else is believed. */
static void what_is_read_comes_in_a_slot(void **state)
{
	struct guest_queue queue;
	struct record record;
	struct {
		struct file_reply reply;
		char more[8];
	} answer = { .reply = { .count = FILES_DATA_MAX + 1 } };

	begin_slots(&queue);
	send_read(&queue, &record, FILES_DATA_MAX);
	assert_int_equal(sent.type, FRAME_FILE_SLOT);
	memcpy(slots_at(slots, sent.slot.number), "slot", 4);
	assert_int_equal(guest_queue_reply(&queue, sent.id, &answer, sizeof(answer.reply)), -EPROTO);
	answer.reply.count = 4;
	assert_int_equal(guest_queue_reply(&queue, sent.id, &answer, sizeof(answer)), -EPROTO);
	assert_int_equal(record.replies, 0);
	assert_int_equal(guest_queue_reply(&queue, sent.id, &answer, sizeof(answer.reply)), 0);
	assert_int_equal(record.data.size, 4);
	assert_memory_equal(record.data.data, "slot", 4);
	record_done(&record);
	send_read(&queue, &record, FILES_DATA_MAX);
	assert_int_equal(reply_with(&queue, sent.id, -EIO, 0), 0);
	assert_int_equal(record.error, -EIO);
	record_done(&record);
	end_slots(&queue);
}

/* The shim may still write to the slot of what was cancelled, until it answers what came later. */
static void cancelled_slots_rest(void **state)
{
	struct guest_queue queue;
	struct record before, cancelled, after, more[2];

	begin_slots(&queue);
	send_read(&queue, &before, FILES_DATA_MAX);
	uint64_t first = sent.id;
	send_read(&queue, &cancelled, FILES_DATA_MAX);
	assert_int_equal(sent.slot.number, 2);
	cancelled.request.interrupt(&cancelled.request, cancelled.request.data);
	assert_int_equal(reply_with(&queue, first, -EIO, 0), 0);
	send_read(&queue, &before, FILES_DATA_MAX);
	assert_int_equal(sent.slot.number, 1);
	first = sent.id;
	send_read(&queue, &after, FILES_DATA_MAX);
	assert_int_equal(sent.slot.number, 3);
	assert_int_equal(reply_with(&queue, first, -EIO, 0), 0);
	for (uint32_t i = 0; i < 2; i++) {
		send_read(&queue, &more[i], FILES_DATA_MAX);
		assert_int_equal(sent.slot.number, i + 1);
	}
	end_slots(&queue);
}

/* With the machine all requests end, but the shim has their slots until it answers. */
static void slots_outlive_their_requests(void **state)
{
	struct guest_queue queue;
	struct record record, more;

	begin_slots(&queue);
	send_read(&queue, &record, FILES_DATA_MAX);
	uint64_t first = sent.id;
	guest_queue_set(&queue, GUEST_DOWN);
	assert_int_equal(record.error, -EHOSTDOWN);
	guest_queue_set(&queue, GUEST_UP);
	send_read(&queue, &record, FILES_DATA_MAX);
	assert_int_equal(sent.slot.number, 2);
	assert_int_equal(reply_with(&queue, first, -EHOSTDOWN, 0), 0);
	send_read(&queue, &more, FILES_DATA_MAX);
	assert_int_equal(sent.slot.number, 1);
	end_slots(&queue);
}

/* Closing a file gives the memory back, unless something else has a part of it; not with each of many. */
static void memory_goes_with_a_close(void **state)
{
	struct guest_queue queue;
	struct record record;

	begin_slots(&queue);
	send_read(&queue, &record, FILES_DATA_MAX);
	uint64_t id = sent.id;
	memset(slots_at(slots, 1), 'x', FILES_DATA_MAX);
	guest_queue_close(&queue, 5);
	assert_int_equal(*slots_at(slots, 1), 'x');
	assert_int_equal(reply_with(&queue, id, -EIO, 0), 0);
	guest_queue_close(&queue, 5);
	assert_int_equal(*slots_at(slots, 1), 0);
	uint64_t cleared = queue.slots.cleared;
	send_read(&queue, &record, FILES_DATA_MAX);
	memset(slots_at(slots, 1), 'y', FILES_DATA_MAX);
	assert_int_equal(reply_with(&queue, sent.id, -EIO, 0), 0);
	guest_slots_rest(&queue.slots, slots, cleared + GUEST_SLOTS_KEPT - 1);
	assert_int_equal(*slots_at(slots, 1), 'y');
	guest_slots_rest(&queue.slots, slots, cleared + GUEST_SLOTS_KEPT);
	assert_int_equal(*slots_at(slots, 1), 0);
	end_slots(&queue);
}

/* Neither end can take pages away from the other; something else is no such memory. */
static void memory_stays(void **state)
{
	char *memory = NULL;
	int fd = slots_make(), other = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 2 * SLOTS_SIZE), -1);
	assert_int_equal(slots_map(other, &memory), -ENXIO);
	assert_int_equal(slots_map(-1, &memory), -ENXIO);
	assert_null(memory);
	close(fd);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opened_for_nobody_is_closed),
		cmocka_unit_test(errors_are_checked),
		cmocka_unit_test(storms_are_refused),
		cmocka_unit_test(bulk_has_slots),
		cmocka_unit_test(what_is_read_comes_in_a_slot),
		cmocka_unit_test(cancelled_slots_rest),
		cmocka_unit_test(slots_outlive_their_requests),
		cmocka_unit_test(memory_goes_with_a_close),
		cmocka_unit_test(memory_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
