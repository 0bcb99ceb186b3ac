/* SPDX-License-Identifier: MIT */
#include "fs/ctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "backends/base/memory.h"
#include "backends/protocol/states.h"
#include "fs/instance.h"

/* What is written, taken apart: the verb, and what follows it after one blank. */
struct order {
	const char *verb, *argument;	/* argument: NULL: nothing follows */
	size_t verb_size, argument_size;
};

/* A verb that the daemon knows. */
struct ctl_verb {
	const char *name, *argument;	/* argument: NULL: it takes none */
	uint32_t feature;		/* it is there where the pool has that */
	int (*take)(struct instance *instance, const struct order *order);
};

/* The instance of an object of that type. */
static struct instance *instance_of(struct object *object)
{
	return container_of(object, struct instance, object);
}

/* Whether there is a machine to tell something. */
static bool has_machine(const struct instance *instance)
{
	return !states_is_over(instance->state) || instance->state == INSTANCE_CRASHED;
}

/* Does something to the machine. */
static int tell_machine(struct instance *instance, enum machine_verb verb, char key)
{
	struct frame_machine frame = { .verb = verb, .key = (unsigned char)key };

	if (!has_machine(instance))
		return -EHOSTDOWN;
	shim_send(instance->shim, FRAME_MACHINE, 0, &frame, sizeof(frame));
	return 0;
}

/* stop: ends every run */
static int take_stop(struct instance *instance, const struct order *order)
{
	struct run *run;

	TAILQ_FOREACH(run, &instance->runs, entry)
		run_stop(run);
	return 0;
}

/* sysrq KEY */
static int take_sysrq(struct instance *instance, const struct order *order)
{
	unsigned char key = (unsigned char)order->argument[0];

	if (order->argument_size != 1 || (!islower(key) && !isdigit(key)))
		return -EINVAL;
	return tell_machine(instance, MACHINE_SYSRQ, (char)key);
}

/* nmi */
static int take_nmi(struct instance *instance, const struct order *order)
{
	return tell_machine(instance, MACHINE_NMI, 0);
}

static const struct ctl_verb verbs[] = {
	{ "stop", NULL, POOLFS_FEATURE_COMMANDS, take_stop },
	{ "sysrq", "KEY", POOLFS_FEATURE_SYSRQ, take_sysrq },
	{ "nmi", NULL, POOLFS_FEATURE_NMI, take_nmi },
};
#define VERBS (sizeof(verbs) / sizeof(*verbs))

/* What the pool's kind says. */
static const struct facts *facts_of(const struct instance *instance)
{
	return &pool_config(instance->pool)->facts;
}

/* ctl, read */
void ctl_show(struct object *object, struct text *text)
{
	const struct facts *facts = facts_of(instance_of(object));

	for (size_t i = 0; i < VERBS; i++)
		if (facts->features & verbs[i].feature)
			text_printf(text, "%s%s%s\n", verbs[i].name, verbs[i].argument ? " " : "",
				verbs[i].argument ? verbs[i].argument : "");
	for (size_t i = 0; i < facts->verb_count; i++) {
		facts_show_verb(&facts->verbs[i], text);
		text_printf(text, "\n");
	}
}

/* Takes a line apart. */
static struct order read_order(const char *data, size_t size)
{
	if (size > 0 && data[size - 1] == '\n')
		size--;
	const char *blank = size ? memchr(data, ' ', size) : NULL;
	struct order order = { .verb = data, .verb_size = size };

	if (blank) {
		order.verb_size = (size_t)(blank - data);
		order.argument = blank + 1;
		order.argument_size = size - order.verb_size - 1;
	}
	return order;
}

/* Whether that may follow a verb of the backend. */
static bool is_argument(const struct facts_verb *verb, const struct order *order)
{
	char **words = NULL;

	if (!order->argument)
		return !verb->argument || verb->flags & POOLFS_VERB_OPTIONAL;
	if (!verb->argument || order->argument_size > PROTOCOL_ARGUMENT_MAX ||
		memchr(order->argument, '\0', order->argument_size))
		return false;
	if (!(verb->flags & POOLFS_VERB_WORDS))
		return true;
	char *text = memory_format("%.*s", (int)order->argument_size, order->argument);
	int result = poolfs_split(text, &words, NULL);
	free(text);
	if (result == 0)
		poolfs_split_free(words);
	return result == 0;
}

/* A verb of the backend. */
static int take_verb(struct instance *instance, const struct order *order)
{
	const struct facts_verb *verb =
		facts_verb(facts_of(instance), order->verb, order->verb_size);

	if (!verb || !is_argument(verb, order))
		return -EINVAL;
	if (!has_machine(instance) || instance->state == INSTANCE_BOOTING)
		return -EHOSTDOWN;
	struct frame_verb frame = { .verb_size = (uint32_t)order->verb_size,
		.argument_size = (uint32_t)order->argument_size,
		.has_argument = order->argument != NULL };
	struct iovec parts[] = {
		{ &frame, sizeof(frame) },
		{ (void *)order->verb, order->verb_size },
		{ (void *)order->argument, order->argument_size },
	};
	shim_send_parts(instance->shim, FRAME_VERB, 0, parts, 3);
	return 0;
}

/* ctl, written */
int ctl_store(struct object *object, const char *data, size_t size)
{
	struct instance *instance = instance_of(object);
	struct order order = read_order(data, size);

	for (size_t i = 0; i < VERBS; i++) {
		const struct ctl_verb *verb = &verbs[i];

		if (!(facts_of(instance)->features & verb->feature) ||
			order.verb_size != strlen(verb->name) ||
			memcmp(order.verb, verb->name, order.verb_size) != 0)
			continue;
		return !verb->argument == !order.argument ? verb->take(instance, &order) : -EINVAL;
	}
	return take_verb(instance, &order);
}

/* No verb, no file. */
bool ctl_hidden(struct object *object)
{
	const struct facts *facts = facts_of(instance_of(object));

	for (size_t i = 0; i < VERBS; i++)
		if (facts->features & verbs[i].feature)
			return false;
	return facts->verb_count == 0;
}
