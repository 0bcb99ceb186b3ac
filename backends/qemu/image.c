/* SPDX-License-Identifier: MIT */
#include "backends/qemu/image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* docs/interop/qcow2.txt in QEMU's sources: big-endian, "QFI\xfb" first. */
#define QCOW2_MAGIC		0x514649fbu
#define QCOW2_HEADER		104
#define QCOW2_EXTERNAL_DATA	4u	/* incompatible feature: the data is in another file */
/* A larger disk cannot be: QEMU counts its bytes with a sign. */
#define DISK_MAX		((uint64_t)INT64_MAX - 511)

static uint32_t get32(const unsigned char *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return be32toh(value);
}

/* A big-endian number of 8 bytes. */
static uint64_t get64(const unsigned char *bytes)
{
	return (uint64_t)get32(bytes) << 32 | get32(bytes + 4);
}

/* Checks a qcow2 header (zeros follow where the file is shorter) and takes the size from it. */
static int check_qcow2(const unsigned char *header, uint64_t *size, struct poolfs_err *err)
{
	uint32_t version = get32(header + 4);

	if (get32(header) != QCOW2_MAGIC)
		return poolfs_err_set(err, -EINVAL,
			"disk: is no qcow2 image; for another one set disk_format = raw");
	if (version != 2 && version != 3)
		return poolfs_err_set(err, -EINVAL, "disk: qcow2 version %u is not known", version);
	if (get64(header + 8) != 0)
		return poolfs_err_set(err, -EINVAL,
			"disk: the image has a backing file; make one that stands alone: "
			"qemu-img convert -O qcow2 OLD NEW");
	if (version == 3 && get64(header + 72) & QCOW2_EXTERNAL_DATA)
		return poolfs_err_set(err, -EINVAL,
			"disk: the image keeps its data in another file; make one that stands "
			"alone: qemu-img convert -O qcow2 OLD NEW");
	*size = get64(header + 24);
	if (*size == 0 || *size > DISK_MAX)
		return poolfs_err_set(err, -EINVAL,
			"disk: the image names an impossible size, %" PRIu64 " bytes; it is damaged",
			*size);
	return 0;
}

/* Checks an open image. */
static int check_file(int fd, bool is_qcow2, uint64_t *size, struct poolfs_err *err)
{
	unsigned char header[QCOW2_HEADER] = { 0 };
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0 || pread(fd, header, sizeof(header), 0) < 0)
		return poolfs_err_set(err, -errno, "disk: %s", strerror(errno));
	if (is_qcow2)
		return check_qcow2(header, size, err);
	if (end == 0)
		return poolfs_err_set(err, -EINVAL, "disk: the image is empty");
	*size = (uint64_t)end;
	return 0;
}

/* Looks at the image. */
int image_check(const char *path, const char *format, uint64_t *size, struct poolfs_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return poolfs_err_set(err, -errno, "disk: %s", strerror(errno));
	int result = check_file(fd, strcmp(format, "qcow2") == 0, size, err);
	close(fd);
	return result;
}
