/* SPDX-License-Identifier: MIT */
#include "fs/command.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/protocol/protocol.h"
#include "fs/instance.h"
#include "fs/run.h"

/* Collects, when the instance would take the command now. */
static ssize_t collect(struct handle *handle, struct instance *instance, const void *data,
	size_t size, uint64_t owner)
{
	int result = instance_takes_runs(instance);

	if (result < 0)
		return result;
	if (memchr(data, '\0', size))
		return -EINVAL;
	if (size > PROTOCOL_COMMAND_MAX - handle->written.size)
		return -EFBIG;
	text_append(&handle->written, data, size);
	handle->writer = owner;
	return (ssize_t)size;
}

/* Forgets what was refused: the rest of a text whose part was lost must not run. */
static void discard(struct handle *handle)
{
	text_consume(&handle->written, handle->written.size);
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

	if (result < 0) {
		discard(handle);
		return result;
	}
	text_consume(&handle->answer, handle->answered);
	handle->answered = 0;
	handle->answer_base = offset + size;
	return result;
}

/* The text is whole. */
static void command_commit(struct handle *handle)
{
	struct run *run;

	if (handle->written.size == 0)
		return;
	if (!handle->object->dead &&
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

/* Opening a named run's cmd for writing, once it has a text. */
static int run_cmd_open(struct handle *handle)
{
	bool writes = (handle->flags & O_ACCMODE) != O_RDONLY;

	return writes && run_of(handle)->submitted ? -EBUSY : 0;
}

/* A write to a named run's cmd. */
static ssize_t run_cmd_write(struct handle *handle, const void *data, size_t size, uint64_t offset,
	uint64_t owner)
{
	struct run *run = run_of(handle);

	if (run->submitted)
		return -EBUSY;
	ssize_t result = collect(handle, run->instance, data, size, owner);
	if (result < 0)
		discard(handle);
	return result;
}

/* The text is whole: the run starts. */
static void run_cmd_commit(struct handle *handle)
{
	struct run *run = run_of(handle);

	if (handle->written.size && !handle->object->dead && !run->submitted)
		instance_submit(run->instance, run, handle->written.data, handle->written.size);
	discard(handle);
}

const struct control_ops command_run_ops = {
	.open = run_cmd_open,
	.write = run_cmd_write,
	.flush = command_flush,
	.commit = run_cmd_commit,
};
