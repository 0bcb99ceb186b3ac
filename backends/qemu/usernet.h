/* SPDX-License-Identifier: MIT */
/*
 * The text of QEMU's monitor command `info usernet`: the only place that tells which
 * host port a forward with port 0 got. No I/O.
 */
#ifndef QEMU_USERNET_H
#define QEMU_USERNET_H

#include <stdint.h>

/* The host port on 127.0.0.1 that is forwarded to guest_port by TCP, or 0. */
uint16_t usernet_port(const char *text, uint16_t guest_port);

#endif
