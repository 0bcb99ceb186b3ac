/* SPDX-License-Identifier: MIT */
#include "backends/module/modules.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/notation.h"
#include "backends/base/values.h"
#include "backends/kinds.h"
#include "backends/module/ask.h"

/* A module, as it was described. Texts are the description's. */
struct known {
	STAILQ_ENTRY(known) entry;
	char *file;			/* without symbolic links */
	json_t *description;
	struct poolfs_kind kind;
	struct poolfs_key **tables;	/* ended by NULL */
	struct poolfs_verb *verbs;
};

struct modules {
	char *shim, *directory;
	STAILQ_HEAD(, known) list;	/* in the order in which they were added */
};

/* None. */
struct modules *modules_new(const char *shim, const char *directory)
{
	struct modules *modules = memory_new(sizeof(*modules));

	modules->shim = memory_string(shim);
	modules->directory = memory_string(directory);
	STAILQ_INIT(&modules->list);
	return modules;
}

/* Frees a module. */
static void known_free(struct known *known)
{
	for (size_t i = 0; known->tables && known->tables[i]; i++) {
		for (struct poolfs_key *key = known->tables[i]; key->name; key++)
			free((void *)key->choices);
		free(known->tables[i]);
	}
	free(known->tables);
	free(known->verbs);
	json_decref(known->description);
	free(known->file);
	free(known);
}

/* Frees all. */
void modules_free(struct modules *modules)
{
	struct known *known;

	while (modules && (known = STAILQ_FIRST(&modules->list))) {
		STAILQ_REMOVE_HEAD(&modules->list, entry);
		known_free(known);
	}
	if (!modules)
		return;
	free(modules->shim);
	free(modules->directory);
	free(modules);
}

/* A name without slash is one of ours. */
int modules_path(const struct modules *modules, const char *word, const char *directory, char **path,
	struct poolfs_err *err)
{
	if (!*word)
		return poolfs_err_set(err, -EINVAL, "empty: write the path of a module");
	if (strchr(word, '/'))
		return notation_path(word, directory, path, err);
	char *found = memory_format("%s/%s", modules->directory, word);
	if (access(found, F_OK) == 0) {
		*path = found;
		return 0;
	}
	int error = -errno;
	free(found);
	return poolfs_err_set(err, error, "%s/%s: %s: a module elsewhere needs a path, such as ./%s",
		modules->directory, word, strerror(-error), word);
}

/* The choices of a key; NULL where there are none. */
static const char *const *read_choices(const json_t *list)
{
	size_t i, count = json_array_size(list);
	json_t *item;

	if (!count)
		return NULL;
	const char **choices = memory_new((count + 1) * sizeof(*choices));
	json_array_foreach((json_t *)list, i, item)
		choices[i] = json_string_value(item);
	return (const char *const *)choices;
}

/* One key. The shim has looked at its parts: only what would lead us astray is refused. */
static int read_key(const json_t *object, struct poolfs_key *key)
{
	int type;
	json_int_t flags, min, max;
	json_t *choices;

	if (json_unpack((json_t *)object, "{s:s, s:i, s:I, s?s, s:I, s:I, s:o, s:s}", "name", &key->name,
			"type", &type, "flags", &flags, "fallback", &key->fallback, "min", &min,
			"max", &max, "choices", &choices, "help", &key->help) < 0 ||
		type < 0 || type > POOLFS_COMMAND)
		return -EPROTO;
	key->type = (enum poolfs_key_type)type;
	key->flags = (unsigned)flags;
	key->min = min;
	key->max = max;
	key->choices = read_choices(choices);
	return key->type == POOLFS_CHOICE && !key->choices ? -EPROTO : 0;
}

/* The tables. */
static int read_tables(const json_t *list, struct known *known)
{
	size_t i, k;
	json_t *table, *key;

	known->tables = memory_new((json_array_size(list) + 1) * sizeof(*known->tables));
	json_array_foreach((json_t *)list, i, table) {
		known->tables[i] = memory_new((json_array_size(table) + 1) * sizeof(**known->tables));
		json_array_foreach(table, k, key)
			if (read_key(key, &known->tables[i][k]) < 0)
				return -EPROTO;
	}
	known->kind.tables = (const struct poolfs_key *const *)known->tables;
	return 0;
}

/* The verbs. */
static int read_verbs(const json_t *list, struct known *known)
{
	size_t i;
	json_t *item;

	known->verbs = memory_new((json_array_size(list) + 1) * sizeof(*known->verbs));
	json_array_foreach((json_t *)list, i, item) {
		struct poolfs_verb *verb = &known->verbs[i];
		int flags;

		if (json_unpack(item, "{s:s, s?s, s?s, s:i}", "name", &verb->name, "argument",
				&verb->argument, "help", &verb->help, "flags", &flags) < 0)
			return -EPROTO;
		verb->flags = (unsigned)flags;
	}
	known->kind.verbs = known->verbs;
	return 0;
}

