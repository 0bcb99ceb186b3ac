/* SPDX-License-Identifier: MIT */
#include "backends/exec/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/exec/limits.h"
#include "backends/process/child.h"

struct host {
	struct poolfs_machine *machine;
	struct child *child;
	int socket;			/* -1: closed, it is to end */
	void (*ended)(void *data);
	void *data;
};

/* It says nothing but why it could not be started. */
static void on_output(void *data, const void *bytes, size_t size)
{
	struct host *host = data;

	poolfs_machine_log_bytes(host->machine, bytes, size);
}

/* It ended. */
static void on_exited(void *data, int status, int signal)
{
	struct host *host = data;

	child_free(host->child);
	host->child = NULL;
	host->ended(host->data);
}

/* Starts it with its end of the socket. */
static int start(struct host *host, int input, const char *directory, const char *const *environment,
	struct poolfs_err *err)
{
	char *program = child_beside("poolfs-programs");
	const char *const words[] = { program, NULL };
	struct child_options options = { .argv = words, .directory = directory,
		.environment = environment, .input = input, .output = on_output, .exited = on_exited,
		.data = host };
	int result = child_start(poolfs_machine_loop(host->machine), &options, &host->child, err);

	free(program);
	return result;
}

/* Makes one. */
int host_new(struct poolfs_machine *machine, const char *directory, const char *const *environment,
	void (*ended)(void *data), void *data, struct host **out, struct poolfs_err *err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return poolfs_err_set(err, -errno, "socketpair: %s", strerror(errno));
	struct host *host = memory_new(sizeof(*host));
	host->machine = machine;
	host->socket = ends[0];
	host->ended = ended;
	host->data = data;
	int result = start(host, ends[1], directory, environment, err);
	close(ends[1]);
	if (result < 0)
		host_free(host);
	else
		*out = host;
	return result;
}

/* Its socket. */
int host_socket(const struct host *host)
{
	return host->socket;
}

/* Whoever else has the socket has let go of it before. */
void host_end(struct host *host)
{
	if (host->socket < 0)
		return;
	close(host->socket);
	host->socket = -1;
	child_stop(host->child, 0, LIMITS_HOST_MS);
}

/* Frees. A child that still runs would be killed by child_free, and leave what it keeps. */
void host_free(struct host *host)
{
	if (!host)
		return;
	if (host->socket >= 0)
		close(host->socket);
	child_free(host->child);
	free(host);
}
