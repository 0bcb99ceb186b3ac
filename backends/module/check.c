/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "backends/base/values.h"
#include "backends/facts.h"
#include "backends/kinds.h"
#include "backends/module/load.h"

#define NAME_MAX_ 32
#define FLAGS (POOLFS_KEY_REQUIRED | POOLFS_KEY_EXISTS | POOLFS_KEY_SECRET | POOLFS_KEY_FAMILY)
#define FEATURES (POOLFS_FEATURE_CONSOLE | POOLFS_FEATURE_OUTLIVES | POOLFS_FEATURE_FORWARD | \
	POOLFS_FEATURE_SYSRQ | POOLFS_FEATURE_NMI | POOLFS_FEATURE_RESET | \
	POOLFS_FEATURE_COMMANDS | POOLFS_FEATURE_FILES)

/* A small letter, then small letters, digits and those of more. */
static bool is_word(const char *text, const char *more)
{
	if (!text || !islower((unsigned char)*text) || strlen(text) > NAME_MAX_)
		return false;
	for (; *text; text++)
		if (!islower((unsigned char)*text) && !isdigit((unsigned char)*text) &&
			!strchr(more, *text))
			return false;
	return true;
}

/* The kind's name. */
static int check_name(const struct poolfs_kind *kind, struct poolfs_err *err)
{
	if (!is_word(kind->name, "-_"))
		return poolfs_err_set(err, -EINVAL, "\"%.64s\" cannot be the name of a kind: a small "
			"letter, then small letters, digits, \"-\" and \"_\", %d at most in all",
			kind->name ? kind->name : "", NAME_MAX_);
	if (kinds_find(kind->name))
		return poolfs_err_set(err, -EEXIST, "poolfs itself has a kind %s: choose another name",
			kind->name);
	if (!kind->summary || !*kind->summary)
		return poolfs_err_set(err, -EINVAL, "the kind %s has no summary", kind->name);
	return 0;
}

/* How often the key's name stands in tables before the key itself. */
static bool is_repeated(const struct poolfs_key *const *tables, const struct poolfs_key *key)
{
	for (size_t i = 0; tables[i]; i++)
		for (const struct poolfs_key *other = tables[i]; other->name; other++) {
			if (other == key)
				return false;
			if (strcmp(other->name, key->name) == 0)
				return true;
		}
	return false;
}

/* Whether every pool has a key of that name. */
static bool is_of_pools(const char *name)
{
	for (const struct poolfs_key *key = kinds_pool_keys; key->name; key++)
		if (strcmp(key->name, name) == 0)
			return true;
	return false;
}

/* The default, as if it stood in a file. That of a path may hang on a home that is not there. */
static int check_fallback(const struct poolfs_key *key, struct poolfs_err *err)
{
	const struct poolfs_key table[] = { *key, { 0 } };
	const struct poolfs_key *const tables[] = { table, NULL };
	bool path = key->type == POOLFS_PATH || key->type == POOLFS_PROGRAM;

	if (!key->fallback || path)
		return 0;
	struct poolfs_values *values = values_new(tables);
	int result = values_set(values, key->name, key->fallback, "/", err);
	values_free(values);
	if (result < 0)
		poolfs_err_prefix(err, "the key %s: its default", key->name);
	return result;
}

/* One key by itself. NULL: it is right; else what is wrong. */
static const char *key_fault(const struct poolfs_key *key)
{
	bool family = key->flags & POOLFS_KEY_FAMILY;

	if (!is_word(key->name, family ? "_." : "_"))
		return "its name must be a small letter, then small letters, digits and \"_\"";
	if (family && (!strchr(key->name, '.') || key->fallback || key->flags & POOLFS_KEY_REQUIRED))
		return "a family is called PREFIX.WORD, has no default and is not required";
	if ((unsigned)key->type > POOLFS_COMMAND)
		return "its type is unknown here";
	if (key->flags & ~FLAGS)
		return "its flags are unknown here";
	if (key->type == POOLFS_CHOICE && (!key->choices || !key->choices[0]))
		return "it has no choices";
	if (key->min > key->max)
		return "its min is above its max";
	if (key->reserved[0] || key->reserved[1])
		return "it uses what is reserved";
	if (!key->help || !*key->help)
		return "it has no help";
	return NULL;
}

