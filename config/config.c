/* SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/notation.h"
#include "backends/base/text.h"
#include "backends/base/values.h"
#include "backends/kinds.h"
#include "backends/crash/patterns.h"
#include "backends/module/modules.h"
#include "config/complaints.h"
#include "config/mountpoint.h"
#include "config/sections.h"

/* The mount's own files, which a pool's directory would stand in the way of. */
static const char *const taken[] = { "README", "version", "status", "status.json", "events",
	"events.follow", NULL };

static const struct poolfs_key *const daemon_tables[] = { config_keys, NULL };
static const struct poolfs_key *const common_tables[] = { kinds_pool_keys, NULL };

/* So many keys of on_crash_sysrq at most. */
#define SYSRQ_MAX 16

/* A file on its way to a configuration. */
struct loader {
	struct config *config;
	struct modules *modules;
	bool lacking;		/* a module could not be added: kinds may be missing */
	struct sections sections;
	struct complaints complaints;
	char *mount;		/* resolved; NULL: no checks against it */
	char *directory;	/* that relative paths start from */
};

/* One section on its way to values. */
struct job {
	struct loader *loader;
	const struct section *section;
	const struct poolfs_kind *kind;	/* NULL: [poolfs], or unknown */
	bool lenient;			/* the kind is unknown, so its keys are too */
	struct poolfs_values *values;
	struct facts facts;		/* what the kind says of them */
};

/* Says that a key is none of the section's, and which one may have been meant. */
static void complain_unknown(struct job *job, const struct section_item *item)
{
	const char *similar = values_similar(job->values, item->key);
	struct complaints *complaints = &job->loader->complaints;

	if (job->lenient)
		return;
	if (similar)
		complaints_add(complaints, item->line, item->key,
			"there is no such key; did you mean %s?", similar);
	else if (job->kind)
		complaints_add(complaints, item->line, item->key, "there is no such key; poolfs "
			"--help-backend %s lists the keys", job->kind->name);
	else
		complaints_add(complaints, item->line, item->key, "there is no such key; [poolfs] "
			"takes workdir, allow_other, log_level and modules");
}

/* Whether a value that is taken as it is stands in quotes, as if they had a meaning. */
static bool is_quoted(const struct poolfs_key *key, const char *text)
{
	size_t length = strlen(text);

	return key && key->type != POOLFS_WORDS && key->type != POOLFS_COMMAND && length > 1 &&
		strchr("\"'", text[0]) && text[length - 1] == text[0];
}

/* Sets one key. */
static void set_item(struct job *job, const struct section_item *item)
{
	struct complaints *complaints = &job->loader->complaints;
	struct poolfs_err err;

	if (is_quoted(values_key(job->values, item->key), item->value)) {
		complaints_add(complaints, item->line, item->key,
			"the quotes would be part of the value: write it without them");
		return;
	}
	switch (values_set(job->values, item->key, item->value, job->loader->directory, &err)) {
	case 0:
		break;
	case -ENOENT:
		complain_unknown(job, item);
		break;
	case -EEXIST:
		complaints_add(complaints, item->line, item->key, "set before, in line %d: write "
			"it once", section_line(job->section, item->key));
		break;
	default:
		complaints_add(complaints, item->line, item->key, "%s%s", err.text,
			item->comment ? " (what follows \" ;\" is a comment)" : "");
	}
}

/* Whether the section sets the key, be it to a wrong value or in a wrong line. */
static bool may_be_written(const struct section *section, const char *key)
{
	if (section->incomplete)
		return true;
	for (size_t i = 0; i < section->count; i++)
		if (strcmp(section->items[i].key, key) == 0)
			return true;
	return false;
}

/* Checks a value against the world outside the file. */
static void check_value(void *data, const struct poolfs_key *key, const char *text)
{
	struct job *job = data;
	struct complaints *complaints = &job->loader->complaints;
	int line = section_line(job->section, key->name);
	const char *path = text && key->type == POOLFS_COMMAND ? poolfs_words(job->values, key->name)[0] : text;
	bool program = key->type == POOLFS_PROGRAM || key->type == POOLFS_COMMAND;
	bool file = key->type == POOLFS_PATH || (program && text && strchr(path, '/'));
	struct poolfs_err err;

	if (text && key->flags & POOLFS_KEY_SECRET && job->loader->sections.mode & 077)
		complaints_add(complaints, line, key->name, "a secret in a file that others may "
			"read: chmod 600 %s", job->loader->config->file);
	if (text && file && job->loader->mount && mountpoint_hides(job->loader->mount, path)) {
		complaints_add(complaints, line, key->name, "%s lies below the mount point, which "
			"hides it: move one of the two", path);
		return;
	}
	/* What could not be set was complained about already. */
	if (!text && may_be_written(job->section, key->name))
		return;
	if (values_check(job->values, key, &err) < 0)
		complaints_add(complaints, line, key->name, "%s", err.text);
}

