/* SPDX-License-Identifier: MIT */
#include "fs/command.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/protocol/protocol.h"
#include "fs/instance.h"
#include "fs/run.h"

/* Forgets what was written. */
static void discard(struct handle *handle)
{
	text_consume(&handle->written, handle->written.size);
	handle->refused = 0;
}

/* Whether a piece of a text can be taken: 0, or the reason why not. */
static int check(struct handle *handle, struct instance *instance, const void *data, size_t size)
{
	int result = instance_takes_runs(instance);

	if (result < 0)
		return result;
	if (memchr(data, '\0', size))
		return -EINVAL;
	return size > PROTOCOL_COMMAND_MAX - handle->written.size ? -EFBIG : 0;
}

/*
 * Collects. Who writes the first bytes is the writer: a shell's child that adds to its text does not
 * end it. When a piece is refused, then so is the rest: bash goes on with the next line, and a part
 * of a text must not run.
 */
static ssize_t collect(struct handle *handle, struct instance *instance, const void *data,
	size_t size, uint64_t owner)
{
	int result = handle->refused ? handle->refused : check(handle, instance, data, size);

	if (handle->written.size == 0 && !handle->refused)
		handle->writer = owner;
	if (result < 0) {
		discard(handle);
		handle->refused = result;
		return result;
	}
	text_append(&handle->written, data, size);
	return (ssize_t)size;
}

/* The instance whose cmd this is. */
static struct instance *instance_of(struct handle *handle)
{
	return container_of(handle->object, struct instance, object);
}

/* The run whose cmd this is. */
static struct run *run_of(struct handle *handle)
{
	return container_of(handle->object, struct run, object);
}

/* A write to an instance's cmd. Reads of the answer continue at the file offset behind it. */
static ssize_t command_write(struct handle *handle, const void *data, size_t size, uint64_t offset,
	uint64_t owner)
{
	ssize_t result = collect(handle, instance_of(handle), data, size, owner);

	if (result < 0)
		return result;
	text_consume(&handle->answer, handle->answered);
	handle->answered = 0;
	handle->answer_base = offset + size;
	return result;
}

/* The text is whole. */
static void command_commit(struct handle *handle)
{
	struct run *run;

	if (handle->written.size && !handle->object->dead &&
		instance_run(instance_of(handle), handle->written.data, handle->written.size, &run) >= 0)
		text_printf(&handle->answer, "%s\n", run->name);
	discard(handle);
}

/* A descriptor was closed: the text is whole when its writer did it. */
static void command_flush(struct handle *handle, uint64_t owner)
{
	if (handle->writer == owner)
		handle->control->ops->commit(handle);
}

/*
 * A read of cmd: the runs' numbers for whoever wrote, nothing for others. The file stays seekable,
 * because programs refuse "r+" on what is not; so the answer begins at the offset where the write
 * ended, and a read before that starts it anew.
 */
static void command_read(struct handle *handle, struct request *request, uint64_t offset,
	size_t size)
{
	if (offset < handle->answer_base)
		handle->answer_base = offset;
	uint64_t from = offset - handle->answer_base;
	size_t rest = from < handle->answer.size ? handle->answer.size - (size_t)from : 0;

	if (size > rest)
		size = rest;
	if (size && from + size > handle->answered)
		handle->answered = (size_t)from + size;
	request_data(request, size ? handle->answer.data + from : "", size);
}

const struct control_ops command_ops = {
	.write = command_write,
	.flush = command_flush,
	.commit = command_commit,
	.read = command_read,
};

/* Whether a named run takes no text any more, or only that of another open file. */
static bool taken(struct handle *handle, struct run *run)
{
	return run->submitted || run->state == RUN_STOPPED || (run->writer && run->writer != handle);
}

/* Opening a named run's cmd for writing, once it has a text. */
static int run_cmd_open(struct handle *handle)
{
	bool writes = (handle->flags & O_ACCMODE) != O_RDONLY;

	return writes && taken(handle, run_of(handle)) ? -EBUSY : 0;
}

/* A write to a named run's cmd. */
static ssize_t run_cmd_write(struct handle *handle, const void *data, size_t size, uint64_t offset,
	uint64_t owner)
{
	struct run *run = run_of(handle);

	if (taken(handle, run))
		return -EBUSY;
	ssize_t result = collect(handle, run->instance, data, size, owner);
	run->writer = handle->written.size ? handle : NULL;
	return result;
}

/* The text is whole: the run starts. */
static void run_cmd_commit(struct handle *handle)
{
	struct run *run = run_of(handle);

	if (handle->written.size && !handle->object->dead && !taken(handle, run))
		instance_submit(run->instance, run, handle->written.data, handle->written.size);
	if (run->writer == handle)
		run->writer = NULL;
	discard(handle);
}

const struct control_ops command_run_ops = {
	.open = run_cmd_open,
	.write = run_cmd_write,
	.flush = command_flush,
	.commit = run_cmd_commit,
};