/* All keys. */
static int check_keys(const struct poolfs_kind *kind, struct poolfs_err *err)
{
	if (!kind->tables)
		return poolfs_err_set(err, -EINVAL, "the kind %s has no tables: { NULL } says that it "
			"has no keys", kind->name);
	for (size_t i = 0; kind->tables[i]; i++) {
		for (const struct poolfs_key *key = kind->tables[i]; key->name; key++) {
			const char *fault = key_fault(key);

			if (!fault && is_of_pools(key->name))
				fault = "every pool has a key of that name: choose another";
			if (!fault && is_repeated(kind->tables, key))
				fault = "it is there twice";
			if (fault)
				return poolfs_err_set(err, -EINVAL, "the key %.64s: %s", key->name, fault);
			int result = check_fallback(key, err);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

/* Whether a key that the kind names is one of its own, of that type. NULL is right. */
static int check_named(const struct poolfs_kind *kind, const char *member, const char *name,
	enum poolfs_key_type type, struct poolfs_err *err)
{
	if (!name)
		return 0;
	for (size_t i = 0; kind->tables[i]; i++)
		for (const struct poolfs_key *key = kind->tables[i]; key->name; key++)
			if (strcmp(key->name, name) == 0 && key->type == type)
				return 0;
	return poolfs_err_set(err, -EINVAL, "%s names the key %.64s, which the kind %s does not have "
		"with the type that this needs", member, name, kind->name);
}

/* The functions that every backend has, and those that its features promise. */
static int check_slots(const struct module *module, struct poolfs_err *err)
{
	const struct poolfs_backend *backend = &module->backend;
	const struct poolfs_kind *kind = &module->kind;
	const struct {
		const char *name, *why;
		bool missing;
	} slots[] = {
		{ "open", "every backend needs it", !backend->open },
		{ "close", "every backend needs it", !backend->close },
		{ "start", "every backend needs it", !backend->start },
		{ "stop", "every backend needs it", !backend->stop },
		{ "sysrq", "its features have POOLFS_FEATURE_SYSRQ",
			!backend->sysrq && kind->features & POOLFS_FEATURE_SYSRQ },
		{ "nmi", "its features have POOLFS_FEATURE_NMI",
			!backend->nmi && kind->features & POOLFS_FEATURE_NMI },
		{ "reset", "its features have POOLFS_FEATURE_RESET",
			!backend->reset && kind->features & POOLFS_FEATURE_RESET },
		{ "verb", "it has verbs",
			!backend->verb && (kind->verbs_with || (kind->verbs && kind->verbs->name)) },
		{ "target", "it names targets", !kind->target && kind->targets },
		{ "address", "its transport needs one", !backend->address && (kind->transport_with ||
			!kind->transport || strcmp(kind->transport, "none") != 0) },
	};

	for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++)
		if (slots[i].missing)
			return poolfs_err_set(err, -EINVAL, "it has no function %s: %s",
				slots[i].name, slots[i].why);
	if (kind->features & ~FEATURES)
		return poolfs_err_set(err, -EINVAL, "its features are unknown here: 0x%x",
			kind->features & ~FEATURES);
	return 0;
}

/* The transport, where it does not hang on the values of a pool's keys. */
static int check_transport(const struct poolfs_kind *kind, struct poolfs_err *err)
{
	const char *name;

	if (kind->transport_with)
		return 0;
	if (facts_transport_is_own(kind->transport))
		return poolfs_err_set(err, -EINVAL, "the transport %s is for kinds that come with "
			"poolfs: use ssh or none", kind->transport);
	int result = facts_transport(kind, NULL, &name, err);
	return result < 0 ? result : 0;
}

/* The verbs that every pool has. */
static int check_verbs(const struct poolfs_kind *kind, struct poolfs_err *err)
{
	struct facts facts = { 0 };
	int result = facts_verbs(kind, NULL, &facts, err);

	facts_done(&facts);
	return result;
}

/* Looks at all. */
int module_check(const struct module *module, struct poolfs_err *err)
{
	const struct poolfs_kind *kind = &module->kind;
	int result = check_name(kind, err);

	if (result == 0)
		result = check_keys(kind, err);
	if (result == 0)
		result = check_named(kind, "targets", kind->targets, POOLFS_WORDS, err);
	if (result == 0)
		result = check_named(kind, "stop_limit", kind->stop_limit, POOLFS_SECONDS, err);
	if (result == 0)
		result = check_slots(module, err);
	if (result == 0)
		result = check_verbs(kind, err);
	return result < 0 ? result : check_transport(kind, err);
}
