/* SPDX-License-Identifier: MIT */
/* An instance's runs, and the instance as the directory that holds them. */
#include "fs/instance.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/base/memory.h"


/* Whether a command would be taken. */
int instance_takes_runs(struct instance *instance)
{
	const struct poolfs_values *values = pool_config(instance->pool)->values;

	if (!instance_is_there(instance))
		return -EHOSTDOWN;
	if (instance->unfinished >= poolfs_number(values, "queue_limit"))
		return -EAGAIN;
	return 0;
}

/* `last` is the newest of the runs that are left. */
static void find_last(struct instance *instance)
{
	struct run *run, *newest = NULL;

	TAILQ_FOREACH(run, &instance->runs, entry)
		if (run->submitted && (!newest || run->order > newest->order))
			newest = run;
	snprintf(instance->last, sizeof(instance->last), "%s", newest ? newest->name : "");
}

/* Forgets a run's files. Those that are open are prepared before they go. */
static void forget_spools(struct instance *instance, struct run *run)
{
	run_hold(run);
	if (run->submitted)
		shim_send(instance->shim, FRAME_RUN_FORGET, run->id, NULL, 0);
	run_remove(run);
}

/* Forgets a run: on both sides, and in the tree. It waits for a transcript that somebody is reading. */
static void forget(struct instance *instance, struct run *run)
{
	TAILQ_REMOVE(&instance->runs, run, entry);
	if (run->submitted && !run_ended(run))
		instance->unfinished--;
	if (run_wants_transcript(run)) {
		run_stop(run);
		run_leave(run);
		TAILQ_INSERT_TAIL(&instance->leaving, run, entry);
	} else {
		forget_spools(instance, run);
	}
}

/* A spool of a run moved on that leaves; when its transcript is there, it goes. */
bool instance_told_leaving(struct instance *instance, uint64_t id, const struct frame_spool *notice)
{
	struct run *run;

	TAILQ_FOREACH(run, &instance->leaving, entry)
		if (run->id == id)
			break;
	if (!run)
		return true;
	bool sane = run_told_spool(run, notice);
	if (!run_wants_transcript(run)) {
		TAILQ_REMOVE(&instance->leaving, run, entry);
		forget_spools(instance, run);
	}
	return sane;
}

/* Forgets the oldest finished numbered runs beyond runs_kept. */
static void forget_old(struct instance *instance)
{
	int64_t keep = poolfs_number(pool_config(instance->pool)->values, "runs_kept");
	struct run *run = TAILQ_FIRST(&instance->runs);

	while (run && instance->finished_numbered > keep) {
		struct run *next = TAILQ_NEXT(run, entry);

		if (!run->named && run_ended(run) && strcmp(run->name, instance->last) != 0) {
			instance->finished_numbered--;
			forget(instance, run);
		}
		run = next;
	}
}

/* Counts a run's end. */
static void count_end(struct instance *instance, struct run *run)
{
	instance->unfinished--;
	if (!run->named)
		instance->finished_numbered++;
}

/* A run is lost, because its machine is gone. */
static void lose(struct instance *instance, struct run *run)
{
	bool counted = run->submitted && !run_ended(run);

	run_lost(run);
	if (counted)
		count_end(instance, run);
}

/* Ends every run that has not ended, or those that the shim does not know of. */
void instance_lose_runs(struct instance *instance, bool submitted)
{
	struct run *run;

	TAILQ_FOREACH(run, &instance->runs, entry)
		if (submitted || !run->submitted)
			lose(instance, run);
	if (!submitted)
		return;
	TAILQ_FOREACH(run, &instance->runs, entry)
		run_miss_transcript(run);
	TAILQ_FOREACH(run, &instance->leaving, entry)
		run_miss_transcript(run);
}

/* Starts a run. Its text was taken by a write, so nothing is refused here: when the machine ended
 * since then the run is lost, which its reader is told. */
