/* SPDX-License-Identifier: MIT */
#include "backends/facts.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/kinds.h"
#include "backends/ssh/keys.h"

/* What each transport can do. The shim's registry has the same names. */
static const struct {
	const char *name;
	uint32_t features;
	bool own;		/* for kinds that come with poolfs only */
	/* The transport's own keys, for kinds that may have it. */
	const struct poolfs_key *keys;
	int (*check)(const struct poolfs_values *values, struct poolfs_err *err);
} transports[] = {
	{ "ssh", POOLFS_FEATURE_COMMANDS | POOLFS_FEATURE_FILES | POOLFS_FEATURE_FORWARD,
		false, poolfs_ssh_keys, ssh_keys_check },
	{ "agent", POOLFS_FEATURE_COMMANDS | POOLFS_FEATURE_FILES | POOLFS_FEATURE_FORWARD, true },
	{ "programs", POOLFS_FEATURE_COMMANDS | POOLFS_FEATURE_FILES, true },
	{ "none" },
};
#define TRANSPORTS (sizeof(transports) / sizeof(*transports))

#define VERB_FLAGS (POOLFS_VERB_OPTIONAL | POOLFS_VERB_WORDS)

/* Verbs that the core has. */
static const char *const taken[] = { "stop", "sysrq", "nmi", NULL };

/* Where verbs are collected. */
struct collection {
	struct facts *facts;
	int result;
	struct poolfs_err *err;
};

/* The number of the pool's transport; -EINVAL: there is no such one. */
static int find_transport(const struct poolfs_kind *kind, const struct poolfs_values *values,
	struct poolfs_err *err)
{
	const char *name = kind->transport_with ? kind->transport_with(values) : kind->transport;

	for (size_t i = 0; i < TRANSPORTS; i++)
		if (strcmp(name ? name : "ssh", transports[i].name) == 0)
			return (int)i;
	return poolfs_err_set(err, -EINVAL, "type: the kind %s names the transport \"%.64s\", which does "
		"not exist", kind->name, name);
}

/* Whether it is not for modules. */
bool facts_transport_is_own(const char *name)
{
	for (size_t i = 0; name && i < TRANSPORTS; i++)
		if (strcmp(name, transports[i].name) == 0)
			return transports[i].own;
	return false;
}

/* Whether a kind's tables have the key. */
static bool has_key(const struct poolfs_kind *kind, const char *name)
{
	for (size_t i = 0; kind->tables[i]; i++)
		for (const struct poolfs_key *key = kind->tables[i]; key->name; key++)
			if (strcmp(key->name, name) == 0)
				return true;
	return false;
}

/* The transport, whose keys have to be the kind's. */
int facts_transport(const struct poolfs_kind *kind, const struct poolfs_values *values,
	const char **name, struct poolfs_err *err)
{
	int number = find_transport(kind, values, err);

	if (number < 0)
		return number;
	for (const struct poolfs_key *key = transports[number].keys; key && key->name; key++)
		if (!has_key(kind, key->name))
			return poolfs_err_set(err, -EINVAL, "type: the kind %s has the transport %s, but "
				"not its key %s: its tables need poolfs_ssh_keys", kind->name,
				transports[number].name, key->name);
	*name = transports[number].name;
	return number;
}

/* The transport, and whether the values of its keys fit together. */
static int take_transport(const struct poolfs_kind *kind, const struct poolfs_values *values,
	struct facts *facts, struct poolfs_err *err)
{
	int number = facts_transport(kind, values, &facts->transport, err);

	if (number < 0)
		return number;
	facts->features |= transports[number].features;
	return transports[number].check ? transports[number].check(values, err) : 0;
}

/* The machines that are lent. */
static int take_targets(const struct poolfs_kind *kind, const struct poolfs_values *values,
	struct facts *facts, struct poolfs_err *err)
{
	const char *const *words = kind->targets ? poolfs_words(values, kind->targets) : NULL;
	size_t count = 0;
	int result = 0;

