/* SPDX-License-Identifier: MIT */
/*
 * The states of an instance: the words that `state` shows, and which may follow which. Both
 * programs go by this one table; protocol.h says what each state means.
 */
#ifndef PROTOCOL_STATES_H
#define PROTOCOL_STATES_H

#include <stdbool.h>

#include "backends/protocol/protocol.h"

const char *states_name(enum instance_state state);
/* Whether an instance may go from one state to the other. No state follows itself. */
bool states_may_follow(enum instance_state from, enum instance_state to);
/* Whether the machine is gone or of no use, and does not come back. */
bool states_is_over(enum instance_state state);

#endif
