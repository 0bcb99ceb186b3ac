/* SPDX-License-Identifier: MIT */
#include "fs/forward.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/ports.h"
#include "fs/forward_name.h"
#include "fs/instance.h"
#include "fs/mount.h"

/* Ports below are for root alone. */
#define FREE_PORTS 1024

static const char *const direction_names[FORWARD_DIRECTIONS] = {
	[FORWARD_TO_HOST] = "forward",
	[FORWARD_TO_GUEST] = "expose",
};

static const char *const state_names[FORWARD_STATES] = {
	[FORWARD_PENDING] = "pending",
	[FORWARD_ACTIVE] = "active",
	[FORWARD_FAILED] = "failed",
};

/* A read that waits for a forward. */
struct waiter {
	TAILQ_ENTRY(waiter) link;
	struct forward *forward;
	struct request *request;
	struct handle *handle;
	uint64_t offset;
	size_t size;
};

struct forward {
	struct object object;
	TAILQ_ENTRY(forward) entry;
	struct forward_set *set;	/* NULL: removed */
	uint64_t id;
	char name[PROTOCOL_FORWARD_NAME_MAX + 1];
	uid_t uid;
	gid_t gid;
	struct timespec created, changed;
	enum forward_state state;
	int error;			/* of FORWARD_FAILED */
	char *text;			/* of the state */
	TAILQ_HEAD(, waiter) waiters;
};

struct forward_set {
	struct object object;
	struct instance *instance;	/* NULL: removed */
	enum forward_direction direction;
	TAILQ_HEAD(, forward) forwards;
	unsigned count;
};

/* The set of an object of that type. */
static struct forward_set *set_of(struct object *object)
{
	return container_of(object, struct forward_set, object);
}

/* The forward of an object of that type. */
static struct forward *forward_of(struct object *object)
{
	return container_of(object, struct forward, object);
}

/* A read without anything to wait for. */
static void answer(struct forward *forward, struct request *request, struct handle *handle,
	uint64_t offset, size_t size)
{
	if (!forward->set)
		request_error(request, -ENODEV);
	else if (forward->state == FORWARD_FAILED)
		request_error(request, forward->error);
	else
		control_read_text(handle, request, offset, size);
}

/* Answers one that waited. */
static void wake(struct waiter *waiter)
{
	struct forward *forward = waiter->forward;

	TAILQ_REMOVE(&forward->waiters, waiter, link);
	answer(forward, waiter->request, waiter->handle, waiter->offset, waiter->size);
	free(waiter);
}

/* Who waits was interrupted. */
static void interrupted(struct request *request, void *data)
{
	struct waiter *waiter = data;

	TAILQ_REMOVE(&waiter->forward->waiters, waiter, link);
	free(waiter);
	request_error(request, -EINTR);
}

/* What happened, for `events`. */
static void event(struct forward *forward)
{
	struct instance *instance = forward->set->instance;
	char name[2 * TEXT_NAME_MAX + 2];

	instance_full_name(instance, name, sizeof(name));
	mount_event(pool_mount(instance->pool), name, "%s/%s %s%s%s",
		direction_names[forward->set->direction], forward->name, state_names[forward->state],
		*forward->text ? " " : "", forward->text);
}

/* The one place where a state changes. text becomes ours. */
static void change(struct forward *forward, enum forward_state state, int error, char *text)
{
	struct waiter *waiter;

	free(forward->text);
	forward->text = text;
	forward->state = state;
	forward->error = error;
	clock_gettime(CLOCK_REALTIME, &forward->changed);
	event(forward);
	while (state != FORWARD_PENDING && (waiter = TAILQ_FIRST(&forward->waiters)))
		wake(waiter);
	control_changed(&forward->object);
}

/* Read: the address, when there is one. A read that goes on after the first gets the same text. */
static void forward_read(struct handle *handle, struct request *request, uint64_t offset, size_t size)
{
	struct forward *forward = forward_of(handle->object);

	if (offset > 0 && handle->has_snapshot) {
		control_read_text(handle, request, offset, size);
		return;
	}
	if (forward->state != FORWARD_PENDING || !forward->set) {
		answer(forward, request, handle, offset, size);
		return;
	}
	if (handle->flags & O_NONBLOCK) {
		request_error(request, -EAGAIN);
		return;
	}
	struct waiter *waiter = memory_new(sizeof(*waiter));
	*waiter = (struct waiter){ .forward = forward, .request = request, .handle = handle,
		.offset = offset, .size = size };
	TAILQ_INSERT_TAIL(&forward->waiters, waiter, link);
	request_wait(request, interrupted, waiter);
}

/* Polled: readable when a read does not wait; a change since the last one shows as POLLPRI. */
static void forward_poll(struct handle *handle, struct request *request, struct poller *poller)
{
	struct forward *forward = forward_of(handle->object);
	unsigned events = POLLOUT | POLLWRNORM;

	if (forward->state != FORWARD_PENDING || !forward->set)
		events |= POLLIN | POLLRDNORM;
	if (handle->seen != handle->object->changes)
		events |= POLLPRI;
	poller_free(handle->poller);
	handle->poller = poller;
	request_poll(request, events);
}

