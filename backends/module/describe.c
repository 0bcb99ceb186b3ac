/* SPDX-License-Identifier: MIT */
#include "backends/module/describe.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/base/text.h"
#include "backends/base/values.h"
#include "backends/facts.h"
#include "backends/kinds.h"
#include "backends/module/load.h"

/* A text of the module, which JSON takes as UTF-8 only: what is not, is escaped. NULL: it is left out. */
static json_t *text_of(const char *text)
{
	char clean[4096];

	if (!text)
		return NULL;
	json_t *string = json_string(text);
	if (string)
		return string;
	text_escape_lines(clean, sizeof(clean), text);
	return json_string(clean);
}

/* A list of texts that is ended by NULL, or is NULL. */
static json_t *list_of(const char *const *texts)
{
	json_t *list = json_array();

	for (size_t i = 0; texts && texts[i]; i++)
		json_array_append_new(list, text_of(texts[i]));
	return list;
}

/* One key. */
static json_t *describe_key(const struct poolfs_key *key)
{
	return json_pack("{s:o, s:i, s:I, s:o*, s:I, s:I, s:o, s:o}", "name", text_of(key->name),
		"type", (int)key->type, "flags", (json_int_t)key->flags, "fallback",
		text_of(key->fallback), "min", (json_int_t)key->min, "max", (json_int_t)key->max,
		"choices", list_of(key->choices), "help", text_of(key->help));
}

/* The tables, each an array of keys. */
static json_t *describe_tables(const struct poolfs_kind *kind)
{
	json_t *tables = json_array();

	for (size_t i = 0; kind->tables[i]; i++) {
		json_t *table = json_array();

		for (const struct poolfs_key *key = kind->tables[i]; key->name; key++)
			json_array_append_new(table, describe_key(key));
		json_array_append_new(tables, table);
	}
	return tables;
}

/* The verbs that every pool has. */
static json_t *describe_verbs(const struct poolfs_kind *kind)
{
	json_t *verbs = json_array();

	for (const struct poolfs_verb *verb = kind->verbs; verb && verb->name; verb++)
		json_array_append_new(verbs, json_pack("{s:o, s:o*, s:o*, s:i}", "name",
			text_of(verb->name), "argument", text_of(verb->argument), "help",
			text_of(verb->help), "flags", (int)verb->flags));
	return verbs;
}

/* The kind; what it says of a pool's values is asked for with these. */
static json_t *describe_kind(const struct poolfs_kind *kind)
{
	return json_pack("{s:o, s:o, s:I, s:o*, s:o*, s:o, s:o}", "name", text_of(kind->name),
		"summary", text_of(kind->summary), "features", (json_int_t)kind->features, "targets",
		text_of(kind->targets), "stop_limit", text_of(kind->stop_limit), "tables",
		describe_tables(kind), "verbs", describe_verbs(kind));
}

/* A failure. */
static json_t *describe_error(int code, const struct poolfs_err *err)
{
	return json_pack("{s:{s:o, s:i}}", "error", "text", text_of(err->text), "code", -code);
}

/* --describe */
static json_t *describe(const char *file)
{
	struct module *module = NULL;
	struct poolfs_err err = { "" };
	int result = module_load(file, &module, &err);
	json_t *answer = result < 0 ? describe_error(result, &err) :
				      json_pack("{s:o}", "kind", describe_kind(&module->kind));

	free(module);
	return answer;
}

/* Finds the facts of the values that standard input has. */
static int examine_values(const struct module *module, struct facts *facts, struct poolfs_err *err)
{
	json_t *object = json_loadf(stdin, JSON_REJECT_DUPLICATES, NULL);
	const struct poolfs_key **tables = kinds_tables(&module->kind);
	struct poolfs_values *values = values_from_json(tables, object, err);
	int result = values ? facts_find(&module->kind, values, facts, err) : -EINVAL;

	if (result == 0 && facts_transport_is_own(facts->transport))
		result = poolfs_err_set(err, -EINVAL, "type: the kind %s names the transport %s, which "
			"is for kinds that come with poolfs", module->kind.name, facts->transport);
	if (result == 0 && facts->verb_count && !module->backend.verb)
		result = poolfs_err_set(err, -EINVAL, "type: the kind %s has verbs, but no function verb",
			module->kind.name);
	if (result == 0 && facts->features & POOLFS_FEATURE_CONSOLE && !module->backend.console_write)
		facts->features |= FACTS_CONSOLE_READ_ONLY;
	values_free(values);
	free(tables);
	json_decref(object);
	return result;
}

/* --examine */
static json_t *examine(const char *file)
{
	struct module *module = NULL;
	struct facts facts = { 0 };
	struct poolfs_err err = { "" };
	int result = module_load(file, &module, &err);

	if (result == 0)
		result = examine_values(module, &facts, &err);
	json_t *answer = result < 0 ? describe_error(result, &err) :
				      json_pack("{s:o}", "facts", facts_to_json(&facts));
	facts_done(&facts);
	free(module);
	return answer;
}

/* Answers on what was standard output, where nothing of the module can come between. */
void describe_main(int argc, char **argv)
{
	int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);

	if (argc != 3 || out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
		fprintf(stderr, "usage: poolfs-shim --describe FILE | --examine FILE\n");
		_exit(2);
	}
	json_t *answer = strcmp(argv[1], "--examine") == 0 ? examine(argv[2]) : describe(argv[2]);
	int written = answer ? json_dumpfd(answer, out, JSON_COMPACT) : -1;

	json_decref(answer);
	_exit(written < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
