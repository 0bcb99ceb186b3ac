/* SPDX-License-Identifier: MIT */
/*
 * The command line of QEMU, from the values of a pool. No I/O.
 */
#ifndef QEMU_ARGS_H
#define QEMU_ARGS_H

#include "backends/backend.h"

/* Names in the instance's directory, which is QEMU's current one. */
#define ARGS_CONSOLE	"qemu-console.sock"
#define ARGS_QMP	"qemu-qmp.sock"
#define ARGS_OVERLAY	"disk.qcow2"
#define ARGS_TRIAL_IMAGE "qemu-trial.img"
/* A trial's memory, in bytes: enough for any distribution's kernel alone, and what every host can spare. */
#define ARGS_TRIAL_MEMORY 268435456ll

enum args_purpose {
	ARGS_RUN,	/* the machine itself */
	/* A trial: the kernel alone, which must end in a panic, or ARGS_TRIAL_IMAGE (trial.h), with
	 * ARGS_TRIAL_MEMORY and one processor whatever the pool's machines have. The console is
	 * standard output. */
	ARGS_TRIAL,
};

struct args {
	const struct poolfs_values *values;
	const char *name;	/* "POOL/NAME" */
	enum args_purpose purpose;
	bool kvm;
	bool sandbox;
	bool resets;		/* a guest that resets itself boots again; else QEMU ends */
};

/* The words for exec, ended by NULL; args_free() them. */
char **args_make(const struct args *args);
void args_free(char **words);

/* Whether the machine is of the host's architecture, so that KVM is possible. */
bool args_is_native(const struct poolfs_values *values);

#endif
