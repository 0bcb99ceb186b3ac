/* SPDX-License-Identifier: MIT */
/* What a machine answered to a file request, checked. No I/O. */
#ifndef AGENT_REPLY_H
#define AGENT_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "backends/base/text.h"
#include "backends/protocol/files.h"

/* What is known of the request. */
struct reply_to {
	uint32_t op;
	uint32_t length;	/* of a read, an open, or a copy; the size of a write */
	uint64_t handle;	/* that an open was given */
	const char *path;	/* of a readlink */
	const char *root;	/* of files/, in the machine */
};

/*
 * Checks payload (size bytes, aligned to 8) and makes the answer of it: reply, and in data, which is
 * empty before, what follows it. An answer that cannot be right becomes -EIO in reply->error.
 */
void reply_check(const struct reply_to *to, const void *payload, size_t size,
	struct file_reply *reply, struct text *data);

#endif
