/* SPDX-License-Identifier: MIT */
/* Numbers of TCP ports as text, and lists of what is allowed. No I/O; any thread. */
#ifndef BASE_PORTS_H
#define BASE_PORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "backends/backend.h"

/* The port that length bytes of decimal digits name, without leading zeros; -1 when they do not. 0 is
 * one here. */
int ports_parse(const char *text, size_t length);

/*
 * The words of the key forward_allow: ports ("80"), ranges ("8000-8999"), "any" for all ports, "unix"
 * for unix sockets, and "none" alone. 0, or -EINVAL with the word that is wrong.
 */
int ports_check(const char *const *words, struct poolfs_err *err);
/* Whether a port, or (0) a unix socket, is in checked words. */
bool ports_allow(const char *const *words, int port);

#endif