/* The kind. */
static int read_kind(struct known *known)
{
	struct poolfs_kind *kind = &known->kind;
	json_t *tables, *verbs;
	json_int_t features;

	*kind = (struct poolfs_kind){ .abi = POOLFS_ABI, .size = sizeof(*kind) };
	if (json_unpack(known->description, "{s:s, s:s, s:I, s?s, s?s, s:o, s:o}", "name", &kind->name,
			"summary", &kind->summary, "features", &features, "targets", &kind->targets,
			"stop_limit", &kind->stop_limit, "tables", &tables, "verbs", &verbs) < 0)
		return -EPROTO;
	kind->features = (uint32_t)features;
	int result = read_tables(tables, known);
	return result < 0 ? result : read_verbs(verbs, known);
}

/* Asks what is in a file. */
static int describe(const struct modules *modules, struct known *known, struct poolfs_err *err)
{
	if (!modules->shim)
		return poolfs_err_set(err, -ENOTSUP, "modules cannot be loaded here");
	int result = ask_module(modules->shim, "--describe", known->file, NULL, "kind",
		&known->description, err);
	if (result == 0 && read_kind(known) < 0)
		result = poolfs_err_set(err, -EPROTO, "the process that loaded it describes it wrongly");
	const struct poolfs_kind *other = result == 0 ? modules_find(modules, known->kind.name) : NULL;
	if (other)
		result = poolfs_err_set(err, -EEXIST, "the module %s has a kind %s too: load one of them",
			modules_file(modules, other), other->name);
	return result;
}

/* Adds a module. */
int modules_add(struct modules *modules, const char *path, struct poolfs_err *err)
{
	char file[PATH_MAX];
	struct known *known;

	if (!realpath(path, file))
		return poolfs_err_set(err, -errno, "%s: %s", path, strerror(errno));
	STAILQ_FOREACH(known, &modules->list, entry)
		if (strcmp(known->file, file) == 0)
			return 0;
	known = memory_new(sizeof(*known));
	known->file = memory_string(file);
	int result = describe(modules, known, err);
	if (result < 0) {
		poolfs_err_prefix(err, "%s", path);
		known_free(known);
		return result;
	}
	STAILQ_INSERT_TAIL(&modules->list, known, entry);
	return 0;
}

/* Counts through all kinds. */
const struct poolfs_kind *modules_kind(const struct modules *modules, size_t index)
{
	struct known *known;

	for (size_t i = 0; kinds_all[i]; i++)
		if (index-- == 0)
			return kinds_all[i];
	STAILQ_FOREACH(known, &modules->list, entry)
		if (index-- == 0)
			return &known->kind;
	return NULL;
}

/* Finds a kind. */
const struct poolfs_kind *modules_find(const struct modules *modules, const char *name)
{
	const struct poolfs_kind *kind;

	for (size_t i = 0; (kind = modules_kind(modules, i)); i++)
		if (strcmp(kind->name, name) == 0)
			return kind;
	return NULL;
}

/* The module of a kind. */
static struct known *find_known(const struct modules *modules, const struct poolfs_kind *kind)
{
	struct known *known;

	STAILQ_FOREACH(known, &modules->list, entry)
		if (&known->kind == kind)
			return known;
	return NULL;
}

/* Its file. */
const char *modules_file(const struct modules *modules, const struct poolfs_kind *kind)
{
	const struct known *known = find_known(modules, kind);

	return known ? known->file : NULL;
}

/* Whether the facts fit the pool: as many machines as words. */
static bool is_sane(const struct poolfs_kind *kind, const struct poolfs_values *values,
	const struct facts *facts)
{
	const char *const *words = kind->targets ? poolfs_words(values, kind->targets) : NULL;
	size_t count = 0;

	while (words && words[count])
		count++;
	return count == facts->target_count;
}

/* Finds the facts here, or asks for them. */
int modules_facts(const struct modules *modules, const struct poolfs_kind *kind,
	const struct poolfs_values *values, struct facts *facts, struct poolfs_err *err)
{
	const struct known *known = find_known(modules, kind);
	json_t *answer;

	if (!known)
		return facts_find(kind, values, facts, err);
	json_t *question = values_to_json(values);
	if (!question)
		return poolfs_err_set(err, -EILSEQ, "type: kinds of modules take values in UTF-8 only");
	int result = ask_module(modules->shim, "--examine", known->file, question, "facts", &answer, err);
	json_decref(question);
	if (result < 0)
		return result;
	result = facts_from_json(answer, facts);
	json_decref(answer);
	if (result == 0 && !is_sane(kind, values, facts)) {
		facts_done(facts);
		result = -EPROTO;
	}
	return result < 0 ? poolfs_err_set(err, result, "type: the module %s says nonsense of this pool",
				    known->file) : 0;
}
