/* SPDX-License-Identifier: MIT */
#include "backends/shim/door.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "backends/base/grown.h"
#include "backends/base/memory.h"
#include "backends/shim/op.h"

enum door_step {
	DOOR_OPENED,
	DOOR_STARTING,
	DOOR_STARTED,	/* start is done, well or not */
	DOOR_STOPPING,
	DOOR_STOPPED,
};

struct door {
	struct poolfs_backend backend;	/* a copy, NULL in slots newer than the backend */
	struct poolfs_machine *machine;
	void *state;			/* the backend's */
	enum door_step step;
	uv_timer_t limit;
	struct poolfs_op *op;		/* the one under way, or NULL */
	door_done *done;
	void *data;
	bool cancelled;
};

/* Takes a table over, or refuses one that this core cannot use. */
static int take_table(struct poolfs_backend *copy, const struct poolfs_backend *backend,
	struct poolfs_err *err)
{
	if (backend->abi != POOLFS_ABI)
		return poolfs_err_set(err, -EINVAL,
			"the backend was built for interface %u, not %u", backend->abi, POOLFS_ABI);
	if (backend->size < offsetof(struct poolfs_backend, address) ||
		grown_copy(copy, sizeof(*copy), backend, backend->size) < 0)
		return poolfs_err_set(err, -EINVAL, "the backend's table has an unknown size");
	if (!backend->open || !backend->close || !backend->start || !backend->stop)
		return poolfs_err_set(err, -EINVAL, "the backend lacks open, close, start or stop");
	return 0;
}

/* The last close of the timer. */
static void door_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct door, limit));
}

/* Opens. */
int door_open(const struct poolfs_backend *backend, struct poolfs_machine *machine,
	struct door **out, struct poolfs_err *err)
{
	struct poolfs_backend copy;
	int result = take_table(&copy, backend, err);

	if (result < 0)
		return result;
	struct door *door = memory_new(sizeof(*door));
	door->backend = copy;
	door->machine = machine;
	uv_timer_init(poolfs_machine_loop(machine), &door->limit);
	result = backend->open(machine, &door->state, err);
	if (result < 0) {
		uv_close((uv_handle_t *)&door->limit, door_closed);
		return result;
	}
	*out = door;
	return 0;
}

/* Closes. */
void door_close(struct door *door)
{
	if (!door)
		return;
	assert(door->step == DOOR_OPENED || door->step == DOOR_STOPPED);
	door->backend.close(door->state);
	uv_close((uv_handle_t *)&door->limit, door_closed);
}

/* Forgets a backend that can not be closed. */
void door_abandon(struct door *door)
{
	uv_close((uv_handle_t *)&door->limit, door_closed);
}

/* The operation under way is over for the core: says so to who waits. */
static void door_finish(struct door *door, int result, const char *text)
{
	door_done *done = door->done;

	uv_timer_stop(&door->limit);
	door->op = NULL;
	door->done = NULL;
	door->step = door->step == DOOR_STARTING ? DOOR_STARTED : DOOR_STOPPED;
	done(door->data, result, text);
}

/* The backend completed the operation. */
static void door_completed(void *data, int result, const char *text)
{
	door_finish(data, result, text);
}

/* Even the cancelled operation does not end. */
static void door_give_up(uv_timer_t *timer)
{
	struct door *door = container_of(timer, struct door, limit);

	op_detach(door->op);
	door_finish(door, -ETIMEDOUT, "the backend does not answer");
}

/* The operation takes too long. */
static void door_expired(uv_timer_t *timer)
{
	struct door *door = container_of(timer, struct door, limit);

	uv_timer_start(&door->limit, door_give_up, DOOR_GRACE_MS, 0);
	op_cancel(door->op);
}

/* Begins an operation. */
static void door_begin(struct door *door, enum door_step step, uint64_t limit, door_done *done,
	void *data)
{
	assert(!door->op);
	door->step = step;
	door->done = done;
	door->data = data;
	door->op = op_new(poolfs_machine_loop(door->machine), door_completed, door);
	uv_timer_start(&door->limit, door_expired, limit, 0);
}

