/* SPDX-License-Identifier: MIT */
/*
 * What the kernel is told without having asked: that what it remembers has to be asked for anew.
 * Neither call takes a lock that a process may hold while it waits for our answer, so both may be
 * made from the loop at any time. (The calls of libfuse that forget one name take the lock of its
 * directory: from the loop they could wait for ever, and from another thread they would keep a
 * killed daemon from ending.)
 *
 * Messages are those of <linux/fuse.h>. Loop's thread only; one mount per process.
 */
#ifndef FS_KERNEL_H
#define FS_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* The mount is there: its descriptor, and the minor version of the kernel's protocol. -1: it is gone. */
void kernel_connected(int fd, unsigned minor);

/* Attributes of the node are asked for at their next use. */
void kernel_doubt_attr(uint64_t node);

/* Every name, also those that do not exist, is looked up at its next use. Kernels before 6.16 cannot
 * do that. */
bool kernel_can_doubt_names(void);
void kernel_doubt_names(void);

#endif
