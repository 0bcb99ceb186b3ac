/* SPDX-License-Identifier: MIT */
#include "fs/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <unistd.h>

#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "backends/base/values.h"
#include "backends/protocol/states.h"
#include "fs/instance.h"
#include "fs/jsontext.h"

/* For what an instance removes from a machine that goes on, in milliseconds. */
#define LEAVE_MS 5000

struct pool {
	struct object object;
	struct mount *mount;		/* referenced */
	const struct config_pool *config;
	struct targets *targets;	/* NULL: its machines are made */
	struct instance_list instances;	/* by the order of their mkdir */
	unsigned count;
	unsigned boots;			/* that ended well */
	unsigned boot_failures;
	unsigned failures_in_a_row;	/* since the last boot that ended well */
	char *last_failure;		/* "NAME: reason" */
};

/* The pool of an object of that type. */
static struct pool *pool_of(struct object *object)
{
	return container_of(object, struct pool, object);
}

/* pool.type */
static void type_show(struct object *object, struct text *text)
{
	text_printf(text, "%s\n", pool_of(object)->config->kind->name);
}

/* How many instances there may be: as many as machines, where these are lent. */
static unsigned limit_of(const struct pool *pool)
{
	return pool->targets ? (unsigned)targets_count(pool->targets)
			     : (unsigned)poolfs_number(pool->config->values, "count");
}

/* pool.count: how many instances there may be */
static void count_show(struct object *object, struct text *text)
{
	text_printf(text, "%u\n", limit_of(pool_of(object)));
}

/* pool.status: counts per state, and what went wrong last */
static void status_show(struct object *object, struct text *text)
{
	struct pool *pool = pool_of(object);
	unsigned counts[INSTANCE_STATES] = { 0 };
	struct instance *instance;
	char clean[512];

	TAILQ_FOREACH(instance, &pool->instances, entry)
		counts[instance->state]++;
	text_printf(text, "instances %u\n", pool->count);
	for (unsigned i = 0; i < INSTANCE_STATES; i++)
		if (i != INSTANCE_CLOSING)
			text_printf(text, "%s %u\n", states_name(i), counts[i]);
	text_printf(text, "boots %u\n", pool->boots);
	text_printf(text, "boot_failures %u\n", pool->boot_failures);
	text_printf(text, "boot_failures_in_a_row %u\n", pool->failures_in_a_row);
	if (pool->last_failure) {
		text_escape(clean, sizeof(clean), pool->last_failure);
		text_printf(text, "last_failure %s\n", clean);
	}
	if (pool->targets)
		targets_show(pool->targets, text);
}

/* One line of pool.config. */
static void config_line(void *data, const struct poolfs_key *key, const char *value)
{
	struct text *text = data;
	char clean[4096];

	if (!value)
		return;
	text_escape(clean, sizeof(clean), key->flags & POOLFS_KEY_SECRET ? "(secret)" : value);
	text_printf(text, "%s = %s\n", key->name, clean);
}

/* pool.config: every key with its value in force */
static void config_show(struct object *object, struct text *text)
{
	values_each(pool_of(object)->config->values, config_line, text);
}

/* With allow_other everybody may make instances of their own, as in /tmp. */
static void pool_stat(struct object *object, struct stat *stat)
{
	struct mount *mount = pool_of(object)->mount;

	stat->st_mode = S_IFDIR | (mount->allow_other ? 01777 : 0755);
	stat->st_uid = getuid();
	stat->st_gid = getgid();
	stat->st_atim = stat->st_mtim = stat->st_ctim = mount->started;
}

/* An instance by name. */
static struct instance *find(struct pool *pool, const char *name)
{
	struct instance *instance;

	TAILQ_FOREACH(instance, &pool->instances, entry)
		if (strcmp(instance->name, name) == 0)
			return instance;
	return NULL;
}

/* directory.child */
static struct object *pool_child(struct object *object, const char *name)
{
	struct instance *instance = find(pool_of(object), name);

