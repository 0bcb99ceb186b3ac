/* SPDX-License-Identifier: MIT */
#include "backends/ssh/keys.h"

#include <errno.h>

static const char *const carriers[] = { "auto", "sftp", "shell", NULL };

const struct poolfs_key poolfs_ssh_keys[] = {
	{ .name = "ssh_user",
	  .type = POOLFS_STRING,
	  .fallback = "root",
	  .help = "The login's name." },
	{ .name = "ssh_key",
	  .type = POOLFS_PATH,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "The file of the private key, without passphrase (Ed25519; RSA where libssh2 is "
		  "1.11 or newer). Unset: the keys of the agent that SSH_AUTH_SOCK names." },
	{ .name = "ssh_agent",
	  .type = POOLFS_BOOL,
	  .fallback = "yes",
	  .help = "Whether the agent is asked where no ssh_key is set. It is never forwarded." },
	{ .name = "ssh_port",
	  .type = POOLFS_INT,
	  .fallback = "22",
	  .min = 1,
	  .max = 65535,
	  .help = "The port that the machine's SSH server listens on." },
	{ .name = "ssh_keepalive",
	  .type = POOLFS_SECONDS,
	  .fallback = "15",
	  .min = 1000,
	  .max = 3600000,
	  .help = "A silent connection is asked for a sign of life this often; after two silent "
		  "intervals it counts as lost." },
	{ .name = "files_by",
	  .type = POOLFS_CHOICE,
	  .choices = carriers,
	  .fallback = "auto",
	  .help = "What carries files/: the SFTP server of the machine, commands of a shell there, which is "
		  "slower, or (auto) these where there is no such server." },
	{ 0 }
};

/* Looks at the login's keys together. */
int ssh_keys_check(const struct poolfs_values *values, struct poolfs_err *err)
{
	if (!poolfs_has(values, "ssh_key") && !poolfs_number(values, "ssh_agent"))
		return poolfs_err_set(err, -EINVAL, "ssh_key: without an agent (ssh_agent = no), the "
			"file of a private key is needed");
	return 0;
}
