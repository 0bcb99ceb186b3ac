/* SPDX-License-Identifier: MIT */
/* SFTP's bytes, both ways, and what is made of a server's statuses and signals. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/ssh/bounds.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/packet.h"

/* What was written comes back. */
static void test_round(void **state)
{
	struct text out = { 0 };
	size_t size;

	packet_put_u8(&out, 200);
	packet_put_u32(&out, 0x01020304);
	packet_put_u64(&out, 0x0102030405060708);
	packet_put_string(&out, "ab\0c", 4);
	packet_put_string(&out, "", 0);
	assert_memory_equal(out.data + 1, "\1\2\3\4\1\2\3\4\5\6\7\10\0\0\0\4ab", 18);
	struct packet packet = { (unsigned char *)out.data + 1, out.size - 1, false };

	assert_int_equal((unsigned char)out.data[0], 200);
	assert_int_equal(packet_u32(&packet), 0x01020304);
	assert_int_equal(packet_u64(&packet), 0x0102030405060708);
	assert_memory_equal(packet_string(&packet, &size), "ab\0c", 4);
	assert_int_equal(size, 4);
	packet_string(&packet, &size);
	assert_int_equal(size, 0);
	assert_false(packet.bad);
	assert_int_equal(packet_u32(&packet), 0);
	assert_true(packet.bad);
	text_done(&out);
}

/* Every cut of a packet is found, and nothing is read beyond it. */
static void test_cut(void **state)
{
	struct file_attr attr = { .mode = S_IFREG | 0644, .size = 5, .uid = 1, .gid = 2, .atime = 3,
		.mtime = 4 };
	struct text out = { 0 };
	size_t size;

	packet_put_string(&out, "name", 4);
	packet_put_attr(&out, &attr, 15);
	for (size_t cut = 0; cut < out.size; cut++) {
		unsigned char *copy = test_malloc(cut + 1);
		struct packet packet = { copy, cut, false };

		memcpy(copy, out.data, cut);
		packet_string(&packet, &size);
		packet_attr(&packet, &attr);
		assert_true(packet.bad);
		test_free(copy);
	}
	text_done(&out);
}

/* Attributes from outside are cleaned. */
static void test_attr(void **state)
{
	static const struct {
		uint32_t mode, result;
		bool valid;
	} modes[] = {
		{ S_IFREG | 06755, S_IFREG | 0755, true },
		{ S_IFDIR | 01777, S_IFDIR | 01777, true },
		{ S_IFIFO | 0600, S_IFIFO | 0600, true },
		{ S_IFMT | 0600, 0, false },
		{ 0644, 0, false },
	};
	struct file_attr attr;

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		struct text out = { 0 };

		packet_put_u32(&out, 0x80000005);
		packet_put_u64(&out, UINT64_MAX);
		packet_put_u32(&out, modes[i].mode);
		packet_put_u32(&out, 1);
		packet_put_string(&out, "x@y", 3);
		packet_put_string(&out, "z", 1);
		struct packet packet = { (unsigned char *)out.data, out.size, false };

		packet_attr(&packet, &attr);
		assert_false(packet.bad);
		assert_int_equal(packet.size, 0);
		assert_int_equal(attr.size, INT64_MAX);
		assert_int_equal(!!(attr.valid & FILE_ATTR_MODE), modes[i].valid);
		if (modes[i].valid)
			assert_int_equal(attr.mode, modes[i].result);
		text_done(&out);
	}
	/* A count of extensions that cannot be. */
	struct packet lie = { (const unsigned char *)"\x80\0\0\0\xff\xff\xff\xff", 8, false };

	packet_attr(&lie, &attr);
	assert_true(lie.bad);
}

/* Times that the protocol cannot say are clamped. */
static void test_times(void **state)
{
	struct file_attr attr = { .atime = -5, .mtime = (int64_t)1 << 40 };
	struct text out = { 0 };

	packet_put_attr(&out, &attr, FILE_ATTR_TIMES);
	assert_int_equal(out.size, 12);
	assert_memory_equal(out.data, "\0\0\0\10\0\0\0\0\xff\xff\xff\xff", 12);
	text_done(&out);
}

/* Lengths of packets. */
static void test_next(void **state)
{
	unsigned char data[16] = { 0, 0, 0, 5, 103 };
	size_t size = 0;

	assert_int_equal(packet_next(data, 3, &size), -EAGAIN);
	assert_int_equal(packet_next(data, 8, &size), -EAGAIN);
	assert_int_equal(packet_next(data, 9, &size), 103);
	assert_int_equal(size, 9);
	assert_int_equal(packet_next("\0\0\0\4", 4, &size), -EPROTO);
	assert_int_equal(packet_next("\0\0\0\0", 4, &size), -EPROTO);
	assert_int_equal(packet_next("\xff\xff\xff\xff", 4, &size), -EPROTO);
	assert_int_equal(packet_next("\0\4\4\1", 4, &size), -EPROTO);
	assert_int_equal(packet_next("\0\4\4\0", 4, &size), -EAGAIN);
}

/* Statuses and signals. */
static void test_errors(void **state)
{
	assert_int_equal(errors_status(SFTP_OK), 0);
	assert_int_equal(errors_status(SFTP_NO_SUCH_FILE), -ENOENT);
	assert_int_equal(errors_status(SFTP_PERMISSION_DENIED), -EACCES);
	assert_int_equal(errors_status(SFTP_FAILURE), -EIO);
	assert_int_equal(errors_status(9), -EIO);
	assert_int_equal(errors_status(UINT32_MAX), -EIO);
	for (uint32_t status = 1; status < 20; status++)
		assert_true(errors_status(status) < 0);
	assert_int_equal(errors_signal("TERM"), SIGTERM);
	assert_int_equal(errors_signal("KILL"), SIGKILL);
	assert_int_equal(errors_signal("XCPU@openssh.com"), SIGXCPU);
	assert_int_equal(errors_signal("TER"), 0);
	assert_int_equal(errors_signal(""), 0);
	assert_int_equal(errors_signal("@"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_attr),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
