/* SPDX-License-Identifier: MIT */
/* Limits of a machine that is made of programs: times in milliseconds, sizes in bytes. */
#ifndef EXEC_LIMITS_H
#define EXEC_LIMITS_H

/* A program that is to end gets TERM, after so long KILL, and so long again before it is given
 * up. */
#define LIMITS_TERM_MS 1000u
#define LIMITS_KILL_MS 300u
/* The same for what programs left behind. */
#define LIMITS_LEFT_MS 700u
/* Then nobody waits for the process that keeps them. */
#define LIMITS_HOST_MS 2500u
/* How often it is looked whether all that a killed shim kept has ended. */
#define LIMITS_LOOK_MS 20u
/* `address` is asked again after so long. */
#define LIMITS_ADDRESS_MS 1000u
/* The first command in a machine may take so long, then it is tried anew. */
#define LIMITS_PROBE_MS 30000u
/* Of what a program prints on standard error, its end is kept for the reason of a failure. */
#define LIMITS_TAIL 600u
/* What create may print as lines of the status, and the longest line. */
#define LIMITS_STATUS 65536u
#define LIMITS_LINE 1024u
/* What address may print. */
#define LIMITS_ADDRESS 512u

#endif
