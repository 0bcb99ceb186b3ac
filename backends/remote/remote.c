/* SPDX-License-Identifier: MIT */
/*
 * A machine that exists already has no life cycle here: start only says where it is,
 * and stop leaves it as it is. The console has one (tap.h).
 */
#include "backends/remote/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/remote/jump.h"
#include "backends/remote/tap.h"
#include "backends/remote/target.h"

struct remote {
	struct poolfs_machine *machine;
	struct target target;	/* complete: of `targets`, or of `host` */
	struct jump jump;	/* empty: the way is direct */
	char *environment[4];	/* for the console's command, ended by NULL */
	struct tap *tap;	/* the console; NULL: there is none */
	struct poolfs_op *stop;	/* that waits for its end */
};

/* The machine of an instance: the one word that the daemon chose, or the one that all share. */
static int read_machine(const struct poolfs_values *values, struct target *target,
	struct poolfs_err *err)
{
	const char *word = poolfs_words(values, "targets")[0];
	int result = 0;

	if (word)
		result = target_parse(word, target, err);
	else
		snprintf(target->host, sizeof(target->host), "%s", poolfs_string(values, "host"));
	if (result < 0)
		return result;
	if (!target->port)
		target->port = (uint16_t)poolfs_number(values, "ssh_port");
	if (!*target->user)
		snprintf(target->user, sizeof(target->user), "%s", poolfs_string(values, "ssh_user"));
	return 0;
}

/* .open */
static int remote_open(struct poolfs_machine *machine, void **state, struct poolfs_err *err)
{
	struct remote *remote = memory_new(sizeof(*remote));
	const struct poolfs_values *values = poolfs_machine_values(machine);
	int result = read_machine(values, &remote->target, err);

	if (result == 0 && poolfs_has(values, "jump"))
		result = jump_make(values, &remote->target, &remote->jump, err);
	if (result < 0) {
		free(remote);
		return result;
	}
	remote->machine = machine;
	*state = remote;
	return 0;
}

/* .close */
static void remote_close(void *state)
{
	struct remote *remote = state;

	tap_free(remote->tap);
	for (size_t i = 0; remote->environment[i]; i++)
		free(remote->environment[i]);
	jump_done(&remote->jump);
	free(remote);
}

/* .start: whether the machine is there is for the login to find out. */
static void remote_start(void *state, struct poolfs_op *op)
{
	struct remote *remote = state;
	const struct target *target = &remote->target;
	const char *console = poolfs_string(poolfs_machine_values(remote->machine), "console");

	if (*target->name)
		poolfs_machine_status(remote->machine, "target", "%s", target->name);
	poolfs_machine_status(remote->machine, "address",
		strchr(target->host, ':') ? "[%s]:%u" : "%s:%u", target->host, target->port);
	if (console) {
		remote->environment[0] = memory_format("POOLFS_TARGET=%s", target->name);
		remote->environment[1] = memory_format("POOLFS_HOST=%s", target->host);
		remote->environment[2] = memory_format("POOLFS_PORT=%u", target->port);
		remote->tap = tap_new(remote->machine, console,
			(const char *const *)remote->environment);
	}
	poolfs_op_done(op, 0, "%s", "");
}

/* The console is closed. */
static void console_stopped(void *data)
{
	struct remote *remote = data;

	poolfs_op_done(remote->stop, 0, "%s", "");
}

/* .stop */
static void remote_stop(void *state, struct poolfs_op *op)
{
	struct remote *remote = state;

	remote->stop = op;
	if (remote->tap)
		tap_stop(remote->tap, console_stopped, remote);
	else
		poolfs_op_done(op, 0, "%s", "");
}

/* .console_write */
static int remote_console_write(void *state, const void *data, size_t size)
{
	struct remote *remote = state;

	return remote->tap ? tap_write(remote->tap, data, size) : -EOPNOTSUPP;
}

/* .address */
static int remote_address(void *state, struct poolfs_address *address, struct poolfs_err *err)
{
	struct remote *remote = state;

	const struct poolfs_values *values = poolfs_machine_values(remote->machine);

	address->host = remote->target.host;
	address->port = remote->target.port;
	address->user = remote->target.user;
	address->known_hosts = poolfs_string(values, "known_hosts");
	address->accept_new = jump_accepts_new(values);
	address->proxy = (const char *const *)remote->jump.words;
	address->proxy_environment = (const char *const *)remote->jump.environment;
	return 0;
}

const struct poolfs_backend remote_backend = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_backend),
	.kind = &remote_kind,
	.open = remote_open,
	.close = remote_close,
	.start = remote_start,
	.stop = remote_stop,
	.address = remote_address,
	.console_write = remote_console_write,
};