/* Lets the kind look at all of its keys together. */
static void check_kind(struct job *job)
{
	struct poolfs_err err;
	char name[64];

	if (!job->kind || modules_facts(job->loader->modules, job->kind, job->values, &job->facts, &err) == 0)
		return;
	/* The text should begin with the key that is to be changed. */
	size_t length = strcspn(err.text, ": ");
	snprintf(name, sizeof(name), "%.*s", (int)length, err.text);
	complaints_add(&job->loader->complaints, section_line(job->section, name), NULL, "%s",
		err.text);
}

/* SysRq keys are digits and small letters, and few. */
static void check_sysrq(struct job *job)
{
	bool set = values_key(job->values, "on_crash_sysrq") &&
		poolfs_has(job->values, "on_crash_sysrq");
	const char *keys = set ? poolfs_string(job->values, "on_crash_sysrq") : "";
	const char *wrong = NULL;

	if (strspn(keys, "0123456789abcdefghijklmnopqrstuvwxyz") != strlen(keys))
		wrong = "SysRq keys are digits and small letters, as in \"wl\"";
	else if (strlen(keys) > SYSRQ_MAX)
		wrong = "these are too many keys; a few do, such as \"wl\"";
	else if (set && !(job->facts.features & POOLFS_FEATURE_SYSRQ))
		wrong = "this kind of machine takes no SysRq: leave the key out";
	if (wrong)
		complaints_add(&job->loader->complaints,
			section_line(job->section, "on_crash_sysrq"), "on_crash_sysrq", "%s", wrong);
}

/* Not every kind of machine can begin anew. */
static void check_reset(struct job *job)
{
	if (values_key(job->values, "on_crash") && poolfs_has(job->values, "on_crash") &&
		strcmp(poolfs_string(job->values, "on_crash"), "reset") == 0 &&
		!(job->facts.features & POOLFS_FEATURE_RESET))
		complaints_add(&job->loader->complaints, section_line(job->section, "on_crash"),
			"on_crash", "this kind of machine cannot be reset: choose keep or destroy");
}

/* Reads a pool's patterns, whose mistakes would else be met in every instance. */
static void check_patterns(struct job *job)
{
	bool set = values_key(job->values, "crash_patterns") &&
		poolfs_has(job->values, "crash_patterns");
	struct patterns *patterns = NULL;
	struct poolfs_err err;

	if (!set)
		return;
	char *fallback = patterns_default();
	if (patterns_load(poolfs_string(job->values, "crash_patterns"), fallback, &patterns,
		    &err) < 0)
		complaints_add(&job->loader->complaints,
			section_line(job->section, "crash_patterns"), "crash_patterns", "%s",
			err.text);
	free(fallback);
	patterns_free(patterns);
}

/* Turns a section's lines into checked values. */
static struct poolfs_values *read_values(struct job *job, const struct poolfs_key *const *tables)
{
	size_t before = job->loader->complaints.count;

	job->values = values_new(tables);
	for (size_t i = 0; i < job->section->count; i++)
		set_item(job, &job->section->items[i]);
	values_defaults(job->values, job->loader->directory);
	values_each(job->values, check_value, job);
	if (job->kind && job->loader->complaints.count == before)
		check_patterns(job);
	if (job->loader->complaints.count == before)
		check_kind(job);
	if (job->kind && job->loader->complaints.count == before) {
		check_sysrq(job);
		check_reset(job);
	}
	return job->values;
}

/* Writes the kinds' names, for a complaint; text_done it. */
static struct text kind_names(const struct modules *modules)
{
	const struct poolfs_kind *kind;
	struct text names = { 0 };

	for (size_t i = 0; (kind = modules_kind(modules, i)); i++)
		text_printf(&names, "%s%s", !i ? "" : modules_kind(modules, i + 1) ? ", " : " or ",
			kind->name);
	return names;
}

