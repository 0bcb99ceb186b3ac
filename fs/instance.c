/* SPDX-License-Identifier: MIT */
#include "fs/instance.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/protocol/files.h"
#include "backends/protocol/states.h"

/* Caps for the texts that a shim may send, in bytes. */
#define REASON_MAX 8192
#define STATUS_MAX 4096
/* Errors of files are told in events as often as this. */
#define FILES_TOLD_NS 1000000000u
/* What was answered gets so long when an instance goes. */
#define LEAVE_MS 10000u

/* An instance whose end waits for what was answered ahead. */
struct leave {
	uv_timer_t timer;
	uint64_t number;	/* of the last of those */
	struct instance *instance;
};

/* "POOL/NAME" */
void instance_full_name(const struct instance *instance, char *name, size_t size)
{
	snprintf(name, size, "%s/%s", pool_name(instance->pool), instance->name);
}

/* Seconds since the mkdir. */
double instance_age(const struct instance *instance)
{
	return (double)(uv_hrtime() - instance->began) / 1e9;
}

/* One more event of the instance. */
static void event(struct instance *instance, const char *from, const char *to, const char *reason)
{
	char name[2 * TEXT_NAME_MAX + 2];

	instance_full_name(instance, name, sizeof(name));
	mount_event(pool_mount(instance->pool), name, "%s %s%s%.*s", from, to, *reason ? " " : "",
		(int)strcspn(reason, "\n"), reason);
}

/* Whether commands and forwards work, now or when the machine is up. */
bool instance_is_there(const struct instance *instance)
{
	return instance->state <= INSTANCE_PAUSED || instance->state == INSTANCE_LOST;
}

/* Ends what waits for the machine's forwards. */
static void lose_forwards(struct instance *instance)
{
	for (int i = 0; i < FORWARD_DIRECTIONS; i++)
		if (instance->forwards[i])
			forward_set_lose(instance->forwards[i]);
}

/* A crash is an event of its own: its report may be one of several, or change no state. */
void instance_crash_event(struct instance *instance, unsigned number, const char *title)
{
	char text[16];

	snprintf(text, sizeof(text), "crash %u", number);
	event(instance, text, title, "");
	control_changed(&instance->object);
}

/* Whether what is crashed is to go. */
static bool goes_when_crashed(const struct instance *instance)
{
	const struct poolfs_values *values = pool_config(instance->pool)->values;

	return strcmp(poolfs_string(values, "on_crash"), "destroy") == 0;
}

/* What a state means for those who wait. */
static void enter(struct instance *instance)
{
	char text[32];

	switch (instance->state) {
	case INSTANCE_READY:
		if (!instance->ready.ended) {
			pool_booted(instance->pool);
			int length = snprintf(text, sizeof(text), "%.2f\n", instance->boot_ms / 1e3);
			stream_append(&instance->ready, text, (size_t)length);
			stream_end(&instance->ready);
		}
		guestfs_up(instance->guestfs);
		break;
	case INSTANCE_FAILED:
	case INSTANCE_STOPPED:
	case INSTANCE_CRASHED:
	case INSTANCE_CLOSING:
		stream_fail(&instance->ready, -EIO);
		stream_end(&instance->console.stream);
		guestfs_down(instance->guestfs);
		instance_lose_runs(instance, false);
		lose_forwards(instance);
		break;
	case INSTANCE_LOST:
		guestfs_down(instance->guestfs);
		break;
	case INSTANCE_BOOTING: /* again, after a crash */
		instance->boot_ms = 0;
		stream_done(&instance->ready);
		stream_init_memory(&instance->ready, 64);
		instance->console.stream.ended = false;
		guestfs_wait(instance->guestfs);
		break;
	default:
		break;
	}
}

/* Takes over the reason for a state, which `ready` does not have. */
static void set_error(struct instance *instance, const char *reason)
{
	free(instance->error);
	instance->error = *reason && instance->state != INSTANCE_READY ? memory_string(reason) : NULL;
}

/* The one place where a state changes. false: that edge does not exist. reason may be "". */
static bool change(struct instance *instance, enum instance_state state, const char *reason)
{
	enum instance_state from = instance->state;

	if (!states_may_follow(from, state))
		return false;
	instance->state = state;
	clock_gettime(CLOCK_REALTIME, &instance->changed);
	set_error(instance, reason);
	event(instance, states_name(from), states_name(state), reason);
	if (state == INSTANCE_FAILED)
		pool_boot_failed(instance->pool, instance->name, reason);
	enter(instance);
	control_changed(&instance->object);
	return true;
}

/* A run by its number in the protocol. */
static struct run *run_by_id(struct instance *instance, uint64_t id)
{
	struct run *run;

