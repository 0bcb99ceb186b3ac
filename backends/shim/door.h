/* SPDX-License-Identifier: MIT */
/*
 * The one door through which a backend is entered. It checks the table, keeps the
 * order of backend.h (open, start, stop, close), fills in for functions that a backend
 * leaves out, and ends waiting for operations that take too long.
 */
#ifndef SHIM_DOOR_H
#define SHIM_DOOR_H

#include "backends/backend.h"

struct door;

/* How long a cancelled operation may still take before nobody waits for it. */
#define DOOR_GRACE_MS 500

/* result: 0; a negative errno with text; -ETIMEDOUT too when the backend did not even answer
 * the cancel. */
typedef void door_done(void *data, int result, const char *text);

/* Opens a machine of this backend. 0 or a negative errno with err. */
int door_open(const struct poolfs_backend *backend, struct poolfs_machine *machine,
	struct door **door, struct poolfs_err *err);
/* Closes; only after door_stop was done with 0, or when door_start was never called. NULL is
 * allowed. The memory goes on a later turn of the loop. */
void door_close(struct door *door);
/* Instead of door_close, for a backend whose stop did not end: leaves the backend alone. */
void door_abandon(struct door *door);

/* Boots; cancelled after limit milliseconds. */
void door_start(struct door *door, uint64_t limit, door_done *done, void *data);
/* Whether start's done is still to come. */
bool door_is_starting(const struct door *door);
/* Cancels start, whose done still comes, after DOOR_GRACE_MS at the latest. */
void door_cancel_start(struct door *door);
/* Ends the machine; not while it is starting. */
void door_stop(struct door *door, uint64_t limit, door_done *done, void *data);

/* Ends what is left of a machine whose process was killed, instead of door_start; all is as after door_stop. */
void door_clean(struct door *door, uint64_t limit, door_done *done, void *data);

/* Where the machine is reached; only after start was done. */
int door_address(struct door *door, struct poolfs_address *address, struct poolfs_err *err);
/* As in backend.h; 0 while the machine does not run, -EOPNOTSUPP when the console is read-only. */
int door_console_write(struct door *door, const void *data, size_t size);
/* As in backend.h; -EHOSTDOWN while the machine does not run, -EOPNOTSUPP when there is no way. */
int door_sysrq(struct door *door, char key);
int door_nmi(struct door *door);
/* As in backend.h; 0 when op is the backend's now, -EHOSTDOWN while the machine does not run,
 * -EOPNOTSUPP when there is no way. */
int door_verb(struct door *door, const char *verb, const char *argument, struct poolfs_op *op);
/* Whether door_reset can be called. */
bool door_can_reset(const struct door *door);
/* Begins the machine anew; then all is as after door_start. */
void door_reset(struct door *door, uint64_t limit, door_done *done, void *data);

#endif
