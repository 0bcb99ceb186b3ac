/* SPDX-License-Identifier: MIT */
/*
 * Kinds of machines for tests, in place of backends/kinds.c: keys of each type and
 * with each flag, which stay as they are when the real kinds change.
 */
#include "backends/kinds.h"

#include <errno.h>
#include <string.h>

#include "backends/base/memory.h"

static const char *const speeds[] = { "slow", "fast", NULL };

static const struct poolfs_key machine_keys[] = {
	{ .name = "image", .type = POOLFS_PATH, .flags = POOLFS_KEY_REQUIRED | POOLFS_KEY_EXISTS,
	  .help = "The disk." },
	{ .name = "kernel", .type = POOLFS_PATH, .flags = POOLFS_KEY_EXISTS,
	  .help = "The kernel." },
	{ .name = "initrd", .type = POOLFS_PATH, .help = "What the kernel finds first, so long a "
	  "sentence that it does not fit into one line of eighty columns." },
	{ .name = "memory", .type = POOLFS_SIZE, .fallback = "1G", .min = 16 << 20,
	  .max = 1LL << 40, .help = "Memory." },
	{ .name = "delay", .type = POOLFS_SECONDS, .fallback = "1.5", .min = 100, .max = 60000,
	  .help = "A delay." },
	{ .name = "speed", .type = POOLFS_CHOICE, .fallback = "slow", .choices = speeds,
	  .help = "A speed." },
	{ .name = "program", .type = POOLFS_PROGRAM, .flags = POOLFS_KEY_EXISTS, .fallback = "sh",
	  .help = "A program." },
	{ .name = "args", .type = POOLFS_WORDS, .help = "Arguments." },
	{ .name = "network", .type = POOLFS_BOOL, .fallback = "no", .help = "A network." },
	{ 0 }
};
static const struct poolfs_key login_keys[] = {
	{ .name = "user", .type = POOLFS_STRING, .fallback = "root", .help = "A user." },
	{ .name = "password", .type = POOLFS_STRING, .flags = POOLFS_KEY_SECRET,
	  .help = "A password." },
	{ 0 }
};
static const struct poolfs_key *const machine_tables[] = { machine_keys, login_keys, NULL };
static const struct poolfs_key *const no_tables[] = { NULL };

/* Two keys that go together. */
static int machine_check(const struct poolfs_values *values, struct poolfs_err *err)
{
	if (poolfs_has(values, "initrd") && !poolfs_has(values, "kernel"))
		return poolfs_err_set(err, -EINVAL, "initrd: needs a kernel: write "
			"\"kernel = ...\"");
	return 0;
}

static const struct poolfs_kind machine_kind = {
	.abi = POOLFS_ABI, .size = sizeof(struct poolfs_kind),
	.name = "machine", .summary = "a machine for tests",
	.tables = machine_tables, .check = machine_check, .transport = "none",
};
static const struct poolfs_kind bare_kind = {
	.abi = POOLFS_ABI, .size = sizeof(struct poolfs_kind),
	.name = "bare", .summary = "a machine without keys of its own",
	.tables = no_tables, .transport = "none",
};

const struct poolfs_kind *const kinds_all[] = { &machine_kind, &bare_kind, NULL };

const struct poolfs_key kinds_pool_keys[] = {
	{ .name = "type", .type = POOLFS_STRING, .flags = POOLFS_KEY_REQUIRED,
	  .help = "The kind." },
	{ .name = "count", .type = POOLFS_INT, .fallback = "16", .min = 1, .max = 100,
	  .help = "How many." },
	{ 0 }
};

const struct poolfs_kind *kinds_find(const char *name)
{
	for (size_t i = 0; kinds_all[i]; i++)
		if (strcmp(kinds_all[i]->name, name) == 0)
			return kinds_all[i];
	return NULL;
}

int kinds_check(const struct poolfs_kind *kind, const struct poolfs_values *values,
	struct poolfs_err *err)
{
	return kind->check ? kind->check(values, err) : 0;
}

const struct poolfs_key **kinds_tables(const struct poolfs_kind *kind)
{
	const struct poolfs_key **tables = memory_new(4 * sizeof(*tables));

	tables[0] = kinds_pool_keys;
	for (size_t i = 0; kind->tables[i]; i++)
		tables[i + 1] = kind->tables[i];
	return tables;
}
