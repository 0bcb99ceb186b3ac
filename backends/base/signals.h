/* SPDX-License-Identifier: MIT */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

/* Undoes what a loop and libraries set, before exec, which masks and ignored signals survive: every
 * signal gets its default, and none is blocked. Async-signal-safe. */
void signals_reset(void);

#endif
