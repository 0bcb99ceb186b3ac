/* SPDX-License-Identifier: MIT */
#include "fs/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "backends/base/values.h"
#include "backends/protocol/frame.h"
#include "backends/protocol/slots.h"
#include "fs/instance.h"
#include "fs/mount.h"
#include "fs/pool.h"
#include "fs/process.h"
#include "fs/remains.h"
#include "fs/workdir.h"

/* A shim that was asked to stop gets so long; its own limit for ending a machine is 6 s. */
#define STOP_MS 10000
/* One that closed the connection gets so long to exit. */
#define EXIT_MS 2000
/* What a shim says when it has no terminal of ours. */
#define STDERR_FILE "shim.stderr"

/* A frame that waits. */
struct held_frame {
	TAILQ_ENTRY(held_frame) entry;
	uint64_t number, id;
	enum frame_type type;
	size_t size;
	char data[];
};

/* What the worker has that starts a process. */
struct start {
	char *path;			/* of the instance's directory */
	char *argv[3];
	char *description;		/* the text of instance.json */
	int directory;			/* descriptor of the directory */
	int listener, peer, err, slots;	/* what the process gets; -1: that could not be made */
	char *memory;			/* the slots mapped; NULL: there are none */
	const char *failed;		/* what failed, for people */
};

struct shim {
	struct mount *mount;
	struct instance *instance;
	const struct shim_events *events;
	char name[2 * TEXT_NAME_MAX + 2];	/* POOL/NAME */
	uint32_t id;			/* of the directory */
	struct frame_link *link;
	struct process process;
	struct start *start;		/* until it is started, or that has failed */
	char *slots;			/* the memory shared with the process; NULL: there is none */
	uv_timer_t timer;		/* the limit of a stop, or of an exit */
	uv_work_t removal;
	bool running;			/* there is a process that has not been reaped */
	int signal;			/* what it gets when it runs; 0: nothing */
	bool died;			/* it ended without being asked; events->died was called */
	bool stopping;
	bool ended;			/* it was reaped while stopping */
	bool cleaned;			/* what it left is ended, or is being */
	struct remains *remains;	/* of that; NULL: nothing is being done */
	uint64_t hold;			/* what frames of runs wait for; 0: nothing */
	TAILQ_HEAD(, held_frame) held;
};

static void stop_step(struct shim *shim);

/* The values for the shim: of machines that are lent, only its own. */
static json_t *make_values(const struct instance *instance)
{
	const struct config_pool *config = pool_config(instance->pool);
	const char *word = pool_target(instance->pool, instance->target);
	json_t *values = values_to_json(config->values);

	if (values && word)
		json_object_set_new(values, config->kind->targets, json_string(word));
	return values;
}

/* The text of instance.json; free() it. NULL: something in it is no UTF-8. */
static char *describe(const struct instance *instance)
{
	const struct config_pool *config = pool_config(instance->pool);
	json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:s*, s:o}", "version", PROTOCOL_VERSION, "pool",
		config->name, "name", instance->name, "type", config->kind->name, "module",
		config->module, "values", make_values(instance));
	char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;

	json_decref(root);
	return text;
}

/* The peer sent a frame. */
static int link_frame(void *data, const struct frame_header *header, const void *payload)
{
	struct shim *shim = data;

	if (header->type == FRAME_HELLO) {
		const struct frame_hello *hello = payload;

		return header->size == sizeof(*hello) && hello->version == PROTOCOL_VERSION ? 0
											   : -EPROTO;
	}
	return shim->events->frame(shim->instance, header, payload);
}

/* The machine's process is gone, or cannot be talked to any more. */
static void died(struct shim *shim, const char *reason)
{
	if (shim->died || shim->stopping)
		return;
	shim->died = true;
	frame_link_free(shim->link);
	shim->link = NULL;
	shim->events->died(shim->instance, reason);
}

/* Whether there is a process, or is about to be. */
static bool has_process(const struct shim *shim)
{
	return shim->start || shim->running;
}

/* Ends its process, also one that is only about to be. */
static void end_process(struct shim *shim, int signal)
{
	if (shim->running)
		process_kill(&shim->process, signal);
	else
		shim->signal = signal;
}

