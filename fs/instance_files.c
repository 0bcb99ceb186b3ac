/* SPDX-License-Identifier: MIT */
/* The control files of an instance: one function for each, and the table. */
#include "fs/instance.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/protocol/states.h"
#include "fs/command.h"
#include "fs/ctl.h"
#include "fs/jsontext.h"
#include "fs/settings_files.h"

/* The longest text that `error` shows; a reason of 8 KiB, escaped. */
#define ERROR_MAX 32768

/* The instance of an object of that type. */
static struct instance *instance_of(struct object *object)
{
	return container_of(object, struct instance, object);
}

/* state */
static void state_show(struct object *object, struct text *text)
{
	text_printf(text, "%s\n", states_name(instance_of(object)->state));
}

/* ready */
static struct stream *ready_stream(struct object *object)
{
	return &instance_of(object)->ready;
}

/* One of the reasons that `error` has: text of the guest's console may be in it, so it is escaped. */
static void show_reason(const char *error, struct text *text)
{
	if (!error)
		return;
	char *clean = memory_new(ERROR_MAX);
	text_escape_lines(clean, ERROR_MAX, error);
	size_t length = strlen(clean);
	text_printf(text, "%s%s", clean, length && clean[length - 1] == '\n' ? "" : "\n");
	free(clean);
}

/* error: of the instance, of the last forward that was refused, of those that failed */
static void error_show(struct object *object, struct text *text)
{
	struct instance *instance = instance_of(object);

	show_reason(instance->error, text);
	show_reason(instance->refusal, text);
	show_reason(instance->files_error, text);
	for (int i = 0; i < FORWARD_DIRECTIONS; i++)
		forward_set_errors(instance->forwards[i], text);
}

/* How many runs are in a state. */
static unsigned count_runs(struct instance *instance, enum run_state state)
{
	struct run *run;
	unsigned count = 0;

	TAILQ_FOREACH(run, &instance->runs, entry)
		count += run->submitted && run->state == state;
	return count;
}

/* For status.json. */
json_t *instance_json(struct instance *instance)
{
	json_t *boot = instance->boot_ms ? json_real(instance->boot_ms / 1e3) : json_null();

	return json_pack("{s:s, s:s, s:I, s:o, s:o, s:i, s:i, s:I, s:I, s:o}", "name", instance->name,
		"state", states_name(instance->state), "uid", (json_int_t)instance->uid,
		"uptime_seconds", json_real(instance_age(instance)), "boot_seconds", boot,
		"runs_running", (int)count_runs(instance, RUN_RUNNING), "runs_queued",
		(int)count_runs(instance, RUN_QUEUED), "console_bytes",
		(json_int_t)instance->console.stream.end, "console_bytes_dropped",
		(json_int_t)instance->console.stream.start, "error", jsontext(instance->error));
}

/* status: "key value" lines, ours and then the shim's */
static void status_show(struct object *object, struct text *text)
{
	struct instance *instance = instance_of(object);

	text_printf(text, "state %s\n", states_name(instance->state));
	text_printf(text, "backend %s\n", pool_config(instance->pool)->kind->name);
	text_printf(text, "uptime_seconds %.1f\n", instance_age(instance));
	if (instance->boot_ms)
		text_printf(text, "boot_seconds %.2f\n", instance->boot_ms / 1e3);
	text_printf(text, "runs_running %u\n", count_runs(instance, RUN_RUNNING));
	text_printf(text, "runs_queued %u\n", count_runs(instance, RUN_QUEUED));
	text_printf(text, "console_bytes %llu\n",
		(unsigned long long)instance->console.stream.end);
	text_printf(text, "console_bytes_dropped %llu\n",
		(unsigned long long)instance->console.stream.start);
	text_printf(text, "crashes %u\nquiet %d\n", instance->crash_count, instance->quiet);
	text_printf(text, "files_errors %u\n", instance->files_errors);
	for (int i = 0; i < FORWARD_DIRECTIONS; i++)
		forward_set_status(instance->forwards[i], text);
	text_append(text, instance->status.data, instance->status.size);
}

/* console, console.follow */
static struct stream *console_stream(struct object *object)
{
	return &instance_of(object)->console.stream;
}

/* Nothing can be typed. */
static bool console_is_read_only(struct object *object)
{
	return instance_directory.features(object) & FACTS_CONSOLE_READ_ONLY;
}

/* console, written: typed into the machine */
static int console_store(struct object *object, const char *data, size_t size)
{
	struct instance *instance = instance_of(object);

	if (states_is_over(instance->state) && instance->state != INSTANCE_CRASHED)
		return -EHOSTDOWN;
	while (size) {
		size_t piece = size < PROTOCOL_CONSOLE_INPUT_MAX ? size : PROTOCOL_CONSOLE_INPUT_MAX;

		shim_send(instance->shim, FRAME_CONSOLE_INPUT, 0, data, piece);
		data += piece;
		size -= piece;
	}
	return 0;
}