/* Finds a pool's kind; NULL: complained. */
static const struct poolfs_kind *pool_kind(struct loader *loader, const struct section *section)
{
	const struct poolfs_kind *kind = NULL;
	const char *type = NULL;
	struct text names = kind_names(loader->modules);

	for (size_t i = 0; i < section->count && !type; i++)
		if (strcmp(section->items[i].key, "type") == 0)
			type = section->items[i].value;
	if (!type && !section->incomplete)
		complaints_add(&loader->complaints, section->line, "type",
			"missing: write \"type = \" and the kind of machine, %s", names.data);
	else if (type && !(kind = modules_find(loader->modules, type)) && !loader->lacking)
		complaints_add(&loader->complaints, section_line(section, "type"), "type",
			"no kind of machine is called \"%s\": write %s", type, names.data);
	text_done(&names);
	return kind;
}

/* Frees one pool's parts. */
static void pool_done(struct config_pool *pool)
{
	values_free(pool->values);
	facts_done(&pool->facts);
	free(pool->name);
}

/* Reads a section [pool NAME]. */
static void read_pool(struct loader *loader, const struct section *section, const char *name)
{
	struct config *config = loader->config;
	struct job job = { .loader = loader, .section = section };
	struct config_pool pool = { .name = memory_string(name) };

	job.kind = pool.kind = pool_kind(loader, section);
	job.lenient = !pool.kind;
	if (pool.kind) {
		const struct poolfs_key **tables = kinds_tables(pool.kind);
		pool.values = read_values(&job, tables);
		pool.facts = job.facts;
		pool.module = modules_file(loader->modules, pool.kind);
		free(tables);
	} else {
		pool.values = values_new(common_tables);
		job.values = pool.values;
		for (size_t i = 0; i < section->count; i++)
			set_item(&job, &section->items[i]);
	}
	config->pools = memory_grow(config->pools,
		(config->pool_count + 1) * sizeof(*config->pools));
	config->pools[config->pool_count++] = pool;
}

/* Complains about a pool's name; false: it is a good one. */
static bool wrong_name(struct loader *loader, const struct section *section, const char *name)
{
	if (!*name) {
		complaints_add(&loader->complaints, section->line, NULL,
			"the pool has no name: write [pool NAME]");
		return true;
	}
	if (!text_is_name(name)) {
		complaints_add(&loader->complaints, section->line, NULL, "\"%s\" is no name of a "
			"pool: write a letter or digit, then letters, digits, \".\", \"_\" or "
			"\"-\", %d at most in all", name, TEXT_NAME_MAX);
		return true;
	}
	for (size_t i = 0; taken[i]; i++) {
		if (strcmp(name, taken[i]) == 0) {
			complaints_add(&loader->complaints, section->line, NULL, "\"%s\" is the "
				"name of a file of the mount: choose another for the pool", name);
			return true;
		}
	}
	return false;
}

/* The name in "pool NAME", NULL when the section is no pool's. */
static const char *pool_name(const char *section)
{
	if (strncmp(section, "pool", 4) != 0 || !strchr(" \t", section[4]))
		return NULL;
	return section + 4 + strspn(section + 4, " \t");
}

/* The first section that means the same as this one. */
static const struct section *first_alike(const struct sections *sections,
	const struct section *section)
{
	const char *pool = pool_name(section->name);
	const struct section *other = sections->list;

	for (; other < section; other++) {
		const char *name = pool_name(other->name);

		if (strcmp(other->name, section->name) == 0)
			break;
		if (pool && name && strcmp(pool, name) == 0)
			break;
	}
	return other;
}

/* Adds one module. */
static void add_module(struct loader *loader, const char *word, int line)
{
	struct poolfs_err err;
	char *path = NULL;
	int result = modules_path(loader->modules, word, loader->directory, &path, &err);

	if (result == 0 && loader->mount && mountpoint_hides(loader->mount, path))
		result = poolfs_err_set(&err, -EINVAL, "%s lies below the mount point, which hides it: "
			"move one of the two", path);
	if (result == 0)
		result = modules_add(loader->modules, path, &err);
	if (result < 0) {
		complaints_add(&loader->complaints, line, "modules", "%s", err.text);
		loader->lacking = true;
	}
	free(path);
}

