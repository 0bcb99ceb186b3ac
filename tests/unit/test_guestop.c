/* SPDX-License-Identifier: MIT */
/* Requests to a guest's files and the shim's replies, with a record in the shim's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
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
} sent;
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
	assert_int_equal(parts[0].iov_len, sizeof(sent.request));
	memcpy(&sent.request, parts[0].iov_base, sizeof(sent.request));
}

void shim_send_late(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	struct iovec part = { (void *)data, size };

	shim_send_parts(shim, type, id, &part, 1);
	assert_int_equal(sent.request.op, FILE_CLOSE);
	assert_int_equal(sent.request.flags, FILES_QUIET);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opened_for_nobody_is_closed),
		cmocka_unit_test(errors_are_checked),
		cmocka_unit_test(storms_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
