/* SPDX-License-Identifier: MIT */
/* What the key console says (tap.h). Linked into the daemon too. No I/O; any thread. */
#ifndef REMOTE_TAP_TEXT_H
#define REMOTE_TAP_TEXT_H

#include <limits.h>
#include <termios.h>

#include "backends/remote/target.h"

enum tap_kind { TAP_EXEC, TAP_DEVICE, TAP_TCP };

struct tap_text {
	enum tap_kind kind;
	const char *command;	/* of TAP_EXEC; in the text that was read */
	char path[PATH_MAX];	/* of TAP_DEVICE */
	speed_t speed;
	struct target target;	/* of TAP_TCP: host and port */
};

/* 0, or -EINVAL with what would be right. */
int tap_text_read(const char *text, struct tap_text *out, struct poolfs_err *err);

#endif
