/* SPDX-License-Identifier: MIT */
/* The words of ctl: each is a program, and the core sees to it that there is one at a time. */
#include "backends/exec/parts.h"

#include <errno.h>
#include <string.h>

#include "backends/exec/programs.h"

/* A verb's program ended. */
static void on_verb_ended(void *data, int status, const char *text)
{
	struct exec *exec = data;
	struct poolfs_op *op = exec->verb;

	exec->acting = NULL;
	exec->verb = NULL;
	poolfs_op_done(op, status == 0 ? 0 : status < 0 ? -ECANCELED : -EIO, "%s", text);
	ending_step(exec);
}

/* The core no longer waits for it. */
static void on_cancel_verb(void *data)
{
	struct exec *exec = data;

	if (exec->acting)
		program_stop(exec->acting);
}

/* The key of a verb, as the values have it. */
static const char *verb_key(const struct exec *exec, const char *verb)
{
	const char *key;

	for (size_t i = 0; (key = poolfs_member(exec->values, "ctl.VERB", i)); i++)
		if (strcmp(key + strlen("ctl."), verb) == 0)
			break;
	return key;
}

/* Starts a verb's program. */
void ctl_start(void *state, const char *verb, const char *argument, struct poolfs_op *op)
{
	struct exec *exec = state;
	struct program_options options = { .name = verb_key(exec, verb), .ended = on_verb_ended,
		.data = exec };

	if (!exec->up || exec->stop || !options.name) {
		poolfs_op_done(op, -EHOSTDOWN, "the machine has ended");
		return;
	}
	options.words = poolfs_words(exec->values, options.name);
	exec->verb = op;
	exec->acting = programs_start(exec->programs, &options);
	poolfs_op_on_cancel(op, on_cancel_verb, exec);
}
