/* SPDX-License-Identifier: MIT */
#include "fs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "fs/forward.h"
#include "fs/instance.h"
#include "fs/mount.h"
#include "fs/pool.h"
#include "fs/run.h"

static const struct directory *const directories[] = {
	[OBJECT_MOUNT] = &mount_directory,
	[OBJECT_POOL] = &pool_directory,
	[OBJECT_INSTANCE] = &instance_directory,
	[OBJECT_RUN] = &run_directory,
	[OBJECT_FORWARDS] = &forward_set_directory,
	[OBJECT_FORWARD] = &forward_directory,
	[OBJECT_CRASHES] = &crash_set_directory,
	[OBJECT_CRASH] = &crash_directory,
};

/* All open files, as there is one mount in a process. */
static LIST_HEAD(, handle) handles = LIST_HEAD_INITIALIZER(handles);

/* It is open. */
void handle_opened(struct handle *handle)
{
	LIST_INSERT_HEAD(&handles, handle, open);
}

/* It is not. */
void handle_closed(struct handle *handle)
{
	LIST_REMOVE(handle, open);
}

/* Whichever is first. */
struct handle *handle_any(void)
{
	return LIST_FIRST(&handles);
}

/* The table of an object's kind. */
const struct directory *control_directory(const struct object *object)
{
	return directories[object->type];
}

/* Tells whether a file is there now. */
bool control_present(struct object *object, const struct control *control)
{
	const struct directory *directory = control_directory(object);

	if (control->feature && !(directory->features(object) & control->feature))
		return false;
	return !control->hidden || !control->hidden(object);
}

/* Resolves the file part of a node id. */
const struct control *control_find(struct object *object, unsigned file)
{
	const struct control *controls = control_directory(object)->controls;

	for (unsigned i = 0; controls[i].name; i++)
		if (i + OBJECT_CONTROLS == file)
			return &controls[i];
	return NULL;
}

/* Resolves a name. */
unsigned control_lookup(struct object *object, const char *name)
{
	const struct control *controls = control_directory(object)->controls;

	for (unsigned i = 0; controls[i].name; i++)
		if (strcmp(controls[i].name, name) == 0 && control_present(object, &controls[i]))
			return i + OBJECT_CONTROLS;
	return 0;
}

/* Compares a written line with a word. */
bool control_is_word(const char *data, size_t size, const char *word)
{
	if (size && data[size - 1] == '\n')
		size--;
	return size == strlen(word) && memcmp(data, word, size) == 0;
}

/* The size that a read to the end gives: tools that trust st_size must see it all. */
static off_t true_size(struct object *object, const struct control *control, struct stat *stat)
{
	if (control->stream) {
		struct stream *stream = control->stream(object);

		stat->st_mtim = stat->st_ctim = stream->changed;
		return (off_t)stream->end;
	}
	if (!control->show)
		return 0;
	struct text text = { 0 };
	control->show(object, &text);
	off_t size = (off_t)text.size;
	text_done(&text);
	return size;
}

/* Fills in the attributes. */
void control_stat(struct object *object, unsigned file, struct stat *stat)
{
	*stat = (struct stat){ .st_nlink = 1, .st_blksize = 4096 };
	control_directory(object)->stat(object, stat);
	stat->st_ino = object_node(object, file);
	if (file == OBJECT_SELF) {
		stat->st_nlink = 2;
		return;
	}
	const struct control *control = control_find(object, file);
	stat->st_mode = control->mode;
	if (S_ISDIR(control->mode))
		stat->st_nlink = 2;
	else
		stat->st_size = true_size(object, control, stat);
	stat->st_blocks = (stat->st_size + 511) / 512;
}

/* Checks the access mode, as the owner of a file without the permission bit would meet it. */
int control_open(struct handle *handle)
{
	int access = handle->flags & O_ACCMODE;
	mode_t mode = handle->control->mode;

	if (access != O_RDONLY && !(mode & 0200))
		return -EACCES;
	if (access != O_WRONLY && !(mode & 0400))
		return -EACCES;
	const struct control_ops *ops = handle->control->ops;
	return ops && ops->open ? ops->open(handle) : 0;
}