void instance_submit(struct instance *instance, struct run *run, const void *text, size_t size)
{
	instance->unfinished++;
	run->order = ++instance->submissions;
	snprintf(instance->last, sizeof(instance->last), "%s", run->name);
	run_submit(run, text, size);
	if (!instance_is_there(instance))
		lose(instance, run);
}

/* Makes and starts a numbered run. */
int instance_run(struct instance *instance, const void *text, size_t size, struct run **out)
{
	char name[24];
	struct run *run;

	snprintf(name, sizeof(name), "%llu", (unsigned long long)instance->next_number);
	int result = run_new(instance, name, false, instance->next_run, &run);
	if (result < 0)
		return result;
	instance->next_number++;
	instance->next_run++;
	TAILQ_INSERT_TAIL(&instance->runs, run, entry);
	instance_submit(instance, run, text, size);
	*out = run;
	return 0;
}

/* Counts; the shim told it. */
void instance_run_ended(struct instance *instance, struct run *run)
{
	count_end(instance, run);
	if (!run->named)
		forget_old(instance);
}

/* The instance goes: so do its runs. */
void instance_remove_runs(struct instance *instance)
{
	struct run *run;

	TAILQ_CONCAT(&instance->runs, &instance->leaving, entry);
	while ((run = TAILQ_FIRST(&instance->runs))) {
		TAILQ_REMOVE(&instance->runs, run, entry);
		run_hold(run);
		run_remove(run);
	}
}

/* directory.child: a run by name */
static struct object *instance_child(struct object *object, const char *name)
{
	struct instance *instance = container_of(object, struct instance, object);
	struct run *run;

	TAILQ_FOREACH(run, &instance->runs, entry)
		if (strcmp(run->name, name) == 0)
			return &run->object;
	return NULL;
}

/* directory.each */
static void instance_each(struct object *object, directory_add *add, void *data)
{
	struct instance *instance = container_of(object, struct instance, object);
	struct run *run;

	TAILQ_FOREACH(run, &instance->runs, entry)
		add(data, run->name, &run->object);
}

/* directory.mkdir: a run with a name of one's own. Numbers are ours to give. */
static int instance_mkdir(struct object *object, const char *name, const struct request *request,
	struct object **child)
{
	struct instance *instance = container_of(object, struct instance, object);
	struct run *run;

	if (instance_child(object, name))
		return -EEXIST;
	if (!text_is_name(name) || strspn(name, "0123456789") == strlen(name))
		return -EINVAL;
	int result = instance_takes_runs(instance);
	if (result == 0)
		result = run_new(instance, name, true, instance->next_run, &run);
	if (result < 0)
		return result;
	instance->next_run++;
	TAILQ_INSERT_TAIL(&instance->runs, run, entry);
	*child = &run->object;
	return 0;
}

/* directory.rmdir: stops and forgets a run */
static int instance_rmdir(struct object *object, const char *name)
{
	struct instance *instance = container_of(object, struct instance, object);
	struct object *child = instance_child(object, name);

	if (!child)
		return -ENOENT;
	struct run *run = container_of(child, struct run, object);
	bool last = strcmp(run->name, instance->last) == 0;

	if (!run->named && run_ended(run))
		instance->finished_numbered--;
	forget(instance, run);
	if (last)
		find_last(instance);
	return 0;
}

/* directory.stat: it belongs to who made it, and to nobody else */
static void instance_stat(struct object *object, struct stat *stat)
{
	struct instance *instance = container_of(object, struct instance, object);

	stat->st_mode = S_IFDIR | 0700;
	stat->st_uid = instance->uid;
	stat->st_gid = instance->gid;
	stat->st_atim = stat->st_mtim = instance->changed;
	stat->st_ctim = instance->created;
}

/* directory.features */
static uint32_t instance_features(struct object *object)
{
	struct instance *instance = container_of(object, struct instance, object);

	return pool_config(instance->pool)->facts.features;
}

const struct directory instance_directory = {
	.controls = instance_controls,
	.children_in = "runs",
	.stat = instance_stat,
	.child = instance_child,
	.each = instance_each,
	.mkdir = instance_mkdir,
	.rmdir = instance_rmdir,
	.features = instance_features,
};