	TAILQ_FOREACH(run, &instance->runs, entry)
		if (run->id == id)
			return run;
	return NULL;
}

/* FRAME_STATE */
static int told_state(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	const struct frame_state *notice = payload;
	size_t length = size - sizeof(*notice);

	if (notice->state >= INSTANCE_CLOSING)
		return -EPROTO;
	if (length > REASON_MAX)
		length = REASON_MAX;
	char *reason = memory_format("%.*s", (int)length, (const char *)(notice + 1));
	if (notice->boot_ms)
		instance->boot_ms = notice->boot_ms;
	bool same = notice->state == instance->state;
	if (same)
		set_error(instance, reason);
	bool known = same || change(instance, notice->state, reason);
	free(reason);
	if (known && !same && instance->state == INSTANCE_CRASHED && goes_when_crashed(instance) &&
		!instance->leave)
		pool_drop(instance->pool, instance);
	return known ? 0 : -EPROTO;
}

/* FRAME_STATUS */
static int told_status(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	char clean[4 * STATUS_MAX + 1];

	if (size > STATUS_MAX)
		return -EPROTO;
	char *raw = memory_format("%.*s", (int)size, (const char *)payload);
	text_escape_lines(clean, sizeof(clean), raw);
	free(raw);
	text_consume(&instance->status, instance->status.size);
	text_append(&instance->status, clean, strlen(clean));
	return 0;
}

/* FRAME_SPOOL */
static int told_spool(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	const struct frame_spool *notice = payload;
	struct run *run = id ? run_by_id(instance, id) : NULL;

	if (run)
		return run_told_spool(run, notice) ? 0 : -EPROTO;
	if (id) /* a notice of a run that was forgotten meanwhile */
		return instance_told_leaving(instance, id, notice) ? 0 : -EPROTO;
	if (notice->kind == SPOOL_CONSOLE)
		return stream_moved(&instance->console.stream, notice->start, notice->end) ? 0 : -EPROTO;
	if (notice->kind == SPOOL_LOG)
		return stream_moved(&instance->log.stream, notice->start, notice->end) ? 0 : -EPROTO;
	return -EPROTO;
}

/* FRAME_RUN_STATE */
static int told_run(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	struct run *run = run_by_id(instance, id);

	if (!run || run_ended(run))
		return 0;
	return run_told_state(run, payload) ? 0 : -EPROTO;
}

/* FRAME_RUN_INPUT_TAKEN */
static int told_input(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	struct run *run = run_by_id(instance, id);

	return !run || run_told_input(run, payload) ? 0 : -EPROTO;
}

/* FRAME_FORWARD_STATE: the name, which we know, and the text */
static int told_forward(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	const struct frame_forward_state *notice = payload;
	const char *text = (const char *)(notice + 1);
	size_t rest = size - sizeof(*notice);

	if (notice->direction >= FORWARD_DIRECTIONS || notice->name_size > rest)
		return -EPROTO;
	return forward_set_told(instance->forwards[notice->direction], id, notice,
		text + notice->name_size, rest - notice->name_size) ? 0 : -EPROTO;
}

/* FRAME_FILE_REPLY */
static int told_file(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	return guestfs_reply(instance->guestfs, id, payload, size);
}

/* FRAME_QUIET */
static int told_quiet(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	const struct frame_quiet *notice = payload;
	char text[64];

	if (instance->quiet == (notice->quiet != 0))
		return 0;
	instance->quiet = notice->quiet != 0;
	snprintf(text, sizeof(text), "no console and no output for %g s",
		(double)notice->limit_ms / 1000);
	event(instance, "quiet", instance->quiet ? text : "no more", "");
	return 0;
}

/* FRAME_RETURNED, after everything else */
static int told_returned(struct instance *instance, const void *payload, size_t size)
{
	const struct frame_returned *notice = payload;

	if (size < sizeof(*notice) || size > sizeof(*notice) + REASON_MAX || instance->returned)
		return -EPROTO;
	instance->returned = true;
	if (notice->result < 0 && pool_resets(instance->pool))
		instance->bad = memory_format("reset failed: %.*s", (int)(size - sizeof(*notice)),
			(const char *)(notice + 1));
	return 0;
}

/* FRAME_REMAINS */
static int told_remains(struct instance *instance, const void *payload, size_t size)
{
	if (size > REASON_MAX)
		return -EPROTO;
	char *reason = memory_format("%.*s", (int)size, (const char *)payload);
	event(instance, "destroy", "failed", reason);
	free(reason);
	return 0;
}

