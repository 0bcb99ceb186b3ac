/* SPDX-License-Identifier: MIT */
/*
 * The life of the machine: boot, login, loss and return of the connection, end. All
 * changes of the instance's state are made here. Also the one place that enters the
 * transport for a connection, and that the rest asks whether there is one.
 */
#ifndef SHIM_LIFE_H
#define SHIM_LIFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "backends/backend.h"
#include "backends/protocol/protocol.h"
#include "backends/transport.h"

#define LIFE_BOOT_RETRY_MS	200
#define LIFE_LOST_RETRY_MS	200	/* also until `lost` is said; doubles with each attempt */
#define LIFE_LOST_RETRY_MAX_MS	5000
#define LIFE_STOP_MS		4500	/* for the backend's stop, before DOOR_GRACE_MS begins */

struct shim;
struct door;

/* What the end of the machine has come to. */
enum life_end { LIFE_NOT_ENDED, LIFE_ENDING, LIFE_ENDED };

struct life {
	enum instance_state state;
	char *reason;			/* of the state; NULL: none */
	uint32_t boot_ms;
	uint64_t begun;			/* uv_now at the beginning */
	struct door *door;		/* NULL: the backend could not open the machine */
	struct transport *transport;	/* NULL: freed */
	bool up;
	bool hopeless;			/* trouble is fatal: no attempt is made any more */
	uint64_t delay;			/* before the next attempt to connect */
	char *trouble;			/* why the last attempt failed; NULL: there was none */
	uv_timer_t boot;		/* the boot takes too long */
	uv_timer_t retry;		/* connect again */
	uv_timer_t news;		/* what a backend reported is looked at, outside its call */
	char *crash, *ended;		/* the news: the report's title, the backend's reason */
	enum poolfs_ending how;
	enum life_end end;
	bool stopping;			/* FRAME_STOP came */
	bool leaving;			/* and the commands' end is awaited first */
	bool left;			/* and what is to be done in the machine before it goes was done */
	bool stuck;			/* the backend's stop took too long: the door is not to be closed */
};

/* How long the end of commands is awaited before an instance leaves a machine that goes on, in
 * milliseconds. */
#define LIFE_LEAVE_MS 3000u

/* Begins the boot. */
void life_begin(struct shim *shim);
/* Sends the state to the daemon. */
void life_tell(struct shim *shim);

/* Why the machine cannot be reached at the moment, for a boot that takes too long; copied. NULL: nothing. */
void life_trouble(struct shim *shim, const char *reason);
/* A run has ended. */
void life_run_ended(struct shim *shim);

/* Commands and files work. */
bool life_is_up(const struct shim *shim);
/* The machine is gone or going, and does not come back. */
bool life_is_over(const struct shim *shim);

/* The console shows a crash. */
void life_crashed(struct shim *shim, const char *title);
/* The backend says that the machine ended. */
void life_ended(struct shim *shim, enum poolfs_ending how, const char *reason);

/* The transport's functions, while it is up. run: NULL when it is not. */
struct transport_run *life_run(struct shim *shim, const struct transport_command *command,
	const struct transport_run_events *events, void *data);
void life_file(struct shim *shim, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data);
void life_file_cancel(struct shim *shim, uint64_t key);
/* While life_is_up only. */
struct transport_forward *life_forward_listen(struct shim *shim,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data);
struct transport_forward *life_forward_reach(struct shim *shim,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data);
/* Types into the console; as door_console_write, -EHOSTDOWN when the machine is gone. */
int life_type(struct shim *shim, const void *data, size_t size);
/* Gives the machine a SysRq key, or an interrupt. What does not work is said in the log. */
void life_sysrq(struct shim *shim, char key);
void life_nmi(struct shim *shim);

/* Lets the backend do what a verb says; as door_verb. */
int life_verb(struct shim *shim, const char *verb, const char *argument, struct poolfs_op *op);

/* Ends the machine; shim_setup.done follows. */
void life_stop(struct shim *shim);
void life_close(struct shim *shim);

#endif