	while (words && words[count])
		count++;
	if (count == 0)
		return 0;
	facts->targets = memory_new(count * sizeof(*facts->targets));
	facts->target_count = count;
	for (size_t i = 0; i < count && result == 0; i++) {
		struct poolfs_target *target = &facts->targets[i];

		result = kind->target(values, words[i], target, err);
		target->name[sizeof(target->name) - 1] = '\0';
		target->machine[sizeof(target->machine) - 1] = '\0';
	}
	if (result < 0)
		poolfs_err_prefix(err, "%s", kind->targets);
	return result;
}

/* Whether a word can be a verb. */
static bool is_verb(const char *name)
{
	if (!isalpha((unsigned char)*name) || strlen(name) > 63)
		return false;
	for (size_t i = 0; name[i]; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_", name[i]))
			return false;
	for (size_t i = 0; taken[i]; i++)
		if (strcmp(name, taken[i]) == 0)
			return false;
	return true;
}

/* Takes one verb over. */
static void add_verb(void *data, const struct poolfs_verb *verb)
{
	struct collection *collection = data;
	struct facts *facts = collection->facts;

	if (collection->result < 0)
		return;
	if (!is_verb(verb->name) || facts_verb(facts, verb->name, strlen(verb->name))) {
		collection->result = poolfs_err_set(collection->err, -EINVAL, "type: \"%.64s\" cannot be "
			"a verb of ctl: a letter, then letters, digits, \"-\" and \"_\"; each once; "
			"not stop, sysrq or nmi", verb->name);
		return;
	}
	if (verb->flags & ~VERB_FLAGS || verb->reserved[0]) {
		collection->result = poolfs_err_set(collection->err, -EINVAL,
			"type: the verb %s: its flags are unknown here", verb->name);
		return;
	}
	if (facts->verb_count == FACTS_VERBS_MAX) {
		collection->result = poolfs_err_set(collection->err, -EINVAL,
			"type: more than %u verbs of ctl", FACTS_VERBS_MAX);
		return;
	}
	facts->verbs = memory_grow(facts->verbs, (facts->verb_count + 1) * sizeof(*facts->verbs));
	facts->verbs[facts->verb_count++] = (struct facts_verb){ memory_string(verb->name),
		memory_string(verb->argument), memory_string(verb->help ? verb->help : ""),
		(unsigned)verb->flags };
}

/* The verbs that every pool has, then those that hang on values. */
int facts_verbs(const struct poolfs_kind *kind, const struct poolfs_values *values, struct facts *facts,
	struct poolfs_err *err)
{
	struct collection collection = { .facts = facts, .err = err };

	for (const struct poolfs_verb *verb = kind->verbs; verb && verb->name; verb++)
		add_verb(&collection, verb);
	if (kind->verbs_with && values)
		kind->verbs_with(values, add_verb, &collection);
	return collection.result;
}

/* Finds all. */
int facts_find(const struct poolfs_kind *kind, const struct poolfs_values *values,
	struct facts *out, struct poolfs_err *err)
{
	struct facts facts = { .features = kind->features };
	int result = kinds_check(kind, values, err);

	if (result == 0 && kind->features_with)
		facts.features |= kind->features_with(values);
	/* These are the transport's to tell. */
	facts.features &= ~(POOLFS_FEATURE_COMMANDS | POOLFS_FEATURE_FILES | POOLFS_FEATURE_FORWARD);
	if (result == 0)
		result = take_transport(kind, values, &facts, err);
	if (result == 0)
		result = take_targets(kind, values, &facts, err);
	if (result == 0)
		result = facts_verbs(kind, values, &facts, err);
	if (result < 0)
		facts_done(&facts);
	else
		*out = facts;
	return result;
}

/* Frees. */
void facts_done(struct facts *facts)
{
	for (size_t i = 0; i < facts->verb_count; i++) {
		free(facts->verbs[i].name);
		free(facts->verbs[i].argument);
		free(facts->verbs[i].help);
	}
	free(facts->verbs);
	free(facts->targets);
	*facts = (struct facts){ 0 };
}

/* Shows one. */
void facts_show_verb(const struct facts_verb *verb, struct text *out)
{
	bool optional = verb->flags & POOLFS_VERB_OPTIONAL;

	text_printf(out, "%s", verb->name);
	if (verb->argument)
		text_printf(out, " %s%s%s", optional ? "[" : "", verb->argument, optional ? "]" : "");
}

/* Finds a verb. */
const struct facts_verb *facts_verb(const struct facts *facts, const char *name, size_t length)
{
	for (size_t i = 0; i < facts->verb_count; i++)
		if (strlen(facts->verbs[i].name) == length &&
			memcmp(facts->verbs[i].name, name, length) == 0)
			return &facts->verbs[i];
	return NULL;
}

/* Writes the object. */
json_t *facts_to_json(const struct facts *facts)
{
	json_t *targets = json_array(), *verbs = json_array();

	for (size_t i = 0; i < facts->target_count; i++)
		json_array_append_new(targets, json_pack("{s:s, s:s}", "name", facts->targets[i].name,
			"machine", facts->targets[i].machine));
	for (size_t i = 0; i < facts->verb_count; i++)
		json_array_append_new(verbs, json_pack("{s:s, s:s*, s:s, s:i}", "name",
			facts->verbs[i].name, "argument", facts->verbs[i].argument, "help",
			facts->verbs[i].help, "flags", (int)facts->verbs[i].flags));
	return json_pack("{s:s, s:I, s:o, s:o}", "transport", facts->transport, "features",
		(json_int_t)facts->features, "targets", targets, "verbs", verbs);
}

/* Reads the verbs. */
static int read_verbs(const json_t *list, struct facts *facts, struct poolfs_err *err)
{
	struct collection collection = { .facts = facts, .err = err };
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item) {
		struct poolfs_verb verb = { 0 };
		int flags;

		if (json_unpack(item, "{s:s, s?s, s:s, s:i}", "name", &verb.name, "argument",
				&verb.argument, "help", &verb.help, "flags", &flags) < 0)
			return -EINVAL;
		verb.flags = (unsigned)flags;
		add_verb(&collection, &verb);
	}
	return collection.result;
}