/* FRAME_VERB_DONE */
static int told_verb(struct instance *instance, uint64_t id, const void *payload, size_t size)
{
	if (size > REASON_MAX)
		return -EPROTO;
	char *line = memory_format("%.*s", (int)size, (const char *)payload), *blank = strchr(line, ' ');
	if (blank)
		*blank = '\0';
	event(instance, "verb", line, blank ? blank + 1 : "");
	free(line);
	return 0;
}

/* A frame of the shim: by its type, of at least the size that its struct has. */
static int shim_frame(struct instance *instance, const struct frame_header *header,
	const void *payload)
{
	static const struct {
		enum frame_type type;
		size_t least;
		int (*take)(struct instance *, uint64_t, const void *, size_t);
	} frames[] = {
		{ FRAME_STATE, sizeof(struct frame_state), told_state },
		{ FRAME_STATUS, 0, told_status },
		{ FRAME_SPOOL, sizeof(struct frame_spool), told_spool },
		{ FRAME_RUN_STATE, sizeof(struct frame_run_state), told_run },
		{ FRAME_RUN_INPUT_TAKEN, sizeof(struct frame_run_taken), told_input },
		{ FRAME_QUIET, sizeof(struct frame_quiet), told_quiet },
		{ FRAME_CRASH, sizeof(struct frame_crash), crash_told },
		{ FRAME_FILE_REPLY, sizeof(struct file_reply), told_file },
		{ FRAME_FORWARD_STATE, sizeof(struct frame_forward_state), told_forward },
		{ FRAME_VERB_DONE, 1, told_verb },
	};

	if (header->type == FRAME_REMAINS)
		return told_remains(instance, payload, header->size);
	if (instance->state == INSTANCE_CLOSING)
		return header->type == FRAME_RETURNED ?
			       told_returned(instance, payload, header->size) : 0;
	for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++)
		if (frames[i].type == header->type && header->size >= frames[i].least)
			return frames[i].take(instance, header->id, payload, header->size);
	return -EPROTO;
}

/* The shim is gone without being asked, and the machine with it. */
static void shim_died(struct instance *instance, const char *reason)
{
	if (!change(instance, INSTANCE_FAILED, reason))
		change(instance, INSTANCE_STOPPED, reason);
	instance_lose_runs(instance, true);
	stream_end(&instance->log.stream);
}

/* The shim is gone because we said so: so is the owner's reference. */
static void shim_gone(struct instance *instance)
{
	event(instance, "closing", "-", "destroyed");
	/* One that came so far as to say where the machine is may have been in it. */
	if (pool_resets(instance->pool) && !instance->returned && instance->status.size > 0)
		instance->bad = memory_string("its process ended before reset had");
	pool_give_back(instance->pool, instance->target, instance->bad);
	instance->shim = NULL;
	object_unref(&instance->object);
}

static const struct shim_events shim_events = { shim_frame, shim_died, shim_gone };

/* The last reference went. */
static void instance_free(struct object *object)
{
	struct instance *instance = container_of(object, struct instance, object);

	assert(TAILQ_EMPTY(&instance->runs) && !instance->shim);
	stream_done(&instance->ready);
	spooled_done(&instance->console);
	spooled_done(&instance->log);
	spooled_done(&instance->crash);
	text_done(&instance->status);
	settings_done(&instance->settings);
	if (instance->directory >= 0)
		close(instance->directory);
	free(instance->error);
	free(instance->refusal);
	free(instance->bad);
	free(instance->files_error);
	object_unref(pool_object(instance->pool));
	free(instance);
}

/* Fills in what needs no shim. */
static void prepare(struct instance *instance, struct pool *pool, const char *name,
	const struct request *request)
{
	instance->pool = pool;
	object_ref(pool_object(pool));
	snprintf(instance->name, sizeof(instance->name), "%s", name);
	instance->uid = request->uid;
	instance->gid = request->gid;
	instance->began = uv_hrtime();
	instance->next_run = instance->next_number = instance->next_forward = 1;
	instance->directory = -1;
	clock_gettime(CLOCK_REALTIME, &instance->created);
	instance->changed = instance->created;
	instance->settings.timeout_ms =
		(uint32_t)poolfs_number(pool_config(pool)->values, "timeout");
	TAILQ_INIT(&instance->runs);
	TAILQ_INIT(&instance->leaving);
	stream_init_memory(&instance->ready, 64);
	spooled_init(&instance->console, &instance->directory, "console");
	spooled_init(&instance->log, &instance->directory, "log");
	spooled_init(&instance->crash, &instance->directory, "crash.1");
}

/* Removes forward/ and expose/. */
static void remove_forwards(struct instance *instance)
{
	for (int i = 0; i < FORWARD_DIRECTIONS; i++) {
		forward_set_remove(instance->forwards[i]);
		instance->forwards[i] = NULL;
	}
}

