/* SPDX-License-Identifier: MIT */
/*
 * The shim's side of `struct poolfs_machine`; machine.c has the functions that backend.h
 * offers to backends.
 */
#ifndef SHIM_MACHINE_H
#define SHIM_MACHINE_H

#include <stdbool.h>

struct shim;

struct poolfs_machine {
	struct shim *shim;
	bool cleans;	/* it is what a killed shim left (clean.h), and nothing but shim->setup is there */
};

#endif
