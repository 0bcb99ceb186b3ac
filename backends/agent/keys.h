/* SPDX-License-Identifier: MIT */
/* What the agent's machines have in common in the configuration. */
#ifndef AGENT_KEYS_H
#define AGENT_KEYS_H

#include "backends/backend.h"

/* Where root is at home in the machine. */
#define AGENT_HOME "/root"

/* Where the login of the key "user" is: root's home, or /home/USER; free() it. */
char *agent_keys_home(const struct poolfs_values *values);
/* The directory of files/ in the machine, by the key "files": absolute, without "." and "..";
 * free() it. */
char *agent_keys_directory(const struct poolfs_values *values);

#endif