/* crashes */
static struct object *crashes_at(struct object *object)
{
	return crash_set_object(instance_of(object)->crashes);
}

/* crash: the first report */
static struct stream *crash_stream(struct object *object)
{
	return &instance_of(object)->crash.stream;
}

/* log */
static struct stream *log_stream(struct object *object)
{
	return &instance_of(object)->log.stream;
}

/* A file of a spool, which is its stream's owner, is opened. */
static int stream_opened(struct handle *handle)
{
	spooled_use(handle->control->stream(handle->object)->owner);
	return 0;
}

/* And closed. */
static void stream_closed(struct handle *handle)
{
	spooled_unuse(handle->control->stream(handle->object)->owner);
}

static const struct control_ops stream_ops = { .open = stream_opened, .release = stream_closed };

/* last: a link to the newest run */
static void last_show(struct object *object, struct text *text)
{
	text_printf(text, "runs/%s", instance_of(object)->last);
}

/* There is no last run yet. */
static bool last_hidden(struct object *object)
{
	return !instance_of(object)->last[0];
}

/* files */
static struct object *files_at(struct object *object)
{
	return guestfs_root(instance_of(object)->guestfs);
}

/* forward */
static struct object *forward_at(struct object *object)
{
	return forward_set_object(instance_of(object)->forwards[FORWARD_TO_HOST]);
}

/* expose */
static struct object *expose_at(struct object *object)
{
	return forward_set_object(instance_of(object)->forwards[FORWARD_TO_GUEST]);
}

const struct control instance_controls[] = {
	{ .name = "state", .mode = S_IFREG | 0400, .show = state_show },
	{ .name = "ready", .mode = S_IFREG | 0400, .stream = ready_stream, .flags = CONTROL_WAITS },
	{ .name = "error", .mode = S_IFREG | 0400, .show = error_show },
	{ .name = "status", .mode = S_IFREG | 0400, .show = status_show },
	{ .name = "cmd", .mode = S_IFREG | 0600, .feature = POOLFS_FEATURE_COMMANDS,
	  .ops = &command_ops },
	{ .name = "timeout", .mode = S_IFREG | 0600, .feature = POOLFS_FEATURE_COMMANDS,
	  .show = settings_files_timeout_show,
	  .store = settings_files_timeout_store },
	{ .name = "environment", .mode = S_IFREG | 0600, .feature = POOLFS_FEATURE_COMMANDS,
	  .show = settings_files_environment_show,
	  .ops = &settings_files_environment_ops },
	{ .name = "cwd", .mode = S_IFREG | 0600, .feature = POOLFS_FEATURE_COMMANDS,
	  .show = settings_files_cwd_show,
	  .store = settings_files_cwd_store },
	{ .name = "tty", .mode = S_IFREG | 0600, .feature = POOLFS_FEATURE_COMMANDS,
	  .show = settings_files_tty_show,
	  .store = settings_files_tty_store },
	{ .name = "last", .mode = S_IFLNK | 0777, .feature = POOLFS_FEATURE_COMMANDS,
	  .show = last_show, .hidden = last_hidden },
	{ .name = "runs", .mode = S_IFDIR | 0700, .feature = POOLFS_FEATURE_COMMANDS },
	{ .name = "files", .mode = S_IFDIR | 0700, .feature = POOLFS_FEATURE_FILES, .at = files_at },
	{ .name = "forward", .mode = S_IFDIR | 0700, .feature = POOLFS_FEATURE_FORWARD,
	  .at = forward_at },
	{ .name = "expose", .mode = S_IFDIR | 0700, .feature = POOLFS_FEATURE_FORWARD, .at = expose_at },
	{ .name = "console", .mode = S_IFREG | 0600, .feature = POOLFS_FEATURE_CONSOLE,
	  .stream = console_stream, .store = console_store, .ops = &stream_ops,
	  .hidden = console_is_read_only },
	{ .name = "console", .mode = S_IFREG | 0400, .feature = FACTS_CONSOLE_READ_ONLY,
	  .stream = console_stream, .ops = &stream_ops },
	{ .name = "console.follow", .mode = S_IFREG | 0400, .feature = POOLFS_FEATURE_CONSOLE,
	  .stream = console_stream, .flags = CONTROL_WAITS | CONTROL_UNLISTED, .ops = &stream_ops },
	{ .name = "ctl", .mode = S_IFREG | 0600, .show = ctl_show, .store = ctl_store,
	  .hidden = ctl_hidden },
	{ .name = "crash", .mode = S_IFREG | 0400, .feature = POOLFS_FEATURE_CONSOLE,
	  .stream = crash_stream, .ops = &stream_ops },
	{ .name = "crashes", .mode = S_IFDIR | 0700, .feature = POOLFS_FEATURE_CONSOLE,
	  .at = crashes_at },
	{ .name = "log", .mode = S_IFREG | 0400, .stream = log_stream, .ops = &stream_ops },
	{ 0 }
};
