/* SPDX-License-Identifier: MIT */
#include "backends/container/container.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/container/settings.h"

static const char *const networks[] = { "isolated", "host", NULL };

static const struct poolfs_key keys[] = {
	{ .name = "root",
	  .type = POOLFS_PATH,
	  .help = "The root filesystem: a directory, which is never written to, or an archive that "
		  "tar unpacks at each start. Without it: the host's /usr, /etc and libraries." },
	{ .name = "bind",
	  .type = POOLFS_WORDS,
	  .help = "More directories of the host that the container sees, at the same place, "
		  "read-only." },
	{ .name = "network",
	  .type = POOLFS_CHOICE,
	  .choices = networks,
	  .fallback = "isolated",
	  .help = "isolated: only a loopback of its own; host: the host's network, all of it." },
	{ .name = "space",
	  .type = POOLFS_SIZE,
	  .fallback = "1G",
	  .min = 1048576,
	  .max = 1099511627776,
	  .help = "How much the container may write. It is kept in memory, and gone with the "
		  "instance." },
	{ .name = "memory_limit",
	  .type = POOLFS_SIZE,
	  .min = 4194304,
	  .max = 17592186044416,
	  .help = "How much memory its processes and files may take, where control groups can be "
		  "used; status tells." },
	{ .name = "pids_limit",
	  .type = POOLFS_INT,
	  .min = 8,
	  .max = 4194304,
	  .help = "How many processes and threads there may be, where control groups can be used." },
	{ .name = "cpus_limit",
	  .type = POOLFS_INT,
	  .min = 1,
	  .max = 4096,
	  .help = "How many processors' time it may use, where control groups can be used." },
	{ .name = "user",
	  .type = POOLFS_STRING,
	  .fallback = "root",
	  .help = "The login that runs commands and has files/: a name of the container's /etc/passwd, or "
		  "a number. Its home is /home/USER. Others than root need a poolfs that runs as root, or subuid(5)." },
	{ .name = "shell",
	  .type = POOLFS_STRING,
	  .fallback = "/bin/sh",
	  .help = "The container's program that runs commands, as SHELL -c COMMAND." },
	{ .name = "init",
	  .type = POOLFS_WORDS,
	  .fallback = "/bin/sh -i",
	  .help = "What runs on the console, and is started again a second after its end." },
	{ 0 }
};

static const struct poolfs_key *const tables[] = { keys, NULL };

/* Whether a path is absolute, of names alone. */
static bool is_full(const char *path)
{
	size_t names = 0;

	for (const char *at = path; *at; names++) {
		at += strspn(at, "/");
		size_t size = strcspn(at, "/");

		if (!size)
			break;
		if (*at == '.' && (size == 1 || (size == 2 && at[1] == '.')))
			return false;
		at += size;
	}
	return *path == '/' && names > 0;
}

/* Whether every word names a directory. */
static int check_binds(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *const *words = poolfs_words(values, "bind");
	struct stat status;

	for (size_t i = 0; words[i]; i++) {
		if (i >= SETTINGS_BINDS_MAX)
			return poolfs_err_set(err, -EINVAL, "bind: %d directories at most",
				SETTINGS_BINDS_MAX);
		if (!is_full(words[i]))
			return poolfs_err_set(err, -EINVAL,
				"bind: %s: the full path of a directory is needed", words[i]);
		if (stat(words[i], &status) < 0 || !S_ISDIR(status.st_mode))
			return poolfs_err_set(err, -EINVAL, "bind: %s is not a directory",
				words[i]);
	}
	return 0;
}

/* Whether it can be a name or a number, and so a file's name. */
static bool is_user(const char *user)
{
	return isalnum((unsigned char)*user) && strlen(user) <= 32 &&
		strspn(user, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
			strlen(user);
}

/* Whether it is a number that no container has. */
static bool is_beyond(const char *user)
{
	return strspn(user, "0123456789") == strlen(user) && strtoul(user, NULL, 10) >= CONTAINER_IDS;
}

/* Looks at what the single keys' types do not tell. */
static int check(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *root = poolfs_string(values, "root"), *shell = poolfs_string(values, "shell");
	struct stat status;

	if (root && stat(root, &status) < 0)
		return poolfs_err_set(err, -EINVAL, "root: %s: %s", root, strerror(errno));
	if (root && !S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode))
		return poolfs_err_set(err, -EINVAL, "root: %s is neither a directory nor an archive",
			root);
	if (shell[0] != '/')
		return poolfs_err_set(err, -EINVAL,
			"shell: %s: a full path in the container is needed", shell);
	if (!is_user(poolfs_string(values, "user")))
		return poolfs_err_set(err, -EINVAL, "user: %s: a name or a number is needed",
			poolfs_string(values, "user"));
	if (is_beyond(poolfs_string(values, "user")))
		return poolfs_err_set(err, -EINVAL, "user: %s: numbers go to %u", poolfs_string(values, "user"),
			CONTAINER_IDS - 1);
	if (!poolfs_words(values, "init")[0])
		return poolfs_err_set(err, -EINVAL, "init: a program is needed");
	return check_binds(values, err);
}

const struct poolfs_kind container_kind = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_kind),
	.name = "container",
	.summary = "containers of this host's kernel; need no image, start in milliseconds",
	.features = POOLFS_FEATURE_CONSOLE,
	.tables = tables,
	.check = check,
	.transport = "agent",
};
