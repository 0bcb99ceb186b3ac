/* SPDX-License-Identifier: MIT */
/*
 * The way to a machine by another one: OpenSSH's ssh(1), which logs in there and connects its standard
 * input and output with the machine (-W). It checks the host key of the machine between; ours is
 * checked, as always, over the stream that it carries.
 */
#ifndef REMOTE_JUMP_H
#define REMOTE_JUMP_H

#include "backends/backend.h"
#include "backends/remote/target.h"

struct jump {
	char **words;		/* the command, ended by NULL */
	char **environment;	/* more for it, ended by NULL */
};

/* Whether the keys of new hosts are trusted (host_key = accept-new), there and on the way. */
bool jump_accepts_new(const struct poolfs_values *values);
/* For `check`: whether the value of the key jump can work with the others. */
int jump_check(const struct poolfs_values *values, struct poolfs_err *err);
/* The command that leads to the target; jump_done frees. Only where the key is set. */
int jump_make(const struct poolfs_values *values, const struct target *target, struct jump *jump,
	struct poolfs_err *err);
void jump_done(struct jump *jump);

#endif
