/* SPDX-License-Identifier: MIT */
/* One machine, as exec.c (how it begins, and the table), ending.c and ctl.c share it. */
#ifndef EXEC_PARTS_H
#define EXEC_PARTS_H

#include <stdbool.h>
#include <uv.h>

#include "backends/backend.h"
#include "backends/exec/answers.h"

struct host;
struct program;
struct programs;
struct tap;

struct exec {
	struct poolfs_machine *machine;
	const struct poolfs_values *values;
	char *directory;		/* of the programs */
	char **environment;
	struct poolfs_op *start, *stop, *verb;	/* while they are not done */
	struct host *host, *runs;	/* for the programs, for the transport; NULL: none */
	struct programs *programs;
	bool starting;			/* poolfs-programs was, and did not answer yet */
	bool up;			/* programs can be started */
	struct program *current;	/* create, address or destroy */
	struct program *waiting, *acting; /* wait; that of a verb */
	bool created;			/* create was begun: destroy is owed */
	unsigned waited;		/* of a machine whose shim was killed: so long for its programs, ms */
	bool destroying;		/* current is destroy */
	bool anew;			/* poolfs-programs was started once more, for destroy */
	bool hurry;			/* stop takes too long */
	uv_timer_t *again;		/* asks for the address again; the next step of stop */
	struct answers_lines lines;	/* of create */
	struct text answer;		/* of address */
	struct target target;
	char trouble[512];		/* why there is no address yet; "" */
	char remains[900];		/* what destroy did not do; "": all is well */
	struct tap *console;
	char *console_text;
	bool console_stopping;
};

/* exec.c: makes the programs' directory, and the process that keeps them; `up` follows. 0 or a
 * negative errno. */
int exec_begin(struct exec *exec, struct poolfs_err *err);

/* ending.c: .stop */
void ending_stop(void *state, struct poolfs_op *op);
/* .clean */
void ending_clean(void *state, struct poolfs_op *op);
/* Something has ended: has the next step of stop taken, from the loop, if stop has begun. */
void ending_step(struct exec *exec);
/* Closes the console, if there is one. */
void ending_console(struct exec *exec);

/* ctl.c: .verb */
void ctl_start(void *state, const char *verb, const char *argument, struct poolfs_op *op);

#endif