/* Makes forward/ and expose/. */
static int make_forwards(struct instance *instance)
{
	int result = 0;

	for (int i = 0; result == 0 && i < FORWARD_DIRECTIONS; i++)
		result = forward_set_new(instance, i, &instance->forwards[i]);
	return result;
}

/* Makes an instance. */
int instance_new(struct pool *pool, const char *name, int target, const struct request *request,
	struct instance **out)
{
	struct instance *instance = memory_new(sizeof(*instance));
	int result = object_init(&instance->object, OBJECT_INSTANCE, instance_free);

	if (result < 0) {
		free(instance);
		return result;
	}
	prepare(instance, pool, name, request);
	instance->target = target;
	result = make_forwards(instance);
	if (result == 0)
		result = crash_set_new(instance, &instance->crashes);
	if (result >= 0)
		result = shim_new(pool_mount(pool), instance, &shim_events, &instance->shim);
	if (result < 0) {
		mount_event(pool_mount(pool), pool_name(pool), "mkdir %s: %s", name, strerror(-result));
		remove_forwards(instance);
		crash_set_remove(instance->crashes);
		object_unref(&instance->object);
		return result;
	}
	instance->guestfs = guestfs_new(instance);
	event(instance, "-", "booting", "");
	*out = instance;
	return 0;
}

/* Ends everything that belongs to the name; the shim's end comes later. */
static void close_now(struct instance *instance)
{
	/* An open file reads on, though the directory goes. */
	spooled_hold(&instance->console);
	spooled_hold(&instance->log);
	spooled_hold(&instance->crash);
	change(instance, INSTANCE_CLOSING, "");
	instance_remove_runs(instance);
	remove_forwards(instance);
	crash_set_remove(instance->crashes);
	instance->crashes = NULL;
	stream_end(&instance->log.stream);
	guestfs_free(instance->guestfs);
	instance->guestfs = NULL;
	object_remove(&instance->object);
	shim_stop(instance->shim);
}

/* libuv is done with it. */
static void leave_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* All was done, or the time is up. */
static void leave_now(uv_timer_t *timer)
{
	struct leave *leave = timer->data;
	struct instance *instance = leave->instance;

	instance->leave = NULL;
	uv_close((uv_handle_t *)timer, leave_closed);
	close_now(instance);
}

/* Its name was taken away. What was answered ahead is done first. */
void instance_close(struct instance *instance)
{
	uint64_t number = guestfs_ahead(instance->guestfs);

	if (!number) {
		close_now(instance);
		return;
	}
	struct leave *leave = memory_new(sizeof(*leave));
	leave->number = number;
	leave->instance = instance;
	uv_timer_init(pool_mount(instance->pool)->loop, &leave->timer);
	leave->timer.data = leave;
	uv_timer_start(&leave->timer, leave_now, LEAVE_MS, 0);
	instance->leave = leave;
}

/* The shim, for sending. */
struct shim *instance_shim(struct instance *instance)
{
	return instance->shim;
}

/* The kernel is to ask for them anew. */
void instance_files_changed(struct instance *instance)
{
	guestfs_doubt(instance->guestfs);
}

/* Keeps the text; a storm of errors is one event each second. */
void instance_files_failed(struct instance *instance, const char *path, int error)
{
	free(instance->files_error);
	instance->files_error = memory_format("files/%s: %s, after it was answered", path, strerror(-error));
	instance->files_errors++;
	if (instance->files_told && uv_hrtime() - instance->files_told < FILES_TOLD_NS)
		return;
	instance->files_told = uv_hrtime();
	event(instance, "files", "failed", instance->files_error);
	control_changed(&instance->object);
}

/* Runs that waited for them may start, and the instance go. */
void instance_files_settled(struct instance *instance, uint64_t oldest)
{
	if (instance->shim)
		shim_settled(instance->shim, oldest);
	if (instance->leave && oldest > instance->leave->number)
		uv_timer_start(&instance->leave->timer, leave_now, 0, 0);
}

/* Counts. */
uint64_t instance_next_forward(struct instance *instance)
{
	return instance->next_forward++;
}

/* Keeps the reason until the next one is made. */
void instance_refused(struct instance *instance, const char *directory, const char *name,
	const char *why)
{
	free(instance->refusal);
	instance->refusal = why ? memory_format("%s/%s: %s", directory, name, why) : NULL;
	if (why)
		event(instance, "refused", instance->refusal, "");
}

/* One line for the top's `status`. */
void instance_status_row(struct instance *instance, struct text *text)
{
	char name[2 * TEXT_NAME_MAX + 2];

	instance_full_name(instance, name, sizeof(name));
	text_printf(text, "%-32s %-8s %9.1fs %6u\n", name, states_name(instance->state),
		instance_age(instance), instance->unfinished);
}
