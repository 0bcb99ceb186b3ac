/* SPDX-License-Identifier: MIT */
/* The backend's "key value" lines of the instance's `status`. */
#ifndef SHIM_STATUS_H
#define SHIM_STATUS_H

#include <stdbool.h>

#define STATUS_KEYS_MAX 64
#define STATUS_VALUE_MAX 511

struct shim;

struct status {
	struct {
		char *key, *value;
	} lines[STATUS_KEYS_MAX];
	unsigned count;
	bool dirty;
};

/* Sets one value, escaped; a key that is no name, or one too many, is only logged. */
void status_set(struct shim *shim, const char *key, const char *value);
/* Tells the daemon, when it does not know yet or `always`. */
void status_tell(struct shim *shim, bool always);
void status_done(struct status *status);

#endif