/* Reads section [poolfs]: what it says may be needed to read the others. */
static void read_daemon(struct loader *loader, const struct section *section)
{
	struct job job = { .loader = loader, .section = section };

	values_free(loader->config->daemon);
	loader->config->daemon = read_values(&job, daemon_tables);
	const char *const *words = poolfs_words(loader->config->daemon, "modules");
	for (size_t i = 0; words[i]; i++)
		add_module(loader, words[i], section_line(section, "modules"));
}

/* Reads any section. */
static void read_section(struct loader *loader, const struct section *section)
{
	const char *pool = pool_name(section->name);
	const struct section *first = first_alike(&loader->sections, section);

	if (!pool && strcmp(section->name, "poolfs") != 0) {
		complaints_add(&loader->complaints, section->line, NULL,
			"there is no section [%s]: write [poolfs] or [pool NAME]", section->name);
		return;
	}
	if (pool && wrong_name(loader, section, pool))
		return;
	if (first != section)
		complaints_add(&loader->complaints, section->line, NULL, "[%s] stands in line %d "
			"already: %s", section->name, first->line,
			pool ? "choose another name" : "write all keys there");
	if (pool)
		read_pool(loader, section, pool);
	else
		read_daemon(loader, section);
}

/* Reads the file's sections, then what only the whole can tell. */
static int read_config(struct loader *loader)
{
	const struct sections *sections = &loader->sections;
	int result = sections_read(&loader->sections, loader->config->file, &loader->complaints);
	bool pools = false;

	if (result < 0)
		return result;
	for (size_t i = 0; i < sections->count; i++)
		if (!pool_name(sections->list[i].name))
			read_section(loader, &sections->list[i]);
	for (size_t i = 0; i < sections->count; i++) {
		if (!pool_name(sections->list[i].name))
			continue;
		read_section(loader, &sections->list[i]);
		pools = true;
	}
	if (!pools)
		complaints_add(&loader->complaints, 0, NULL,
			"there is no pool: write a section [pool NAME]");
	if (!loader->config->daemon) {
		loader->config->daemon = values_new(daemon_tables);
		values_defaults(loader->config->daemon, loader->directory);
	}
	return loader->complaints.count ? -EINVAL : 0;
}

/* Makes the file's path and directory absolute and looks where the mount point lies. */
static int prepare(struct loader *loader, const char *file, const char *mount_point)
{
	struct config *config = loader->config;
	struct complaints *complaints = &loader->complaints;
	char *here = getcwd(NULL, 0);
	struct poolfs_err err;
	/* "~" is the shell's business here: "./~x" is what it left alone. */
	char *plain = memory_format("%s%s", *file == '~' ? "./" : "", file);

	if (notation_path(plain, here ? here : "/", &config->file, &err) < 0)
		complaints_add(complaints, 0, NULL, "%s", err.text);
	free(plain);
	free(here);
	if (!config->file)
		return -EINVAL;
	loader->directory = memory_format("%.*s",
		(int)(strrchr(config->file, '/') - config->file), config->file);
	if (!mount_point)
		return 0;
	loader->mount = mountpoint_resolve(mount_point);
	if (!loader->mount)
		complaints_add(complaints, 0, NULL, "the mount point %s leads through too many "
			"symbolic links", mount_point);
	else if (mountpoint_hides(loader->mount, config->file))
		complaints_add(complaints, 0, NULL, "lies below the mount point, which hides it: "
			"move one of the two");
	return complaints->count ? -EINVAL : 0;
}

/* Reads and checks a configuration. */
int config_load(const char *file, const char *mount_point, struct modules *modules,
	struct config **config, struct text *errors)
{
	struct loader loader = { .config = memory_new(sizeof(**config)), .modules = modules };
	int result = prepare(&loader, file, mount_point);

	if (result == 0)
		result = read_config(&loader);
	complaints_print(&loader.complaints, file, errors);
	complaints_done(&loader.complaints);
	sections_done(&loader.sections);
	free(loader.mount);
	free(loader.directory);
	if (result < 0)
		config_free(loader.config);
	else
		*config = loader.config;
	return result;
}

/* Frees. */
void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->pool_count; i++)
		pool_done(&config->pools[i]);
	free(config->pools);
	values_free(config->daemon);
	free(config->file);
	free(config);
}