	return instance ? &instance->object : NULL;
}

/* directory.each */
static void pool_each(struct object *object, directory_add *add, void *data)
{
	struct instance *instance;

	TAILQ_FOREACH(instance, &pool_of(object)->instances, entry)
		add(data, instance->name, &instance->object);
}

/* Finds a place for one more instance: the number of its machine, 0 where machines are made, or
 * -ENOSPC, whose reason is an event. */
static int reserve(struct pool *pool, const char *name)
{
	char holder[2 * TEXT_NAME_MAX + 2];
	struct poolfs_err err = { "" };
	int result = 0;

	snprintf(holder, sizeof(holder), "%s/%s", pool_name(pool), name);
	if (pool->targets)
		result = targets_take(pool->targets, name, holder, &err);
	else if (pool->count >= limit_of(pool))
		result = poolfs_err_set(&err, -ENOSPC, "the pool is full: there are %u", pool->count);
	if (result < 0)
		mount_event(pool->mount, pool_name(pool), "mkdir %s: %s", name, err.text);
	return result;
}

/* mkdir: reserves the name and a place; the boot goes on in the background. */
static int pool_mkdir(struct object *object, const char *name, const struct request *request,
	struct object **child)
{
	struct pool *pool = pool_of(object);
	struct instance *instance;

	if (find(pool, name) || control_lookup(object, name))
		return -EEXIST;
	if (!text_is_name(name) || strncmp(name, "pool.", 5) == 0)
		return -EINVAL;
	int target = reserve(pool, name);
	if (target < 0)
		return target;
	int result = instance_new(pool, name, target, request, &instance);
	if (result < 0) {
		pool_give_back(pool, target, NULL);
		return result;
	}
	TAILQ_INSERT_TAIL(&pool->instances, instance, entry);
	pool->count++;
	*child = &instance->object;
	return 0;
}

/* Takes an instance's name away and destroys it in the background. */
void pool_drop(struct pool *pool, struct instance *instance)
{
	TAILQ_REMOVE(&pool->instances, instance, entry);
	pool->count--;
	instance_close(instance);
}

/* Takes a machine back. */
void pool_give_back(struct pool *pool, int target, const char *bad)
{
	if (!pool->targets)
		return;
	if (bad)
		mount_event(pool->mount, pool_name(pool), "%s is not lent any more: %s",
			targets_word(pool->targets, target), bad);
	targets_give_back(pool->targets, target, bad);
}

/* The value of a key that not every kind has, or NULL. */
static const char *text_of(const struct pool *pool, const char *key)
{
	const struct poolfs_values *values = pool->config->values;

	return values_key(values, key) ? poolfs_string(values, key) : NULL;
}

/* Whether reset is set. */
bool pool_resets(const struct pool *pool)
{
	return text_of(pool, "reset") != NULL;
}

/* The time that leaving may take. */
uint64_t pool_leave_ms(const struct pool *pool)
{
	const struct poolfs_values *values = pool->config->values;
	const char *stop = pool->config->kind->stop_limit;
	uint64_t limit = stop ? (uint64_t)poolfs_number(values, stop) : 0;

	if (!values_key(values, "reset"))
		return limit;
	return limit + (pool_resets(pool) ? (uint64_t)poolfs_number(values, "reset_timeout") : LEAVE_MS);
}

/* The machine's word. */
const char *pool_target(const struct pool *pool, int target)
{
	return pool->targets ? targets_word(pool->targets, target) : NULL;
}

/* rmdir */
static int pool_rmdir(struct object *object, const char *name)
{
	struct pool *pool = pool_of(object);
	struct instance *instance = find(pool, name);

	if (!instance)
		return control_lookup(object, name) ? -ENOTDIR : -ENOENT;
	pool_drop(pool, instance);
	return 0;
}

/* A pool's directory has no features. */
static uint32_t pool_features(struct object *object)
{
	return 0;
}