/* Answers a read of a text that was shown: one snapshot for each pass from the start. */
void control_read_text(struct handle *handle, struct request *request, uint64_t offset, size_t size)
{
	if (!handle->has_snapshot || offset == 0) {
		text_done(&handle->snapshot);
		if (handle->control->show)
			handle->control->show(handle->object, &handle->snapshot);
		handle->has_snapshot = true;
		handle->seen = handle->object->changes;
	}
	if (offset > handle->snapshot.size)
		offset = handle->snapshot.size;
	size_t rest = handle->snapshot.size - (size_t)offset;
	request_data(request, rest ? handle->snapshot.data + offset : "", size < rest ? size : rest);
}

/* Answers a read. */
void control_read(struct handle *handle, struct request *request, uint64_t offset, size_t size)
{
	const struct control *control = handle->control;

	control_sync(handle);
	if (control->ops && control->ops->read)
		control->ops->read(handle, request, offset, size);
	else if (control->stream)
		stream_read(control->stream(handle->object), &handle->cursor, request, offset, size,
			control->flags & CONTROL_WAITS, handle->flags & O_NONBLOCK);
	else
		control_read_text(handle, request, offset, size);
}

/* Takes a write that does not wait: the bytes taken, or a negative errno. */
static ssize_t take_write(struct handle *handle, const void *data, size_t size, uint64_t offset,
	uint64_t owner)
{
	const struct control *control = handle->control;

	if (control->ops && control->ops->write)
		return control->ops->write(handle, data, size, offset, owner);
	if (!control->store)
		return -EACCES;
	int result = control->store(handle->object, data, size);
	return result < 0 ? result : (ssize_t)size;
}

/* Answers a write. */
void control_write(struct handle *handle, struct request *request, const void *data, size_t size,
	uint64_t offset, uint64_t owner)
{
	if (handle->control->ops && handle->control->ops->put) {
		handle->control->ops->put(handle, request, data, size);
		return;
	}
	ssize_t result = take_write(handle, data, size, offset, owner);
	if (result < 0)
		request_error(request, (int)result);
	else
		request_written(request, (size_t)result);
}

/* A descriptor was closed. */
void control_flush(struct handle *handle, uint64_t owner)
{
	if (handle->control->ops && handle->control->ops->flush)
		handle->control->ops->flush(handle, owner);
}

/* What was written so far is meant. */
void control_sync(struct handle *handle)
{
	if (handle->control->ops && handle->control->ops->commit)
		handle->control->ops->commit(handle);
}

/* The last descriptor was closed. */
void control_release(struct handle *handle)
{
	control_sync(handle);
	if (handle->control->ops && handle->control->ops->release)
		handle->control->ops->release(handle);
	handle_closed(handle);
	poller_free(handle->poller);
	text_done(&handle->snapshot);
	text_done(&handle->written);
	text_done(&handle->answer);
	object_unref(handle->object);
	free(handle);
}

/* Wakes the polls of the object's files. */
void control_changed(struct object *object)
{
	struct handle *handle, *next;

	object->changes++;
	for (handle = LIST_FIRST(&handles); handle; handle = next) {
		next = LIST_NEXT(handle, open);
		if (handle->object != object || !handle->poller)
			continue;
		poller_fire(handle->poller);
		handle->poller = NULL;
	}
}

/* Answers a poll of what never waits: there is always something to read. A change since the file was
 * read shows as POLLPRI, as in sysfs. */
static void poll_change(struct handle *handle, struct request *request, struct poller *poller)
{
	unsigned events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;

	if (handle->seen != handle->object->changes)
		events |= POLLPRI | POLLERR;
	poller_free(handle->poller);
	handle->poller = poller;
	request_poll(request, events);
}

/* Answers a poll. */
void control_poll(struct handle *handle, struct request *request, struct poller *poller)
{
	const struct control *control = handle->control;

	if (control->ops && control->ops->poll) {
		control->ops->poll(handle, request, poller);
		return;
	}
	if (control->flags & CONTROL_WAITS) {
		stream_poll(control->stream(handle->object), &handle->cursor, request,
			true, poller);
		return;
	}
	poll_change(handle, request, poller);
}
