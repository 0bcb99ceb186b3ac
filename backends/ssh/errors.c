/* SPDX-License-Identifier: MIT */
#include "backends/ssh/errors.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

/*
 * OpenSSH's server sends NO_SUCH_FILE for ENOENT, ENOTDIR, EBADF and ELOOP,
 * PERMISSION_DENIED for EPERM and EACCES, BAD_MESSAGE for EINVAL and ENAMETOOLONG,
 * and FAILURE for everything else.
 */
static const int statuses[] = {
	[SFTP_OK] = 0,
	[SFTP_EOF] = -EIO,
	[SFTP_NO_SUCH_FILE] = -ENOENT,
	[SFTP_PERMISSION_DENIED] = -EACCES,
	[SFTP_FAILURE] = -EIO,
	[SFTP_BAD_MESSAGE] = -EINVAL,
	[SFTP_NO_CONNECTION] = -EHOSTDOWN,
	[SFTP_CONNECTION_LOST] = -EHOSTDOWN,
	[SFTP_OP_UNSUPPORTED] = -EOPNOTSUPP,
};

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "ABRT", SIGABRT }, { "ALRM", SIGALRM }, { "FPE", SIGFPE },   { "HUP", SIGHUP },
	{ "ILL", SIGILL },   { "INT", SIGINT },   { "KILL", SIGKILL }, { "PIPE", SIGPIPE },
	{ "QUIT", SIGQUIT }, { "SEGV", SIGSEGV }, { "TERM", SIGTERM }, { "USR1", SIGUSR1 },
	{ "USR2", SIGUSR2 }, { "BUS", SIGBUS },	  { "TRAP", SIGTRAP }, { "SYS", SIGSYS },
	{ "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
};

/* Looks a status up. */
int errors_status(uint32_t status)
{
	if (status >= sizeof(statuses) / sizeof(*statuses))
		return -EIO;
	return statuses[status];
}

/* Looks a signal up. */
int errors_signal(const char *name)
{
	size_t length = strcspn(name, "@");

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (strlen(signals[i].name) == length && !strncmp(signals[i].name, name, length))
			return signals[i].number;
	return 0;
}