/* The address; nothing while there is none. */
static void forward_show(struct object *object, struct text *text)
{
	struct forward *forward = forward_of(object);

	if (forward->state == FORWARD_ACTIVE)
		text_printf(text, "%s\n", forward->text);
}

static const struct control_ops forward_ops = { .read = forward_read, .poll = forward_poll };

/* Made by users, so its name is theirs. */
static const struct control forward_controls[] = {
	{ .mode = S_IFREG | 0600, .name = "", .show = forward_show, .ops = &forward_ops },
	{ 0 }
};

/* directory.stat */
static void forward_stat(struct object *object, struct stat *stat)
{
	struct forward *forward = forward_of(object);

	stat->st_uid = forward->uid;
	stat->st_gid = forward->gid;
	stat->st_atim = stat->st_mtim = forward->changed;
	stat->st_ctim = forward->created;
}

const struct directory forward_directory = { .controls = forward_controls, .stat = forward_stat };

/* The last reference went. */
static void forward_free(struct object *object)
{
	struct forward *forward = forward_of(object);

	free(forward->text);
	free(forward);
}

/* Takes one out of its set. */
static void forward_remove(struct forward *forward)
{
	struct waiter *waiter;

	TAILQ_REMOVE(&forward->set->forwards, forward, entry);
	forward->set->count--;
	forward->set = NULL;
	while ((waiter = TAILQ_FIRST(&forward->waiters)))
		wake(waiter);
	control_changed(&forward->object);
	object_remove(&forward->object);
	object_unref(&forward->object);
}

/* Whether this user's name may be made. A user can connect to every port of the host, and take those
 * above 1023, without us, but not open what only the user who runs poolfs can. */
static int may_make(const struct forward_set *set, const struct forward_name *name,
	struct poolfs_err *err)
{
	const struct instance *instance = set->instance;
	const struct poolfs_values *values = pool_config(instance->pool)->values;
	bool to_host = set->direction == FORWARD_TO_HOST;
	const struct forward_name_end *host = to_host ? &name->target : &name->listen;

	if (instance->uid != geteuid() && host->family == FORWARD_UNIX)
		return poolfs_err_set(err, -EACCES, "unix sockets of the host are for the user who runs "
			"poolfs");
	if (instance->uid != geteuid() && !to_host && host->port && host->port < FREE_PORTS)
		return poolfs_err_set(err, -EACCES, "ports of the host below %d are for the user who runs "
			"poolfs", FREE_PORTS);
	if (to_host && !ports_allow(poolfs_words(values, "forward_allow"), host->port))
		return poolfs_err_set(err, -EACCES, "the pool's key forward_allow does not allow it");
	if (!instance_is_there(instance))
		return poolfs_err_set(err, -EHOSTDOWN, "the machine has ended");
	if (set->count == PROTOCOL_FORWARDS_MAX / FORWARD_DIRECTIONS)
		return poolfs_err_set(err, -ENOSPC, "there are %u already",
			PROTOCOL_FORWARDS_MAX / FORWARD_DIRECTIONS);
	return 0;
}

/* One end for the shim. */
static struct forward_end frame_end(const struct forward_name_end *end)
{
	return (struct forward_end){ .family = (uint16_t)end->family, .port = end->port,
		.path_size = (uint32_t)strlen(end->path) };
}

/* Asks the shim for it. */
static void send_forward(struct forward *forward, const struct forward_name *name)
{
	struct frame_forward frame = { .direction = forward->set->direction,
		.name_size = (uint32_t)strlen(forward->name), .target = frame_end(&name->target),
		.listen = frame_end(&name->listen) };
	struct iovec parts[] = {
		{ &frame, sizeof(frame) },
		{ forward->name, frame.name_size },
		{ (void *)name->target.path, frame.target.path_size },
		{ (void *)name->listen.path, frame.listen.path_size },
	};

	shim_send_parts(instance_shim(forward->set->instance), FRAME_FORWARD, forward->id, parts, 4);
}

/* directory.child */
static struct object *set_child(struct object *object, const char *name)
{
	struct forward *forward;

	TAILQ_FOREACH(forward, &set_of(object)->forwards, entry)
		if (strcmp(forward->name, name) == 0)
			return &forward->object;
	return NULL;
}

/* directory.each */
static void set_each(struct object *object, directory_add *add, void *data)
{
	struct forward *forward;

	TAILQ_FOREACH(forward, &set_of(object)->forwards, entry)
		add(data, forward->name, &forward->object);
}

/* directory.create */
static int set_create(struct object *object, const char *name, const struct request *request,
	struct object **child)
{
	struct forward_set *set = set_of(object);
	struct forward_name parsed;
	struct poolfs_err err;
	int result = forward_name_parse(set->direction, name, &parsed, &err);

