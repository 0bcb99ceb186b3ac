/* SPDX-License-Identifier: MIT */
#include "backends/shim/crashes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/protocol/spool.h"
#include "backends/shim/shim.h"

/* A class above all others: nothing makes the instance crashed. */
#define NO_CLASS (CRASH_FATAL + 1)
#define SPOOL_MIN 4096u

/* The key crash_on. */
static const struct {
	const char *word;
	int least;
} levels[] = {
	{ "any", CRASH_REPORT },
	{ "fatal", CRASH_FATAL },
	{ "never", NO_CLASS },
};

static const char *const class_names[] = { [CRASH_REPORT] = "report", [CRASH_FATAL] = "fatal" };

/* Tells the daemon of one report. */
static void tell(struct shim *shim, unsigned index)
{
	const struct crash *crash = &shim->crashes.kept[index];
	struct frame_crash frame = { .size = crash->size, .fatal = crash->class == CRASH_FATAL };

	daemon_send(shim, FRAME_CRASH, index + 1, &frame, sizeof(frame), crash->title,
		strlen(crash->title));
}

/* Writes a report: title, empty line, text. Returns its size, or a negative errno. */
static int64_t write_report(struct shim *shim, unsigned number, const struct scan_report *report)
{
	struct spool_writer *writer;
	char name[32];
	char *head = memory_format("%s\n\n", report->title);
	uint64_t size = strlen(head) + report->size;

	snprintf(name, sizeof(name), "crash.%u", number);
	int result = spool_writer_new(shim->dirfd, name, size < SPOOL_MIN ? SPOOL_MIN : size, 0,
		&writer);
	if (result == 0) {
		result = spool_append(writer, head, strlen(head));
		if (result == 0)
			result = spool_append(writer, report->text, report->size);
		spool_writer_free(writer);
	}
	free(head);
	return result < 0 ? result : (int64_t)size;
}

/* Whether a report of this class makes the instance crashed. During the boot, one that the kernel
 * goes on after does not. */
static bool counts(const struct shim *shim, enum crash_class class)
{
	return (int)class >= shim->crashes.least &&
		(class == CRASH_FATAL || shim->life.state != INSTANCE_BOOTING);
}

/* Keeps a report open that the machine is to be asked for more. */
static void hold(struct shim *shim)
{
	struct crashes *crashes = &shim->crashes;

	if (crashes->keys && crashes->fatal)
		scan_hold(crashes->scan);
}

/* A report begins. */
static void on_opened(void *data, enum crash_class class)
{
	struct shim *shim = data;
	struct crashes *crashes = &shim->crashes;

	crashes->fatal = counts(shim, class);
	crashes->asked = false;
	crashes->opened = uv_now(shim->loop);
	hold(shim);
}

/* It became worse. */
static void on_worse(void *data)
{
	struct shim *shim = data;

	shim->crashes.fatal = counts(shim, CRASH_FATAL);
	hold(shim);
}

/* Asks the machine for more, once for each report. */
static bool ask(struct shim *shim)
{
	struct crashes *crashes = &shim->crashes;

	if (!crashes->keys || !crashes->fatal || crashes->asked)
		return false;
	crashes->asked = true;
	crashes->opened = uv_now(shim->loop);
	for (const char *key = crashes->keys; *key; key++)
		life_sysrq(shim, *key);
	return true;
}

/* A report is complete. */
static void on_report(void *data, const struct scan_report *report)
{
	struct shim *shim = data;
	struct crashes *crashes = &shim->crashes;
	unsigned index = crashes->count;

	uv_timer_stop(&crashes->quiet);
	if (index < PROTOCOL_CRASHES_MAX) {
		int64_t size = write_report(shim, index + 1, report);
		if (size < 0)
			journal_printf(shim, "crash %u: its report is lost: %s", index + 1,
				strerror((int)-size));
		crashes->kept[index] = (struct crash){ .title = memory_string(report->title),
			.size = size < 0 ? 0 : (uint64_t)size, .class = report->class };
		crashes->count++;
		journal_printf(shim, "crash %u (%s): %s", index + 1, class_names[report->class],
			report->title);
		tell(shim, index);
	}
	if (crashes->fatal)
		life_crashed(shim, report->title);
	crashes->fatal = false;
}

static const struct scan_events scan_events = { on_opened, on_worse, on_report };

/* Prepares. */
void crashes_init(struct shim *shim)
{
	struct crashes *crashes = &shim->crashes;
	const char *word = poolfs_string(shim->setup.values, "crash_on");

	uv_timer_init(shim->loop, &crashes->quiet);
	crashes->quiet.data = shim;
	crashes->least = NO_CLASS;
	crashes->keys = poolfs_string(shim->setup.values, "on_crash_sysrq");
	for (size_t i = 0; word && i < sizeof(levels) / sizeof(*levels); i++)
		if (strcmp(levels[i].word, word) == 0)
			crashes->least = levels[i].least;
	if (shim->setup.patterns)
		crashes->scan = scan_new(shim->setup.patterns, &scan_events, shim);
}

/* Nothing more is looked for: so many reports say enough. */
static void stop_when_full(struct shim *shim)
{
	struct crashes *crashes = &shim->crashes;

	if (crashes->count < PROTOCOL_CRASHES_MAX || scan_is_open(crashes->scan))
		return;
	journal_printf(shim, "the console is not looked at any more: there are %u reports of crashes",
		crashes->count);
	scan_free(crashes->scan);
	crashes->scan = NULL;
}

static void wait_quiet(struct shim *shim);

/* The console is quiet, or the report is open for too long. */
static void on_quiet(uv_timer_t *timer)
{
	struct shim *shim = timer->data;

	if (ask(shim)) {
		wait_quiet(shim);
		return;
	}
	scan_close(shim->crashes.scan);
	stop_when_full(shim);
}

/* Gives an open report so long as it may take without another byte. */
static void wait_quiet(struct shim *shim)
{
	struct crashes *crashes = &shim->crashes;
	uint64_t wait = scan_is_ending(crashes->scan) ? CRASHES_ENDING_MS : CRASHES_QUIET_MS;

	uv_update_time(shim->loop);
	uint64_t took = uv_now(shim->loop) - crashes->opened;
	uint64_t left = took < CRASHES_OPEN_MS ? CRASHES_OPEN_MS - took : 0;
	uv_timer_start(&crashes->quiet, on_quiet, wait < left ? wait : left, 0);
}

/* Looks at output. */
void crashes_feed(struct shim *shim, const void *data, size_t size)
{
	struct crashes *crashes = &shim->crashes;

	if (!crashes->scan)
		return;
	scan_feed(crashes->scan, data, size);
	if (scan_is_open(crashes->scan))
		wait_quiet(shim);
	else
		stop_when_full(shim);
}

/* The console is at its end. */
void crashes_end(struct shim *shim)
{
	if (shim->crashes.scan)
		scan_end(shim->crashes.scan);
}

/* Whether the machine is about to be crashed. */
bool crashes_pending(const struct shim *shim)
{
	return shim->crashes.fatal;
}

/* A new daemon. */
void crashes_tell_all(struct shim *shim)
{
	for (unsigned i = 0; i < shim->crashes.count; i++)
		tell(shim, i);
}

/* Frees. */
void crashes_close(struct shim *shim)
{
	struct crashes *crashes = &shim->crashes;

	uv_close((uv_handle_t *)&crashes->quiet, NULL);
	scan_free(crashes->scan);
	crashes->scan = NULL;
	for (unsigned i = 0; i < crashes->count; i++)
		free(crashes->kept[i].title);
	crashes->count = 0;
}
