/* SPDX-License-Identifier: MIT */
/*
 * What the daemon asks a shim about a module, before it mounts anything:
 *
 *	poolfs-shim --describe FILE	what kind is in it
 *	poolfs-shim --examine FILE	what the kind says of a pool; the values, an object of strings
 *					(values.h), are standard input
 *
 * The answer is JSON on standard output: {"kind": {...}}, {"facts": {...}} (facts.h), or {"error": TEXT,
 * "code": ERRNO}. What the module itself prints goes to standard error. Exit status 0 in all these cases.
 */
#ifndef MODULE_DESCRIBE_H
#define MODULE_DESCRIBE_H

/* The shim's main for these two. argv[1] is the option. Never returns to exit(3): what a module left to
 * be done at the end is not done. */
_Noreturn void describe_main(int argc, char **argv);

#endif
