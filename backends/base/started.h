/* SPDX-License-Identifier: MIT */
/* When a process started: with its number, that names it for good, for the kernel gives a number again. Any
 * thread. */
#ifndef BASE_STARTED_H
#define BASE_STARTED_H

#include <sys/types.h>

/* In clock ticks since the host's boot: field 22 of proc_pid_stat(5). 0: there is none of that number, or
 * it has ended and is not reaped yet. */
unsigned long long started_at(pid_t pid);

#endif
