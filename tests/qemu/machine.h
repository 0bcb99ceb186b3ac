/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for the shim's core: one machine of the qemu backend, whose calls are
 * written down for a test to look at. It runs in an instance's directory of its own.
 */
#ifndef TESTS_QEMU_MACHINE_H
#define TESTS_QEMU_MACHINE_H

#include <uv.h>

#include "backends/backend.h"
#include "backends/base/text.h"

struct poolfs_op {
	bool is_done;
	int result;
	char text[1024];
	void (*cancel)(void *data);
	void *cancel_data;
};

struct poolfs_machine {
	uv_loop_t loop;
	struct poolfs_values *values;
	const struct poolfs_key **tables;	/* free() it */
	void *state;
	struct text console;
	struct text log;
	struct text status;
	unsigned ends;
	enum poolfs_ending how;
	char end[1024];
	struct poolfs_op start, stop;
};

/* The directory in which machines keep what outlives an instance; made for this process, and
 * removed by machine_done. */
void machine_init(void);
void machine_done(void);

/* Opens a machine with keys and values "KEY=VALUE", ended by NULL. */
struct poolfs_machine *machine_open(const char *const *settings);
/* Closes it; it must be stopped. Checks that no process, no file and no handle is left. */
void machine_close(struct poolfs_machine *machine);

void machine_start(struct poolfs_machine *machine);
/* Stops and waits for it. */
void machine_stop(struct poolfs_machine *machine);

/* Runs the loop until condition(data); fails the test, with the console, after seconds. */
void machine_wait(struct poolfs_machine *machine, bool (*condition)(void *data), void *data,
	unsigned seconds, const char *what);

/* Conditions on the machine. */
bool machine_is_started(void *machine);
bool machine_is_stopped(void *machine);
bool machine_has_ended(void *machine);

/* Waits until the console holds text. */
void machine_wait_console(struct poolfs_machine *machine, const char *text, unsigned seconds);
/* The value of a status line, or NULL. */
const char *machine_status(struct poolfs_machine *machine, const char *key);

/* Runs a program with `input` open; its output goes to out. Returns the exit status. */
int machine_run(struct poolfs_machine *machine, const char *const *argv, struct text *out);

#endif
