/* SPDX-License-Identifier: MIT */
/*
 * The shim's side of `struct poolfs_machine`; machine.c has the functions that backend.h
 * offers to backends.
 */
#ifndef SHIM_MACHINE_H
#define SHIM_MACHINE_H

struct shim;

struct poolfs_machine {
	struct shim *shim;
};

#endif
