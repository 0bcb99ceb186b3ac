/* SPDX-License-Identifier: MIT */
/*
 * A program for the host's kind of processor, for a machine without an operating system:
 * it prints a line on the serial port, and resets. For trying whether KVM works.
 */
#ifndef QEMU_TRIAL_H
#define QEMU_TRIAL_H

#include "backends/backend.h"

/* What it prints. */
#define TRIAL_SIGN "poolfs trial"

/* Writes it as the file at path: on a PC a disk image to boot from, for ARM a kernel. */
int trial_write(const char *path, struct poolfs_err *err);

#endif