/* Reads the machines that are lent. */
static int read_targets(const json_t *list, struct facts *facts)
{
	size_t i, count = json_array_size(list);
	json_t *item;

	if (count == 0)
		return 0;
	facts->targets = memory_new(count * sizeof(*facts->targets));
	facts->target_count = count;
	json_array_foreach(list, i, item) {
		struct poolfs_target *target = &facts->targets[i];
		const char *name, *machine;

		if (json_unpack(item, "{s:s, s:s}", "name", &name, "machine", &machine) < 0 ||
			strlen(name) >= sizeof(target->name) ||
			strlen(machine) >= sizeof(target->machine))
			return -EINVAL;
		snprintf(target->name, sizeof(target->name), "%s", name);
		snprintf(target->machine, sizeof(target->machine), "%s", machine);
	}
	return 0;
}

/* Reads the object. */
int facts_from_json(const json_t *object, struct facts *out)
{
	struct facts facts = { 0 };
	const char *transport;
	json_int_t features;
	json_t *targets, *verbs;
	int result = -EINVAL;

	if (json_unpack((json_t *)object, "{s:s, s:I, s:o, s:o}", "transport", &transport, "features",
			&features, "targets", &targets, "verbs", &verbs) < 0)
		return -EINVAL;
	for (size_t i = 0; i < TRANSPORTS; i++)
		if (strcmp(transport, transports[i].name) == 0)
			facts.transport = transports[i].name;
	facts.features = (uint32_t)features;
	if (facts.transport)
		result = read_targets(targets, &facts);
	if (result == 0)
		result = read_verbs(verbs, &facts, NULL);
	if (result < 0)
		facts_done(&facts);
	else
		*out = facts;
	return result;
}
