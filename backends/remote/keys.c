/* SPDX-License-Identifier: MIT */
#include "backends/remote/remote.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/remote/jump.h"
#include "backends/remote/tap_text.h"
#include "backends/remote/target.h"

static const char *const trusts[] = { "known", "accept-new", NULL };

static const struct poolfs_key keys[] = {
	{ .name = "host",
	  .type = POOLFS_STRING,
	  .help = "One machine that all instances share, each by a login of its own: its name or "
		  "numeric address." },
	{ .name = "targets",
	  .type = POOLFS_WORDS,
	  .help = "Machines that are lent, each to one instance at a time: [NAME=][USER@]HOST[:PORT] "
		  "and more of them. The pool's count is their number. mkdir of a NAME takes that "
		  "machine, any other mkdir one that is free." },
	{ .name = "known_hosts",
	  .type = POOLFS_PATH,
	  .fallback = "~/.ssh/known_hosts",
	  .help = "The file, as ssh(1) keeps it, that holds the machine's host key. Names with "
		  "wildcards and certificate authorities in it are not used." },
	{ .name = "host_key",
	  .type = POOLFS_CHOICE,
	  .choices = trusts,
	  .fallback = "known",
	  .help = "known: the host key must be in known_hosts. accept-new: that of a machine that "
		  "known_hosts does not have is trusted, and added to it. A key that changed is refused "
		  "in any case." },
	{ .name = "startup",
	  .type = POOLFS_STRING,
	  .help = "A command that runs in the machine before the instance is ready; when it fails, so "
		  "does the boot." },
	{ .name = "reset",
	  .type = POOLFS_STRING,
	  .help = "A command that runs in the machine after rmdir, or reboot, which boots it again. Until "
		  "that is done the machine is not lent; when it fails, not any more." },
	{ .name = "reset_timeout",
	  .type = POOLFS_SECONDS,
	  .fallback = "120",
	  .min = 1000,
	  .max = 3600000,
	  .help = "How long reset may take, the boot included." },
	{ .name = "console",
	  .type = POOLFS_STRING,
	  .help = "The machine's console: exec:COMMAND, dev:/dev/NAME,SPEED (a serial device, by default "
		  "at 115200) or tcp:HOST:PORT. Unset, there is none." },
	{ .name = "jump",
	  .type = POOLFS_STRING,
	  .help = "A machine on the way, [USER@]HOST[:PORT]: ssh(1) logs in there, with the same key "
		  "and known_hosts, and connects from there. The port is 22 unless it is written." },
	{ 0 }
};

static const struct poolfs_key *const tables[] = { keys, poolfs_ssh_keys, NULL };

/* What a word of `targets` says; the port and the machine's text are complete. */
static int read_target(const struct poolfs_values *values, const char *word,
	struct poolfs_target *out, struct poolfs_err *err)
{
	struct target target;
	int result = target_parse(word, &target, err);

	if (result < 0)
		return result;
	*out = (struct poolfs_target){ 0 };
	memcpy(out->name, target.name, sizeof(out->name));
	for (char *at = target.host; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	snprintf(out->machine, sizeof(out->machine), strchr(target.host, ':') ? "[%s]:%lld" : "%s:%lld",
		target.host, target.port ? (long long)target.port : poolfs_number(values, "ssh_port"));
	return 0;
}

/* Looks at the list: no name and no machine twice. */
static int check_targets(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *const *words = poolfs_words(values, "targets");
	struct poolfs_target one, other;
	int result = 0;

	for (size_t i = 0; words[i] && result == 0; i++) {
		result = read_target(values, words[i], &one, err);
		for (size_t k = 0; k < i && result == 0; k++) {
			read_target(values, words[k], &other, NULL);
			if (*one.name && strcmp(one.name, other.name) == 0)
				result = poolfs_err_set(err, -EINVAL, "\"%s\": another machine has "
					"that name already", words[i]);
			else if (strcmp(one.machine, other.machine) == 0)
				result = poolfs_err_set(err, -EINVAL, "\"%s\": %s stands in the list "
					"already", words[i], one.machine);
		}
	}
	if (result < 0)
		poolfs_err_prefix(err, "targets");
	return result;
}

/* The file must be there, unless keys are added to it. */
static int check_known_hosts(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *path = poolfs_string(values, "known_hosts");
	bool adds = jump_accepts_new(values);

	if (access(path, adds ? R_OK | W_OK : R_OK) == 0)
		return 0;
	int error = errno;
	char *directory = memory_string(path);
	char *slash = strrchr(directory, '/');

	if (slash)
		slash[slash == directory] = '\0';
	bool can_be_made = adds && error == ENOENT && access(directory, W_OK) == 0;
	free(directory);
	if (can_be_made)
		return 0;
	return poolfs_err_set(err, -error, "known_hosts: %s: %s%s", path, strerror(error),
		adds ? "" : ": ssh-keyscan HOST prints what belongs into it; or set host_key = "
			    "accept-new");
}

/* A console that is one machine's cannot be that of several instances. */
static int check_console(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *const *words = poolfs_words(values, "targets");
	const char *text = poolfs_string(values, "console");
	struct tap_text tap;

	if (!text)
		return 0;
	int result = tap_text_read(text, &tap, err);
	if (result < 0)
		poolfs_err_prefix(err, "console");
	else if (tap.kind != TAP_EXEC && words[0] && words[1])
		result = poolfs_err_set(err, -EINVAL, "console: this is one machine's, and targets has "
			"several: make a pool for each, or use exec:, whose command gets POOLFS_TARGET");
	else if (tap.kind == TAP_DEVICE && !words[0] && poolfs_number(values, "count") > 1)
		result = poolfs_err_set(err, -EINVAL, "console: a device has one reader: write "
			"\"count = 1\", or the machine in targets in place of host");
	return result;
}

/* One machine for all, or a list; an empty host would be this host. */
static int check(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *host = poolfs_string(values, "host");
	bool list = poolfs_words(values, "targets")[0];

	if (host && list)
		return poolfs_err_set(err, -EINVAL, "targets: there is a host already: write the "
			"machines in targets, or one machine for all instances in host");
	if (poolfs_has(values, "targets") && !list)
		return poolfs_err_set(err, -EINVAL, "targets: at least one machine is needed");
	if (host ? !*host : !list)
		return poolfs_err_set(err, -EINVAL, "host: a name or an address is needed, or a list "
			"of machines in targets");
	int result = check_targets(values, err);
	if (result == 0)
		result = check_known_hosts(values, err);
	if (result == 0)
		result = jump_check(values, err);
	if (result == 0)
		result = check_console(values, err);
	return result;
}

/* What there is in some pools only. */
static uint32_t features_with(const struct poolfs_values *values)
{
	return poolfs_has(values, "console") ? POOLFS_FEATURE_CONSOLE : 0;
}

const struct poolfs_kind remote_kind = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_kind),
	.name = "ssh",
	.summary = "machines that exist already, reached by SSH",
	.features = POOLFS_FEATURE_OUTLIVES,
	.tables = tables,
	.features_with = features_with,
	.check = check,
	.targets = "targets",
	.target = read_target,
};
