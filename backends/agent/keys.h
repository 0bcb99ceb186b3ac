/* SPDX-License-Identifier: MIT */
/* What the agent's machines have in common in the configuration. */
#ifndef AGENT_KEYS_H
#define AGENT_KEYS_H

#include "backends/backend.h"

/* Where a login of the machine is at home. */
#define AGENT_HOME "/root"

/* The directory of files/ in the machine, by the key "files": absolute, without "." and "..";
 * free() it. */
char *agent_keys_directory(const struct poolfs_values *values);

#endif
