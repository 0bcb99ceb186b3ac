/* SPDX-License-Identifier: MIT */
#include "backends/remote/remote.h"

#include <errno.h>

#include "backends/ssh/keys.h"

static const struct poolfs_key keys[] = {
	{ .name = "host",
	  .type = POOLFS_STRING,
	  .flags = POOLFS_KEY_REQUIRED,
	  .help = "The machine's name or numeric address." },
	{ .name = "known_hosts",
	  .type = POOLFS_PATH,
	  .flags = POOLFS_KEY_EXISTS,
	  .fallback = "~/.ssh/known_hosts",
	  .help = "The file, as ssh(1) keeps it, that must hold the machine's host key. Names with "
		  "wildcards and certificate authorities in it are not used." },
	{ 0 }
};

static const struct poolfs_key *const tables[] = { keys, ssh_keys, NULL };

/* An empty host would be this host. */
static int check(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *host = poolfs_string(values, "host");

	if (!host || !*host)
		return poolfs_err_set(err, -EINVAL, "host: a name or an address is needed");
	return 0;
}

const struct poolfs_kind remote_kind = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_kind),
	.name = "ssh",
	.summary = "machines that exist already, reached by SSH",
	.features = POOLFS_FEATURE_OUTLIVES | POOLFS_FEATURE_FORWARD,
	.tables = tables,
	.check = check,
};
