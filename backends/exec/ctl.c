/* SPDX-License-Identifier: MIT */
/* The words of ctl: each is a program, and the core sees to it that there is one at a time. */
#include "backends/exec/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
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

/* Starts a program with further arguments. */
static struct program *start(struct exec *exec, struct program_options *options, const char *argument)
{
	const char *const *own = poolfs_words(exec->values, options->name);
	size_t count = 0, more = 0;
	char **further = NULL;

	if (argument && poolfs_split(argument, &further, NULL) < 0)
		return NULL;
	while (own[count])
		count++;
	while (further && further[more])
		more++;
	const char **words = memory_new((count + more + 1) * sizeof(*words));
	memcpy(words, own, count * sizeof(*words));
	if (more)
		memcpy(words + count, further, more * sizeof(*words));
	options->words = words;
	struct program *program = programs_start(exec->programs, options);
	free(words);
	poolfs_split_free(further);
	return program;
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
	exec->acting = start(exec, &options, argument);
	if (!exec->acting) {
		poolfs_op_done(op, -EINVAL, "its arguments cannot be taken apart");
		return;
	}
	exec->verb = op;
	poolfs_op_on_cancel(op, on_cancel_verb, exec);
}