static const struct control pool_controls[] = {
	{ .name = "pool.type", .mode = S_IFREG | 0444, .show = type_show },
	{ .name = "pool.count", .mode = S_IFREG | 0444, .show = count_show },
	{ .name = "pool.status", .mode = S_IFREG | 0444, .show = status_show },
	{ .name = "pool.config", .mode = S_IFREG | 0444, .show = config_show },
	{ 0 }
};

const struct directory pool_directory = {
	.controls = pool_controls,
	.stat = pool_stat,
	.child = pool_child,
	.each = pool_each,
	.mkdir = pool_mkdir,
	.rmdir = pool_rmdir,
	.features = pool_features,
};

/* The last reference went. */
static void pool_free(struct object *object)
{
	struct pool *pool = pool_of(object);

	free(pool->last_failure);
	targets_free(pool->targets);
	object_unref(&pool->mount->object);
	free(pool);
}

/* Makes a pool. */
struct pool *pool_new(struct mount *mount, const struct config_pool *config)
{
	struct pool *pool = memory_new(sizeof(*pool));

	object_init(&pool->object, OBJECT_POOL, pool_free);
	object_ref(&mount->object);
	pool->mount = mount;
	pool->config = config;
	pool->targets = targets_new(&mount->machines, config);
	TAILQ_INIT(&pool->instances);
	return pool;
}

/* Drops every instance. */
void pool_stop(struct pool *pool)
{
	struct instance *instance;

	while ((instance = TAILQ_FIRST(&pool->instances)))
		pool_drop(pool, instance);
}

/* The pool as an object. */
struct object *pool_object(struct pool *pool)
{
	return &pool->object;
}

/* The section's name. */
const char *pool_name(const struct pool *pool)
{
	return pool->config->name;
}

/* The mount it is in. */
struct mount *pool_mount(const struct pool *pool)
{
	return pool->mount;
}

/* Its section. */
const struct config_pool *pool_config(const struct pool *pool)
{
	return pool->config;
}

/* One line for each instance, or one that says there is none; and one about boots that fail. */
void pool_status_rows(struct pool *pool, struct text *text)
{
	struct instance *instance;
	char clean[512];

	if (TAILQ_EMPTY(&pool->instances))
		text_printf(text, "%s/ (%s, none of %u)\n", pool_name(pool), pool->config->kind->name,
			limit_of(pool));
	TAILQ_FOREACH(instance, &pool->instances, entry)
		instance_status_row(instance, text);
	if (pool->failures_in_a_row == 0)
		return;
	text_escape(clean, sizeof(clean), pool->last_failure);
	text_printf(text, "%s/ (boots that failed in a row: %u; the last: %s)\n", pool_name(pool),
		pool->failures_in_a_row, clean);
}

/* For status.json. */
json_t *pool_json(struct pool *pool)
{
	json_t *instances = json_array();
	struct instance *instance;

	TAILQ_FOREACH(instance, &pool->instances, entry)
		json_array_append_new(instances, instance_json(instance));
	return json_pack("{s:s, s:s, s:I, s:i, s:i, s:i, s:o, s:o}", "name", pool_name(pool),
		"type", pool->config->kind->name, "count",
		(json_int_t)limit_of(pool), "boots", (int)pool->boots,
		"boot_failures", (int)pool->boot_failures, "boot_failures_in_a_row",
		(int)pool->failures_in_a_row, "last_failure", jsontext(pool->last_failure),
		"instances", instances);
}

/* Counts a boot that ended well. */
void pool_booted(struct pool *pool)
{
	pool->boots++;
	pool->failures_in_a_row = 0;
}

/* Counts and remembers a failed boot. */
void pool_boot_failed(struct pool *pool, const char *instance, const char *reason)
{
	pool->boot_failures++;
	pool->failures_in_a_row++;
	free(pool->last_failure);
	pool->last_failure = memory_format("%s: %.*s", instance, (int)strcspn(reason, "\n"), reason);
}
