/* SPDX-License-Identifier: MIT */
/*
 * What a kind says of one pool, by the values of its keys: whether they fit together, what its
 * machines can do, which machines it lends, which verbs they take. Found once, when the
 * configuration is read. No I/O but what the kind's `check` reads; any thread.
 */
#ifndef BACKENDS_FACTS_H
#define BACKENDS_FACTS_H

#include "backends/backend.h"

struct json_t;
struct text;

/* More are a mistake: their names and help are kept for each pool. */
#define FACTS_VERBS_MAX 64u

/* Beside POOLFS_FEATURE_CONSOLE: nothing can be typed. */
#define FACTS_CONSOLE_READ_ONLY (1u << 31)
/* Beside POOLFS_FEATURE_FILES: a close has what was written brought to the machine (FILES_FLUSH). */
#define FACTS_FILES_FLUSHED (1u << 30)

struct facts_verb {
	char *name, *argument, *help;	/* argument: NULL: it takes none */
	unsigned flags;			/* POOLFS_VERB_... */
};

/* Zero-initialised: a pool whose machines can do nothing. */
struct facts {
	const char *transport;		/* its name, a constant */
	uint32_t features;		/* POOLFS_FEATURE_..., those of the transport too */
	struct poolfs_target *targets;	/* in the order of the key's words; NULL: machines are made */
	size_t target_count;
	struct facts_verb *verbs;
	size_t verb_count;
};

/* Finds all, after the kind has checked the values. 0 with *facts for facts_done, or a negative errno;
 * err begins with the key that is to be changed, where it is one. */
int facts_find(const struct poolfs_kind *kind, const struct poolfs_values *values,
	struct facts *facts, struct poolfs_err *err);
void facts_done(struct facts *facts);

/* Appends the verb and what may follow it, as users are told: "sysrq KEY", "say [WORD...]". */
void facts_show_verb(const struct facts_verb *verb, struct text *out);
/* The verb of that name, or NULL. */
const struct facts_verb *facts_verb(const struct facts *facts, const char *name, size_t length);

/* Which transport the machines have: *name is one of the table of transports, a constant. 0 or more, or
 * -EINVAL with err: the kind names one that does not exist, or lacks its keys. values may be NULL where
 * the transport does not hang on them. */
int facts_transport(const struct poolfs_kind *kind, const struct poolfs_values *values,
	const char **name, struct poolfs_err *err);

/* Whether a transport is for kinds that come with poolfs only. name may be NULL. */
bool facts_transport_is_own(const char *name);

/* Adds the verbs to the facts; without values, only those that every pool has. 0, or -EINVAL with err: one is
 * no verb. */
int facts_verbs(const struct poolfs_kind *kind, const struct poolfs_values *values, struct facts *facts,
	struct poolfs_err *err);

/* As an object of JSON, and back; the caller owns the result. -EINVAL: it is no such object. */
struct json_t *facts_to_json(const struct facts *facts);
int facts_from_json(const struct json_t *object, struct facts *facts);

#endif
