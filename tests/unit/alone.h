/* SPDX-License-Identifier: MIT */
/*
 * A tree of one pool, `web`, with one instance, `a`, whose shim is a stand-in: what it is sent
 * goes to shim_told of the test. For one test program; all is static.
 */
#ifndef UNIT_ALONE_H
#define UNIT_ALONE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "backends/base/values.h"
#include "backends/kinds.h"
#include "fs/instance.h"
#include "fs/mount.h"
#include "fs/tree.h"
#include "tests/unit/record.h"

struct shim {
	const struct shim_events *events;
	struct instance *instance;
	struct text told;	/* what shim_told keeps */
};

static struct shim *the_shim;
/* The instance's directory; a test may choose another one before alone_set_up. */
static const char *shim_directory = "/tmp";

/* A frame was sent; the test defines it. */
static void shim_told(struct shim *shim, enum frame_type type, const void *data, size_t size);

int shim_new(struct mount *mount, struct instance *instance, const struct shim_events *events,
	struct shim **shim)
{
	the_shim = *shim = memory_new(sizeof(**shim));
	the_shim->events = events;
	the_shim->instance = instance;
	instance->directory = open(shim_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

void shim_send(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	shim_told(shim, type, data, size);
}

void shim_send_parts(struct shim *shim, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count)
{
}

void shim_send_late(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
}

void shim_hold(struct shim *shim, uint64_t number)
{
}

void shim_settled(struct shim *shim, uint64_t oldest)
{
}

char *shim_slots(const struct shim *shim)
{
	return NULL;
}

size_t shim_queued(const struct shim *shim)
{
	return 0;
}

void shim_stop(struct shim *shim)
{
	shim->events->gone(shim->instance);
	text_done(&shim->told);
	free(shim);
}

static uv_loop_t loop;
static struct mount *mount;
static struct config config;
static struct config_pool pool_section;
static const struct poolfs_key *const no_tables[] = { NULL };
static const struct poolfs_kind kind = { .name = "test", .tables = no_tables };
static const struct poolfs_key **tables;

/* A key of the pool that is not to have its default. */
struct setting {
	const char *key, *value;
};

/* Looks a name up, which must be there. */
static uint64_t look(uint64_t parent, const char *name)
{
	struct record record;

	tree_lookup(record_new(&record), parent, name);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.error, 0);
	return record.entry.node;
}

/* Makes a directory, which must work; its node. */
static uint64_t make(uint64_t parent, const char *name)
{
	struct record record;

	tree_mkdir(record_new(&record), parent, name, 0777);
	assert_int_equal(record.error, 0);
	return record.entry.node;
}

/* Makes the tree. settings end with one without key. Returns the instance's node. */
static uint64_t alone_set_up(const struct setting *settings)
{
	struct mount plan = { .loop = &loop, .config = &config, .mount_point = "/mnt" };
	struct poolfs_err err;

	log_open(false, LOG_LEVEL_ERROR);
	uv_loop_init(&loop);
	tables = kinds_tables(&kind);
	pool_section = (struct config_pool){ .name = (char *)"web", .kind = &kind,
		.facts = { .features = POOLFS_FEATURE_COMMANDS | POOLFS_FEATURE_FILES } };
	pool_section.values = values_new(tables);
	for (; settings->key; settings++)
		assert_int_equal(values_set(pool_section.values, settings->key, settings->value, "/", &err), 0);
	values_defaults(pool_section.values, "/");
	config = (struct config){ .pools = &pool_section, .pool_count = 1 };
	mount = mount_new(&plan);
	return make(look(1, "web"), "a");
}

/* Ends it. */
static int alone_tear_down(void)
{
	mount_stop(mount);
	tree_close_all();
	mount_free(mount);
	object_table_free();
	values_free(pool_section.values);
	free(tables);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

#endif