/* Boots. */
void door_start(struct door *door, uint64_t limit, door_done *done, void *data)
{
	assert(door->step == DOOR_OPENED);
	door_begin(door, DOOR_STARTING, limit, done, data);
	door->backend.start(door->state, door->op);
}

/* Whether start is under way. */
bool door_is_starting(const struct door *door)
{
	return door->step == DOOR_STARTING;
}

/* Hurries start. */
void door_cancel_start(struct door *door)
{
	if (door->step != DOOR_STARTING || door->cancelled)
		return;
	door->cancelled = true;
	door_expired(&door->limit);
}

/* Ends the machine. */
void door_stop(struct door *door, uint64_t limit, door_done *done, void *data)
{
	assert(door->step == DOOR_STARTED || door->step == DOOR_OPENED);
	door_begin(door, DOOR_STOPPING, limit, done, data);
	door->backend.stop(door->state, door->op);
}

/* Ends what is left. */
void door_clean(struct door *door, uint64_t limit, door_done *done, void *data)
{
	assert(door->step == DOOR_OPENED);
	door_begin(door, DOOR_STOPPING, limit, done, data);
	if (door->backend.clean)
		door->backend.clean(door->state, door->op);
	else
		poolfs_op_done(door->op, 0, "%s", "");
}

/* The address. */
int door_address(struct door *door, struct poolfs_address *address, struct poolfs_err *err)
{
	struct poolfs_address found = { 0 };

	assert(door->step == DOOR_STARTED);
	if (!door->backend.address)
		return poolfs_err_set(err, -EOPNOTSUPP, "this kind of machine has no address");
	int result = door->backend.address(door->state, &found, err);
	if (result < 0)
		return result;
	if (found.agent <= 0 && (!found.host || !found.host[0] || found.port == 0))
		return poolfs_err_set(err, -EINVAL,
			"the backend gave an address without host or port");
	*address = found;
	return 0;
}

/* Whether the machine runs, or is about to. */
static bool runs(const struct door *door)
{
	return door->step == DOOR_STARTING || door->step == DOOR_STARTED;
}

/* Types. */
int door_console_write(struct door *door, const void *data, size_t size)
{
	if (!door->backend.console_write)
		return -EOPNOTSUPP;
	if (!runs(door))
		return 0;
	int count = door->backend.console_write(door->state, data, size);
	if (count == -EAGAIN)
		return 0;
	return count > 0 && (size_t)count > size ? (int)size : count;
}

/* Gives the SysRq key. */
int door_sysrq(struct door *door, char key)
{
	if (!door->backend.sysrq)
		return -EOPNOTSUPP;
	return runs(door) ? door->backend.sysrq(door->state, key) : -EHOSTDOWN;
}

/* Interrupts. */
int door_nmi(struct door *door)
{
	if (!door->backend.nmi)
		return -EOPNOTSUPP;
	return runs(door) ? door->backend.nmi(door->state) : -EHOSTDOWN;
}

/* Does what a verb says. */
int door_verb(struct door *door, const char *verb, const char *argument, struct poolfs_op *op)
{
	if (!door->backend.verb)
		return -EOPNOTSUPP;
	if (door->step != DOOR_STARTED)
		return -EHOSTDOWN;
	door->backend.verb(door->state, verb, argument, op);
	return 0;
}

/* Whether there is a way. */
bool door_can_reset(const struct door *door)
{
	return door->backend.reset && door->step == DOOR_STARTED;
}

/* Begins anew. */
void door_reset(struct door *door, uint64_t limit, door_done *done, void *data)
{
	assert(door_can_reset(door));
	door->cancelled = false;
	door_begin(door, DOOR_STARTING, limit, done, data);
	door->backend.reset(door->state, door->op);
}