/* It closed the connection but did not exit. */
static void exit_limit(uv_timer_t *timer)
{
	struct shim *shim = timer->data;

	log_warning(shim->name, "its process closed the connection and is killed");
	end_process(shim, SIGKILL);
}

/* The connection ended: a shim without one is of no use, so the process is ended too. */
static void link_closed(void *data, int reason)
{
	struct shim *shim = data;
	bool closed = reason == 0 || reason == -ECONNRESET || reason == -EPIPE;

	frame_link_free(shim->link);
	shim->link = NULL;
	if (shim->stopping) {
		if (shim->ended)
			stop_step(shim);
		return;
	}
	if (closed && has_process(shim)) { /* it is about to exit; process_exited tells how */
		uv_timer_start(&shim->timer, exit_limit, EXIT_MS, 0);
		return;
	}
	if (has_process(shim))
		end_process(shim, SIGKILL);
	char text[128];
	snprintf(text, sizeof(text), "the connection to its process broke: %s",
		reason ? strerror(-reason) : "closed");
	died(shim, text);
}

static const struct frame_link_events link_events = { link_frame, link_closed };

/* What a killed one left is ended, or that has failed. */
static void cleaned(void *data, const char *reason)
{
	struct shim *shim = data;

	shim->remains = NULL;
	if (reason) {
		struct frame_header header = { .size = (uint32_t)strlen(reason), .type = FRAME_REMAINS };

		shim->events->frame(shim->instance, &header, reason);
	}
	if (shim->stopping)
		stop_step(shim);
}

/* Has what the process left ended, once; whether nothing is to be waited for. */
static bool clean(struct shim *shim)
{
	int directory = shim->instance->directory;
	char *path;

	if (!shim->cleaned && !shim->running && workdir_owes(directory)) {
		shim->cleaned = true;
		path = memory_format("%s/%u", shim->mount->workdir_path, shim->id);
		shim->remains = remains_clean(shim->mount, path, directory, shim->name,
			STOP_MS + pool_leave_ms(shim->instance->pool), cleaned, shim);
		free(path);
	}
	return !shim->remains;
}

/* Somebody else has its end of the connection. */
static void last_limit(uv_timer_t *timer)
{
	stop_step(timer->data);
}

/* The process was reaped. */
static void process_exited(struct process *process, int status, int signal)
{
	struct shim *shim = container_of(process, struct shim, process);
	char words[1024], text[1024 + 128];

	shim->running = false;
	uv_timer_stop(&shim->timer);
	if (shim->stopping) {
		/* What it said last is read up to the connection's end. */
		shim->ended = true;
		if (shim->link)
			uv_timer_start(&shim->timer, last_limit, EXIT_MS, 0);
		else
			stop_step(shim);
		return;
	}
	workdir_last_line(shim->instance->directory, STDERR_FILE, words, sizeof(words));
	snprintf(text, sizeof(text), "its process %s %d%s%s",
		signal ? "was killed by signal" : "ended with status", signal ? signal : status,
		*words ? ": " : "", words);
	died(shim, text);
	clean(shim);
}

/* What a start that is over needs no more. */
static void start_free(struct start *start)
{
	int fds[] = { start->listener, start->peer, start->err, start->slots };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(start->path);
	free(start->description);
	free(start);
}

/* It could not be started. */
static void not_started(struct shim *shim, const char *failed, int result)
{
	char text[256];

	if (shim->stopping) {
		stop_step(shim);
		return;
	}
	snprintf(text, sizeof(text), "%s: %s", failed, strerror(-result));
	died(shim, text);
}

/* The process runs, or does not. */
static void process_started(struct process *process, int result)
{
	struct shim *shim = container_of(process, struct shim, process);
	struct start *start = shim->start;
	const char *failed = start->failed;

	shim->instance->directory = start->directory;
	shim->slots = start->memory;
	start_free(start);
	shim->start = NULL;
	shim->running = result == 0;
	if (result < 0)
		not_started(shim, failed, result);
	else if (shim->signal)
		end_process(shim, shim->signal);
}

