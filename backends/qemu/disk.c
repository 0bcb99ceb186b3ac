/* SPDX-License-Identifier: MIT */
#include "backends/qemu/disk.h"

#include <inttypes.h>
#include <stdlib.h>

#include "backends/base/memory.h"
#include "backends/qemu/args.h"
#include "backends/qemu/image.h"

/* Makes the overlay. -u: take our word for the image below. */
int disk_start(struct uv_loop_s *loop, const struct poolfs_values *values,
	struct child_options *options, struct child **child, struct poolfs_err *err)
{
	const char *base = poolfs_string(values, "disk");
	const char *format = poolfs_string(values, "disk_format");
	uint64_t bytes;

	int result = image_check(base, format, &bytes, err);
	if (result < 0)
		return result;
	char *size = memory_format("%" PRIu64, (bytes + 511) / 512 * 512);
	const char *const argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", format,
		"-b", base, ARGS_OVERLAY, size, NULL };
	options->argv = argv;
	options->limit_ms = DISK_MS;
	result = child_start(loop, options, child, err);
	free(size);
	return result;
}