	if (result == 0)
		result = may_make(set, &parsed, &err);
	instance_refused(set->instance, direction_names[set->direction], name,
		result < 0 ? err.text : NULL);
	if (result < 0)
		return result;
	struct forward *forward = memory_new(sizeof(*forward));
	result = object_init(&forward->object, OBJECT_FORWARD, forward_free);
	if (result < 0) {
		free(forward);
		return result;
	}
	forward->set = set;
	forward->id = instance_next_forward(set->instance);
	snprintf(forward->name, sizeof(forward->name), "%s", name);
	forward->uid = request->uid;
	forward->gid = request->gid;
	forward->text = memory_string("");
	clock_gettime(CLOCK_REALTIME, &forward->created);
	forward->changed = forward->created;
	TAILQ_INIT(&forward->waiters);
	TAILQ_INSERT_TAIL(&set->forwards, forward, entry);
	set->count++;
	send_forward(forward, &parsed);
	*child = &forward->object;
	return 0;
}

/* directory.unlink */
static int set_unlink(struct object *object, const char *name)
{
	struct object *child = set_child(object, name);

	if (!child)
		return -ENOENT;
	shim_send(instance_shim(set_of(object)->instance), FRAME_FORWARD_END, forward_of(child)->id,
		NULL, 0);
	forward_remove(forward_of(child));
	return 0;
}

/* directory.stat: as the instance */
static void set_stat(struct object *object, struct stat *stat)
{
	struct forward_set *set = set_of(object);

	if (set->instance)
		instance_directory.stat(&set->instance->object, stat);
}

static const struct control set_controls[] = { { 0 } };

const struct directory forward_set_directory = {
	.controls = set_controls,
	.child_file = OBJECT_CONTROLS,
	.stat = set_stat,
	.child = set_child,
	.each = set_each,
	.create = set_create,
	.unlink = set_unlink,
};

/* The last reference went. */
static void set_free(struct object *object)
{
	free(set_of(object));
}

/* Makes a set. */
int forward_set_new(struct instance *instance, enum forward_direction direction,
	struct forward_set **out)
{
	struct forward_set *set = memory_new(sizeof(*set));
	int result = object_init(&set->object, OBJECT_FORWARDS, set_free);

	if (result < 0) {
		free(set);
		return result;
	}
	set->instance = instance;
	set->direction = direction;
	TAILQ_INIT(&set->forwards);
	*out = set;
	return 0;
}

/* Removes a set. */
void forward_set_remove(struct forward_set *set)
{
	struct forward *forward;

	if (!set)
		return;
	while ((forward = TAILQ_FIRST(&set->forwards)))
		forward_remove(forward);
	set->instance = NULL;
	object_remove(&set->object);
	object_unref(&set->object);
}

/* The set as an object. */
struct object *forward_set_object(struct forward_set *set)
{
	return &set->object;
}

/* FRAME_FORWARD_STATE */
bool forward_set_told(struct forward_set *set, uint64_t id,
	const struct frame_forward_state *notice, const char *text, size_t size)
{
	struct forward *forward;
	char clean[4 * PROTOCOL_FORWARD_TEXT_MAX + 1];

	if (notice->state >= FORWARD_STATES || size > PROTOCOL_FORWARD_TEXT_MAX ||
		(notice->state == FORWARD_FAILED) != (notice->error < 0) || notice->error < -4095 ||
		(notice->state == FORWARD_ACTIVE && !size))
		return false;
	TAILQ_FOREACH(forward, &set->forwards, entry)
		if (forward->id == id)
			break;
	/* One that was removed meanwhile. */
	if (!forward || !instance_is_there(set->instance))
		return true;
	char *raw = memory_format("%.*s", (int)size, text);
	text_escape(clean, sizeof(clean), raw);
	free(raw);
	if (notice->state == forward->state && strcmp(forward->text, clean) == 0)
		return true;
	change(forward, notice->state, notice->error, memory_string(clean));
	return true;
}

/* Ends the waiting. */
void forward_set_lose(struct forward_set *set)
{
	struct forward *forward;

	TAILQ_FOREACH(forward, &set->forwards, entry)
		if (forward->state != FORWARD_FAILED)
			change(forward, FORWARD_FAILED, -EHOSTDOWN,
				memory_string("the machine has ended"));
}

/* All. */
void forward_set_status(const struct forward_set *set, struct text *text)
{
	const struct forward *forward;

	if (!set)
		return;
	TAILQ_FOREACH(forward, &set->forwards, entry)
		text_printf(text, "%s/%s %s%s%s\n", direction_names[set->direction], forward->name,
			state_names[forward->state], *forward->text ? " " : "", forward->text);
}

/* Those that failed. */
void forward_set_errors(const struct forward_set *set, struct text *text)
{
	const struct forward *forward;

	if (!set)
		return;
	TAILQ_FOREACH(forward, &set->forwards, entry)
		if (forward->state == FORWARD_FAILED && forward->error != -EHOSTDOWN)
			text_printf(text, "%s/%s: %s\n", direction_names[set->direction], forward->name,
				forward->text);
}