/* In a worker: where the shim's own messages go: our terminal, or a file beside the instance's others. On a
 * full disk there is none. */
static int open_stderr(const struct shim *shim, int directory)
{
	if (shim->mount->foreground)
		return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, PROCESS_FDS);
	return openat(directory, STDERR_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* In a worker: the memory to be shared. Without it, all goes through the socket. */
static void prepare_slots(struct process *process, struct start *start)
{
	start->slots = slots_make();
	if (start->slots >= 0 && slots_map(start->slots, &start->memory) == 0)
		process->plan.fds[PROTOCOL_SLOTS_FD] = start->slots;
}

/* In a worker, for a disk may take its time: makes the directory with instance.json and the listening
 * socket. */
static int prepare_directory(struct process *process)
{
	struct shim *shim = container_of(process, struct shim, process);
	struct start *start = shim->start;
	int result;

	start->failed = "its directory cannot be made";
	result = start->directory = workdir_make(start->path);
	if (result < 0)
		return result;
	start->failed = "its instance.json cannot be written";
	result = workdir_write_file(start->directory, "instance.json", start->description,
		strlen(start->description));
	if (result < 0)
		return result;
	start->failed = "its socket cannot be made";
	result = start->listener = workdir_listen(start->directory);
	if (result < 0)
		return result;
	start->failed = "its process cannot be started";
	start->err = open_stderr(shim, start->directory);
	process->plan.fds[STDERR_FILENO] = start->err;
	process->plan.fds[PROTOCOL_LISTENER_FD] = start->listener;
	process->plan.fds[PROTOCOL_DAEMON_FD] = start->peer;
	prepare_slots(process, start);
	return 0;
}

/* Has a worker start the process, which gets its end of the connection. */
static void start_process(struct shim *shim, char *description, int peer)
{
	struct start *start = memory_new(sizeof(*start));
	struct process_plan plan = { .file = shim->mount->shim,
		.argv = start->argv,
		.fds = PROCESS_FDS_NONE,
		.prepare = prepare_directory,
		.started = process_started,
		.exited = process_exited };

	start->path = memory_format("%s/%u", shim->mount->workdir_path, shim->id);
	start->argv[0] = (char *)shim->mount->shim;
	start->argv[1] = start->path;
	start->description = description;
	start->peer = peer;
	start->directory = start->listener = start->err = start->slots = -1;
	shim->start = start;
	process_start(&shim->process, shim->mount->processes, &plan);
}

/* Makes the connection, before there is a process, so that all that is sent waits in it; says hello. */
static int connect_shim(struct shim *shim, int *peer)
{
	struct frame_hello hello = { .version = PROTOCOL_VERSION, .pid = getpid() };
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	shim->link = frame_link_new(shim->mount->loop, ends[0], &link_events, shim);
	shim_send(shim, FRAME_HELLO, 0, &hello, sizeof(hello));
	*peer = ends[1];
	return 0;
}

/* Begins. */
int shim_new(struct mount *mount, struct instance *instance, const struct shim_events *events,
	struct shim **out)
{
	struct shim *shim = memory_new(sizeof(*shim));
	char *description = describe(instance);
	int peer = -1;

	*shim = (struct shim){ .mount = mount, .instance = instance, .events = events };
	TAILQ_INIT(&shim->held);
	int result = description ? connect_shim(shim, &peer) : -EILSEQ;
	if (result < 0) {
		free(description);
		free(shim);
		return result;
	}
	shim->id = mount->next_id++;
	instance_full_name(instance, shim->name, sizeof(shim->name));
	uv_timer_init(mount->loop, &shim->timer);
	shim->timer.data = shim->removal.data = shim;
	mount_shim_started(mount);
	start_process(shim, description, peer);
	*out = shim;
	return 0;
}

/* Sends one frame. */
void shim_send(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	struct iovec part = { (void *)data, size };

	shim_send_parts(shim, type, id, &part, 1);
}

/* Whether a frame is about a run. */
static bool is_of_run(enum frame_type type)
{
	static const enum frame_type types[] = { FRAME_RUN_SETUP, FRAME_RUN, FRAME_RUN_INPUT,
		FRAME_RUN_EOF, FRAME_RUN_STOP, FRAME_RUN_SIGNAL, FRAME_RUN_RESIZE, FRAME_RUN_KEEP,
		FRAME_RUN_FORGET };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (types[i] == type)
			return true;
	return false;
}

/* Keeps a frame. */
static void hold_frame(struct shim *shim, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count)
{
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	struct held_frame *frame = memory_new(sizeof(*frame) + size);
	frame->number = shim->hold;
	frame->type = type;
	frame->id = id;
	for (int i = 0; i < count; i++) {
		if (parts[i].iov_len)
			memcpy(frame->data + frame->size, parts[i].iov_base, parts[i].iov_len);
		frame->size += parts[i].iov_len;
	}
	TAILQ_INSERT_TAIL(&shim->held, frame, entry);
}

/* Frames of runs wait from now on. */
void shim_hold(struct shim *shim, uint64_t number)
{
	shim->hold = number;
}

/* Sends what does not have to wait any more. */
void shim_settled(struct shim *shim, uint64_t oldest)
{
	struct held_frame *frame;

	while ((frame = TAILQ_FIRST(&shim->held)) && frame->number < oldest) {
		struct iovec part = { frame->data, frame->size };

		TAILQ_REMOVE(&shim->held, frame, entry);
		if (shim->link)
			frame_link_send(shim->link, frame->type, frame->id, &part, 1);
		free(frame);
	}
	if (!frame)
		shim->hold = 0;
}

/* Sends one frame. A shim that does not read is noticed by the link, which then closes. */
void shim_send_parts(struct shim *shim, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count)
{
	if (shim->hold && is_of_run(type))
		hold_frame(shim, type, id, parts, count);
	else if (shim->link)
		frame_link_send(shim->link, type, id, parts, count);
}

/* Sends one frame that has time. */
void shim_send_late(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	struct iovec part = { (void *)data, size };

	if (shim->link)
		frame_link_send_late(shim->link, type, id, &part, 1);
}

/* What is shared. */
char *shim_slots(const struct shim *shim)
{
	return shim->slots;
}

/* Bytes that wait. */
size_t shim_queued(const struct shim *shim)
{
	return shim->link ? frame_link_queued(shim->link) : 0;
}

/* The timer, the last that libuv knows of it, is closed: the shim goes. */
static void uv_closed(uv_handle_t *handle)
{
	struct shim *shim = handle->data;
	struct mount *mount = shim->mount;

	shim_settled(shim, UINT64_MAX);
	shim->events->gone(shim->instance);
	slots_unmap(shim->slots);
	free(shim);
	mount_shim_gone(mount);
}

/* The directory is removed. */
static void removed(uv_work_t *work, int status)
{
	struct shim *shim = work->data;

	uv_close((uv_handle_t *)&shim->timer, uv_closed);
}

/* In a worker: unlinking large spools takes the disk's time. */
static void remove_directory(uv_work_t *work)
{
	struct shim *shim = work->data;

	workdir_remove(shim->mount->workdir_path, shim->id);
}

/* The process is gone: what is left is the directory, when nothing else is any more. */
static void stop_step(struct shim *shim)
{
	uv_timer_stop(&shim->timer);
	frame_link_free(shim->link);
	shim->link = NULL;
	if (!clean(shim))
		return;
	uv_queue_work(shim->mount->loop, &shim->removal, remove_directory, removed);
}

/* It took too long. */
static void stop_limit(uv_timer_t *timer)
{
	struct shim *shim = timer->data;

	log_warning(shim->name, "its process did not stop in time and is killed");
	end_process(shim, SIGKILL);
}

/* Stops; a process that was not even started, or died, is no obstacle. */
void shim_stop(struct shim *shim)
{
	shim->stopping = true;
	if (!has_process(shim)) {
		stop_step(shim);
		return;
	}
	if (shim->link)
		shim_send(shim, FRAME_STOP, 0, NULL, 0);
	else
		end_process(shim, SIGTERM);
	uv_timer_start(&shim->timer, stop_limit, STOP_MS + pool_leave_ms(shim->instance->pool), 0);
}
