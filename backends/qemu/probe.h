/* SPDX-License-Identifier: MIT */
/*
 * Does KVM work here, for this pool's machine? That /dev/kvm opens proves little: on
 * hosts that are virtual machines themselves QEMU may start and the guest never runs.
 * So the pool's kernel is booted for trial, alone, until it has come to its end: a panic
 * for want of a root file system. The trial has little memory and one processor: what is
 * learned holds for pools that differ only in those.
 *
 * The verdict is kept in the directory above the instance's (kvm-KEY), for all instances
 * and later starts, until the host boots or the kernel, the emulator, the machine type or
 * the processor model changes; a "no" only for an hour, for the host may have been
 * overloaded. A lock (kvm.lock) lets one shim try while the others wait; the one that tried removes
 * the verdicts of earlier boots and each "no" whose hour is over. Loop's thread only.
 */
#ifndef QEMU_PROBE_H
#define QEMU_PROBE_H

#include "backends/backend.h"

/* How long a trial may take. Only a host where KVM does not work waits so long. */
#define PROBE_TRIAL_MS 10000

struct probe;
struct uv_loop_s;

struct probe_events {
	/* The result, once, from the loop; probe_free may be called in it. why is for the log. */
	void (*done)(void *data, bool works, const char *why);
};

/* Begins. directory is where verdicts are kept. */
void probe_start(struct uv_loop_s *loop, const struct poolfs_values *values, const char *directory,
	const struct probe_events *events, void *data, struct probe **probe);

/* The answer is no longer wanted: `done` comes as soon as nothing of the trial runs any more. */
void probe_stop(struct probe *probe);

/* Only when `done` was called. NULL is fine. */
void probe_free(struct probe *probe);

#endif
