/* SPDX-License-Identifier: MIT */
/*
 * An instance: one machine, shown as POOL/NAME/. Its state is one enum that one function
 * changes, which checks the edge, logs it, and wakes who waits. Loop's thread only.
 *
 * What the machine does is known from its shim alone (shim.h); what users ask for goes
 * there. rmdir takes the name away at once; the object lives on, dead, until the shim has
 * ended and the last open file is closed.
 */
#ifndef FS_INSTANCE_H
#define FS_INSTANCE_H

#include <sys/queue.h>

#include "backends/protocol/protocol.h"
#include "fs/control.h"
#include "fs/crash.h"
#include "fs/forward.h"
#include "fs/guestfs.h"
#include "fs/pool.h"
#include "fs/run.h"
#include "fs/settings.h"
#include "fs/shim.h"
#include "fs/spooled.h"

struct instance {
	struct object object;
	TAILQ_ENTRY(instance) entry;	/* in its pool's list */
	struct pool *pool;		/* its object is referenced */
	char name[TEXT_NAME_MAX + 1];
	uid_t uid;
	gid_t gid;
	int target;			/* its machine's number, where the pool lends machines */
	bool returned;			/* the shim told how it left the machine */
	char *bad;			/* why that cannot be lent any more; NULL: it can */
	enum instance_state state;
	char *error;			/* for `error`; NULL: all is well */
	struct timespec created, changed;
	uint64_t began;			/* ns of the monotonic clock */
	uint32_t boot_ms;
	struct stream ready;
	struct spooled console, log;
	struct spooled crash;		/* the first report */
	struct crash_set *crashes;	/* NULL: removed */
	unsigned crash_count;		/* reports that the shim told of */
	bool quiet;			/* it has been silent for too long */
	struct text status;		/* the shim's lines */
	struct shim *shim;		/* NULL when it is gone */
	int directory;			/* of the shim (protocol.h); -1: it is not made */
	struct guestfs *guestfs;
	struct forward_set *forwards[FORWARD_DIRECTIONS]; /* NULL: removed */
	uint64_t next_forward;		/* in the protocol */
	char *files_error;		/* what failed last after it was answered; NULL: nothing did */
	unsigned files_errors;		/* how many did */
	uint64_t files_told;		/* ns: when the last event said so */
	struct leave *leave;		/* its name is gone, and it waits for what was answered; NULL: not */
	char *refusal;			/* the last forward that was refused, and why; NULL: none */
	struct settings settings;	/* what its new runs start from */
	struct run_list leaving;	/* forgotten, but somebody still gets a transcript */
	struct run_list runs;
	unsigned unfinished;		/* runs that were submitted and have not ended */
	unsigned finished_numbered;	/* runs that may be forgotten */
	uint64_t next_run;		/* in the protocol */
	uint64_t submissions;		/* how many runs were ever started */
	uint64_t next_number;		/* of cmd's runs */
	char last[TEXT_NAME_MAX + 1];	/* the newest run's name; "" */
};

TAILQ_HEAD(instance_list, instance);

extern const struct directory instance_directory;
extern const struct control instance_controls[]; /* instance_files.c */

/* A new instance of the pool, booting. name is copied; target is the number of its machine, where
 * the pool lends machines. 0 or a negative errno. */
int instance_new(struct pool *pool, const char *name, int target, const struct request *request,
	struct instance **instance);
/* Its name was taken away: ends everything; the owner's reference ends with the shim. */
void instance_close(struct instance *instance);

/* Seconds since the mkdir. */
double instance_age(const struct instance *instance);
/* "POOL/NAME" */
void instance_full_name(const struct instance *instance, char *name, size_t size);
/* Its line of the top's `status`. */
void instance_status_row(struct instance *instance, struct text *text);

/* What status.json tells of it; the caller owns it. */
struct json_t *instance_json(struct instance *instance);

/* A report of a crash came: an event. */
void instance_crash_event(struct instance *instance, unsigned number, const char *title);
/* Whether its machine is there, or comes (again). */
bool instance_is_there(const struct instance *instance);
/* The number of a new forward. */
uint64_t instance_next_forward(struct instance *instance);
/* A forward of that directory and name was refused, for `error`; why is NULL where it was not. */
void instance_refused(struct instance *instance, const char *directory, const char *name,
	const char *why);
/* What was answered ahead below files/ (guestahead.h): path failed; those before the number `oldest` have ended. */
void instance_files_failed(struct instance *instance, const char *path, int error);
void instance_files_settled(struct instance *instance, uint64_t oldest);
/* A command ran: names and attributes below files/ may have changed. */
void instance_files_changed(struct instance *instance);
struct shim *instance_shim(struct instance *instance);

/* Whether a command may be written now: 0, -EHOSTDOWN, or -EAGAIN when the queue is full. */
int instance_takes_runs(struct instance *instance);
/* Starts a numbered run, whose text a write has taken. 0, or -ENFILE. */
int instance_run(struct instance *instance, const void *text, size_t size, struct run **run);
/* Starts a run that mkdir made. */
void instance_submit(struct instance *instance, struct run *run, const void *text, size_t size);
/* FRAME_SPOOL of a run that is not in the list any more. false: it broke the protocol. */
bool instance_told_leaving(struct instance *instance, uint64_t id, const struct frame_spool *notice);
/* A run ended: old ones may be forgotten. */
void instance_run_ended(struct instance *instance, struct run *run);
/* The machine is gone: runs whose command was not written yet are lost. submitted: the others too,
 * because the shim, which tells of their last output and their end, is gone as well. */
void instance_lose_runs(struct instance *instance, bool submitted);
/* Takes every run out of the tree. */
void instance_remove_runs(struct instance *instance);

#endif
