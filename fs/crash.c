/* SPDX-License-Identifier: MIT */
#include "fs/crash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "backends/base/memory.h"
#include "fs/instance.h"

struct crash {
	struct object object;
	TAILQ_ENTRY(crash) entry;	/* in its set */
	struct instance *instance;	/* referenced */
	char name[8];			/* the number */
	struct spooled report;
};

struct crash_set {
	struct object object;
	struct instance *instance;	/* referenced */
	TAILQ_HEAD(, crash) crashes;
};

/* The set of an object of that type. */
static struct crash_set *set_of(struct object *object)
{
	return container_of(object, struct crash_set, object);
}

/* The crash of an object of that type. */
static struct crash *crash_of(struct object *object)
{
	return container_of(object, struct crash, object);
}

/* The report. */
static struct stream *report_stream(struct object *object)
{
	return &crash_of(object)->report.stream;
}

/* It is opened. */
static int report_opened(struct handle *handle)
{
	spooled_use(&crash_of(handle->object)->report);
	return 0;
}

/* And closed. */
static void report_closed(struct handle *handle)
{
	spooled_unuse(&crash_of(handle->object)->report);
}

static const struct control_ops report_ops = { .open = report_opened, .release = report_closed };

/* Its one file, which is shown in crashes/ by the crash's number. */
static const struct control crash_controls[] = {
	{ "report", S_IFREG | 0400, .stream = report_stream, .ops = &report_ops },
	{ 0 }
};

/* Owner and times are the instance's. */
static void crash_stat(struct object *object, struct stat *stat)
{
	instance_directory.stat(&crash_of(object)->instance->object, stat);
}

/* Nothing depends on the kind of machine. */
static uint32_t crash_features(struct object *object)
{
	return 0;
}

const struct directory crash_directory = {
	.controls = crash_controls,
	.stat = crash_stat,
	.features = crash_features,
};

/* The last reference went. */
static void crash_free(struct object *object)
{
	struct crash *crash = crash_of(object);

	spooled_done(&crash->report);
	object_unref(&crash->instance->object);
	free(crash);
}

/* Makes the object of a new report. */
static int add(struct instance *instance, unsigned number, uint64_t size)
{
	struct crash *crash = memory_new(sizeof(*crash));
	char file[32];

	if (object_init(&crash->object, OBJECT_CRASH, crash_free) < 0) {
		free(crash);
		return -ENFILE;
	}
	crash->instance = instance;
	object_ref(&instance->object);
	snprintf(crash->name, sizeof(crash->name), "%u", number);
	snprintf(file, sizeof(file), "crash.%u", number);
	spooled_init(&crash->report, &instance->directory, file);
	stream_moved(&crash->report.stream, 0, size);
	stream_end(&crash->report.stream);
	TAILQ_INSERT_TAIL(&instance->crashes->crashes, crash, entry);
	return 0;
}

/* A report is complete. A daemon's number of objects is no fault of the shim's. */
int crash_told(struct instance *instance, uint64_t number, const void *payload, size_t size)
{
	const struct frame_crash *notice = payload;
	size_t length = size - sizeof(*notice);
	char title[PROTOCOL_TITLE_MAX + 1], clean[4 * PROTOCOL_TITLE_MAX + 1];

	if (number != instance->crash_count + 1 || number > PROTOCOL_CRASHES_MAX ||
		notice->size > PROTOCOL_CRASH_MAX || length > PROTOCOL_TITLE_MAX)
		return -EPROTO;
	snprintf(title, sizeof(title), "%.*s", (int)length, (const char *)(notice + 1));
	text_escape(clean, sizeof(clean), title);
	instance->crash_count++;
	if (number == 1)
		stream_moved(&instance->crash.stream, 0, notice->size);
	add(instance, (unsigned)number, notice->size);
	instance_crash_event(instance, (unsigned)number, clean);
	return 0;
}

/* A report by its number. */
static struct object *set_child(struct object *object, const char *name)
{
	struct crash *crash;

	TAILQ_FOREACH(crash, &set_of(object)->crashes, entry)
		if (strcmp(crash->name, name) == 0)
			return &crash->object;
	return NULL;
}

/* All reports. */
static void set_each(struct object *object, directory_add *each, void *data)
{
	struct crash *crash;

	TAILQ_FOREACH(crash, &set_of(object)->crashes, entry)
		each(data, crash->name, &crash->object);
}

/* As the instance. */
static void set_stat(struct object *object, struct stat *stat)
{
	instance_directory.stat(&set_of(object)->instance->object, stat);
}

/* There are no others than the reports. */
static const struct control set_controls[] = {
	{ 0 }
};

const struct directory crash_set_directory = {
	.controls = set_controls,
	.child_file = OBJECT_CONTROLS,
	.stat = set_stat,
	.child = set_child,
	.each = set_each,
};

/* The last reference went. */
static void set_free(struct object *object)
{
	object_unref(&set_of(object)->instance->object);
	free(set_of(object));
}

/* Makes a set. */
int crash_set_new(struct instance *instance, struct crash_set **out)
{
	struct crash_set *set = memory_new(sizeof(*set));

	if (object_init(&set->object, OBJECT_CRASHES, set_free) < 0) {
		free(set);
		return -ENFILE;
	}
	set->instance = instance;
	object_ref(&instance->object);
	TAILQ_INIT(&set->crashes);
	*out = set;
	return 0;
}

/* The names go; the shim's directory will. */
void crash_set_remove(struct crash_set *set)
{
	struct crash *crash;

	if (!set)
		return;
	while ((crash = TAILQ_FIRST(&set->crashes))) {
		TAILQ_REMOVE(&set->crashes, crash, entry);
		spooled_hold(&crash->report);
		object_remove(&crash->object);
		object_unref(&crash->object);
	}
	object_remove(&set->object);
	object_unref(&set->object);
}

/* The set as an object. */
struct object *crash_set_object(struct crash_set *set)
{
	return &set->object;
}
