/* SPDX-License-Identifier: MIT */
#include "fs/targets.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"

/* A machine, however many pools list it. */
struct machine {
	LIST_ENTRY(machine) entry;
	char *name;		/* "host:port" */
	char *holder;		/* "POOL/NAME"; NULL: it is free */
	char *bad;		/* why it is not lent any more; NULL: it is well */
	unsigned lists;		/* pools that list it */
};

struct target {
	const char *word;	/* the configuration's */
	char name[TEXT_NAME_MAX + 1];
	struct machine *machine;
};

struct targets {
	size_t count;
	struct target list[];
};

/* The machine of that name; made when it is new. */
static struct machine *machine_get(struct machine_list *machines, const char *name)
{
	struct machine *machine;

	LIST_FOREACH(machine, machines, entry)
		if (strcmp(machine->name, name) == 0)
			break;
	if (!machine) {
		machine = memory_new(sizeof(*machine));
		machine->name = memory_string(name);
		LIST_INSERT_HEAD(machines, machine, entry);
	}
	machine->lists++;
	return machine;
}

/* One list less has it; the last one frees it. */
static void machine_put(struct machine *machine)
{
	if (--machine->lists)
		return;
	LIST_REMOVE(machine, entry);
	free(machine->name);
	free(machine->holder);
	free(machine->bad);
	free(machine);
}

/* Reads the list, which was checked with the configuration. */
struct targets *targets_new(struct machine_list *machines, const struct config_pool *config)
{
	const struct facts *facts = &config->facts;
	size_t count = facts->target_count;

	if (count == 0)
		return NULL;
	const char *const *words = poolfs_words(config->values, config->kind->targets);
	struct targets *targets =
		memory_new(sizeof(*targets) + count * sizeof(*targets->list));
	targets->count = count;
	for (size_t i = 0; i < count; i++) {
		targets->list[i].word = words[i];
		snprintf(targets->list[i].name, sizeof(targets->list[i].name), "%s",
			facts->targets[i].name);
		targets->list[i].machine = machine_get(machines, facts->targets[i].machine);
	}
	return targets;
}

/* Frees. */
void targets_free(struct targets *targets)
{
	for (size_t i = 0; targets && i < targets->count; i++)
		machine_put(targets->list[i].machine);
	free(targets);
}

/* Counts. */
size_t targets_count(const struct targets *targets)
{
	return targets->count;
}

/* Whether it can be lent; else why not. */
static bool is_free(const struct machine *machine, struct poolfs_err *err)
{
	if (machine->bad)
		poolfs_err_set(err, -ENOSPC, "%s is bad: %s", machine->name, machine->bad);
	else if (machine->holder)
		poolfs_err_set(err, -ENOSPC, "%s is lent to %s", machine->name, machine->holder);
	return !machine->bad && !machine->holder;
}

/* Lends. */
static int take(struct targets *targets, size_t number, const char *holder)
{
	targets->list[number].machine->holder = memory_string(holder);
	return (int)number;
}

/* Finds a machine. */
int targets_take(struct targets *targets, const char *name, const char *holder,
	struct poolfs_err *err)
{
	struct poolfs_err why = { "" };

	for (size_t i = 0; i < targets->count; i++)
		if (strcmp(targets->list[i].name, name) == 0)
			return is_free(targets->list[i].machine, err) ? take(targets, i, holder) :
									  -ENOSPC;
	for (int named = 0; named <= 1; named++)
		for (size_t i = 0; i < targets->count; i++)
			if ((targets->list[i].name[0] != '\0') == named &&
				is_free(targets->list[i].machine, &why))
				return take(targets, i, holder);
	return poolfs_err_set(err, -ENOSPC, "none of the %zu machines is free; %s", targets->count,
		why.text);
}

/* Takes back. */
void targets_give_back(struct targets *targets, int number, const char *bad)
{
	struct machine *machine = targets->list[number].machine;

	assert(machine->holder);
	free(machine->holder);
	machine->holder = NULL;
	if (bad)
		machine->bad = memory_string(bad);
}

/* Its word. */
const char *targets_word(const struct targets *targets, int number)
{
	return targets->list[number].word;
}

/* Counts, then a line for each machine. */
void targets_show(const struct targets *targets, struct text *text)
{
	char clean[512];
	size_t unused = 0;

	for (size_t i = 0; i < targets->count; i++)
		unused += is_free(targets->list[i].machine, NULL);
	text_printf(text, "targets %zu\ntargets_free %zu\n", targets->count, unused);
	for (size_t i = 0; i < targets->count; i++) {
		const struct target *target = &targets->list[i];
		const struct machine *machine = target->machine;
		const char *state = machine->bad ? "bad " : machine->holder ? "lent " : "free";

		text_escape(clean, sizeof(clean),
			machine->bad ? machine->bad : machine->holder ? machine->holder : "");
		if (*target->name)
			text_printf(text, "target.%s", target->name);
		else
			text_printf(text, "target.%zu", i + 1);
		text_printf(text, " %s %s%s\n", machine->name, state, clean);
	}
}
