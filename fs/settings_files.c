/* SPDX-License-Identifier: MIT */
#include "fs/settings_files.h"

#include <errno.h>
#include <fcntl.h>

#include "backends/base/memory.h"
#include "fs/instance.h"
#include "fs/run.h"

/* The settings of an instance or a run. */
static struct settings *settings_of(struct object *object)
{
	if (object->type == OBJECT_RUN)
		return &container_of(object, struct run, object)->settings;
	return &container_of(object, struct instance, object)->settings;
}

/* Whether they may be changed: 0 or -EBUSY. */
static int changeable(struct object *object)
{
	if (object->type != OBJECT_RUN)
		return 0;
	return container_of(object, struct run, object)->submitted ? -EBUSY : 0;
}

/* timeout */
void settings_files_timeout_show(struct object *object, struct text *text)
{
	settings_show_timeout(settings_of(object), text);
}

/* timeout, written */
int settings_files_timeout_store(struct object *object, const char *data, size_t size)
{
	int result = changeable(object);

	return result ? result : settings_store_timeout(settings_of(object), data, size);
}

/* cwd */
void settings_files_cwd_show(struct object *object, struct text *text)
{
	settings_show_cwd(settings_of(object), text);
}

/* cwd, written */
int settings_files_cwd_store(struct object *object, const char *data, size_t size)
{
	int result = changeable(object);

	return result ? result : settings_store_cwd(settings_of(object), data, size);
}

/* tty */
void settings_files_tty_show(struct object *object, struct text *text)
{
	settings_show_tty(settings_of(object), text);
}

/* A terminal that a running command has gets another size. */
static int resize(struct run *run, const char *data, size_t size)
{
	struct settings new = { 0 };

	if (run_ended(run) || !run->settings.columns || !run->instance)
		return -EBUSY;
	if (settings_store_tty(&new, data, size) < 0 || !new.columns)
		return -EINVAL;
	run->settings.columns = new.columns;
	run->settings.rows = new.rows;
	struct frame_run_resize frame = { .columns = new.columns, .rows = new.rows };
	shim_send(instance_shim(run->instance), FRAME_RUN_RESIZE, run->id, &frame, sizeof(frame));
	return 0;
}

/* tty, written */
int settings_files_tty_store(struct object *object, const char *data, size_t size)
{
	if (changeable(object))
		return resize(container_of(object, struct run, object), data, size);
	return settings_store_tty(settings_of(object), data, size);
}

/* environment */
void settings_files_environment_show(struct object *object, struct text *text)
{
	settings_show_environment(settings_of(object), text);
}

/* environment, opened: `>` empties it, as it does other files */
static int environment_open(struct handle *handle)
{
	bool writes = (handle->flags & O_ACCMODE) != O_RDONLY;
	int result = writes ? changeable(handle->object) : 0;

	if (result == 0 && writes && handle->flags & O_TRUNC)
		text_done(&settings_of(handle->object)->environment);
	return result;
}

/* environment, written: appended where the file was opened so */
static ssize_t environment_write(struct handle *handle, const void *data, size_t size,
	uint64_t offset, uint64_t owner)
{
	struct settings *settings = settings_of(handle->object);
	int result = changeable(handle->object);

	if (handle->flags & O_APPEND)
		offset = settings->environment.size;
	if (result == 0)
		result = settings_write_environment(settings, data, size, offset);
	return result < 0 ? result : (ssize_t)size;
}

const struct control_ops settings_files_environment_ops = {
	.open = environment_open,
	.write = environment_write,
};
