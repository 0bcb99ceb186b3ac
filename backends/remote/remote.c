/* SPDX-License-Identifier: MIT */
/*
 * A machine that exists already has no life cycle here: start only says where it is,
 * and stop leaves it as it is.
 */
#include "backends/remote/remote.h"

/* .open: the machine itself is all the state that there is. */
static int remote_open(struct poolfs_machine *machine, void **state, struct poolfs_err *err)
{
	*state = machine;
	return 0;
}

/* .close */
static void remote_close(void *state)
{
}

/* .start: whether the machine is there is for the login to find out. */
static void remote_start(void *state, struct poolfs_op *op)
{
	const struct poolfs_values *values = poolfs_machine_values(state);

	poolfs_machine_status(state, "address", "%s:%lld", poolfs_string(values, "host"),
		(long long)poolfs_number(values, "ssh_port"));
	poolfs_op_done(op, 0, "%s", "");
}

/* .stop */
static void remote_stop(void *state, struct poolfs_op *op)
{
	poolfs_op_done(op, 0, "%s", "");
}

/* .address */
static int remote_address(void *state, struct poolfs_address *address, struct poolfs_err *err)
{
	const struct poolfs_values *values = poolfs_machine_values(state);

	address->host = poolfs_string(values, "host");
	address->port = (uint16_t)poolfs_number(values, "ssh_port");
	address->known_hosts = poolfs_string(values, "known_hosts");
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
};
