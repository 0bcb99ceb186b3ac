/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "backends/exec/exec.h"
#include "backends/base/text.h"
#include "backends/facts.h"
#include "backends/ssh/keys.h"

static const struct poolfs_key keys[] = {
	{ .name = "create",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Makes the machine, and ends when it is made. What it leaves running belongs to the "
		  "machine. Lines \"KEY VALUE\" that it prints become lines of the instance's status." },
	{ .name = "destroy",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Ends the machine, once for each create that was begun, be it that it failed half-way." },
	{ .name = "destroy_timeout",
	  .type = POOLFS_SECONDS,
	  .fallback = "30",
	  .min = 1000,
	  .max = 3600000,
	  .help = "How long destroy may take; then it is killed, and events tells that something may be "
		  "left." },
	{ .name = "address",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Prints where the machine's SSH server is: [USER@]HOST[:PORT]. As long as it fails it is "
		  "asked again. A pool has either address or run." },
	{ .name = "run",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Runs a command in the machine: its last argument, which is added, is the text for the "
		  "machine's shell; its standard streams and its exit status are the command's." },
	{ .name = "push",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Writes a file in the machine, whose path is its last argument, with what it reads from "
		  "standard input. With run: files/ then brings the contents of new files by it." },
	{ .name = "pull",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Prints the content of a file in the machine, whose path is its last argument. With run: "
		  "files/ then reads larger files by it." },
	{ .name = "carry_from",
	  .type = POOLFS_SIZE,
	  .fallback = "64K",
	  .max = 1048576,
	  .help = "Contents of more bytes are carried by push and pull, others by run: a command is sooner "
		  "done than a program started. 0: all but empty ones." },
	{ .name = "carry_timeout",
	  .type = POOLFS_SECONDS,
	  .fallback = "120",
	  .min = 1000,
	  .max = 3600000,
	  .help = "How long push may take nothing from its standard input, and pull print nothing; then they "
		  "are ended, and what they were for fails with ETIMEDOUT." },
	{ .name = "wait",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Runs as long as the machine does: when it ends, the instance is stopped. Unset, a "
		  "machine does not end by itself." },
	{ .name = "console",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Connects its standard input and output, a terminal, to the machine's console. When it "
		  "ends it is started again. Unset, there is no console." },
	{ .name = "ctl.VERB",
	  .type = POOLFS_COMMAND,
	  .flags = POOLFS_KEY_EXISTS | POOLFS_KEY_FAMILY,
	  .help = "What the word VERB does when it is written to an instance's ctl. Words behind it, quoted "
		  "as in a shell, are further arguments." },
	{ .name = "env.NAME",
	  .type = POOLFS_STRING,
	  .flags = POOLFS_KEY_FAMILY,
	  .help = "A variable NAME in the environment of all these programs." },
	{ 0 }
};

static const struct poolfs_key *const tables[] = { keys, poolfs_ssh_keys, NULL };

/* Whether a name can be a variable's. */
static bool is_variable(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '_')
			return false;
	return true;
}

/* The variables' names. Ours are not to be had. */
static int check_variables(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *key;

	for (size_t i = 0; (key = poolfs_member(values, "env.NAME", i)); i++) {
		const char *name = key + strlen("env.");

		if (!is_variable(name))
			return poolfs_err_set(err, -EINVAL, "%s: a variable's name has letters, digits and "
				"\"_\", and does not begin with a digit", key);
		if (strncmp(name, "POOLFS_", strlen("POOLFS_")) == 0)
			return poolfs_err_set(err, -EINVAL, "%s: names that begin with POOLFS_ are set by "
				"poolfs", key);
	}
	return 0;
}

/* One way into the machine, and one only. */
static int check(const struct poolfs_values *values, struct poolfs_err *err)
{
	static const char *const carriers[] = { "push", "pull" };
	bool address = poolfs_has(values, "address"), run = poolfs_has(values, "run");

	if (address && run)
		return poolfs_err_set(err, -EINVAL, "run: there is an address already: a machine is reached "
			"by SSH, at what address prints, or by run");
	if (!address && !run)
		return poolfs_err_set(err, -EINVAL, "run: missing: write \"run = ...\", a program that runs a "
			"command in the machine, or \"address = ...\", one that tells where its SSH server is");
	for (size_t i = 0; address && i < sizeof(carriers) / sizeof(*carriers); i++)
		if (poolfs_has(values, carriers[i]))
			return poolfs_err_set(err, -EINVAL, "%s: files are carried by SSH, at what address "
				"prints: it is for run", carriers[i]);
	if (poolfs_has(values, "destroy") && !poolfs_has(values, "create"))
		return poolfs_err_set(err, -EINVAL, "destroy: without create nothing is to be destroyed");
	return check_variables(values, err);
}

/* What there is in some pools only. */
static uint32_t features_with(const struct poolfs_values *values)
{
	return (poolfs_has(values, "console") ? POOLFS_FEATURE_CONSOLE : 0) |
	       (poolfs_has(values, "push") ? FACTS_FILES_FLUSHED : 0);
}

/* The way in. */
static const char *transport_with(const struct poolfs_values *values)
{
	return poolfs_has(values, "run") ? "programs" : "ssh";
}

/* The words of ctl. */
static void verbs_with(const struct poolfs_values *values,
	void (*add)(void *data, const struct poolfs_verb *verb), void *data)
{
	const char *key;

	for (size_t i = 0; (key = poolfs_member(values, "ctl.VERB", i)); i++)
		add(data, &(struct poolfs_verb){ .name = key + strlen("ctl."), .argument = "ARGUMENT...",
			.help = "", .flags = POOLFS_VERB_OPTIONAL | POOLFS_VERB_WORDS });
}

const struct poolfs_kind exec_kind = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_kind),
	.name = "exec",
	.summary = "machines that programs of your own make, reach and end",
	.tables = tables,
	.features_with = features_with,
	.check = check,
	.transport_with = transport_with,
	.verbs_with = verbs_with,
	.stop_limit = "destroy_timeout",
};
