/* SPDX-License-Identifier: MIT */
#include "backends/protocol/states.h"

#define TO(state) (1u << INSTANCE_##state)

static const struct {
	const char *name;
	unsigned next;		/* bits 1 << state */
	bool over;
} states[INSTANCE_STATES] = {
	[INSTANCE_BOOTING] = { "booting", TO(READY) | TO(FAILED) | TO(CLOSING), false },
	[INSTANCE_READY] = { "ready",
		TO(PAUSED) | TO(CRASHED) | TO(STOPPED) | TO(LOST) | TO(CLOSING), false },
	[INSTANCE_PAUSED] = { "paused",
		TO(READY) | TO(CRASHED) | TO(STOPPED) | TO(LOST) | TO(CLOSING), false },
	[INSTANCE_CRASHED] = { "crashed", TO(BOOTING) | TO(STOPPED) | TO(CLOSING), true },
	[INSTANCE_STOPPED] = { "stopped", TO(CLOSING), true },
	[INSTANCE_LOST] = { "lost", TO(READY) | TO(CRASHED) | TO(STOPPED) | TO(CLOSING), false },
	[INSTANCE_FAILED] = { "failed", TO(CLOSING), true },
	[INSTANCE_CLOSING] = { "closing", 0, true },
};

/* The word for a state. */
const char *states_name(enum instance_state state)
{
	return states[state].name;
}

/* Whether there is such an edge. */
bool states_may_follow(enum instance_state from, enum instance_state to)
{
	return states[from].next & 1u << to;
}

/* Whether nothing can be done with it any more. */
bool states_is_over(enum instance_state state)
{
	return states[state].over;
}
