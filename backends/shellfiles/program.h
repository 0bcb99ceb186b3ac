/* SPDX-License-Identifier: MIT */
/*
 * What the shell in the machine is told: a program that it reads line by line, and then one line for each
 * request. No I/O.
 *
 * The line of a request is the token of the shell, a blank and a command; a write's bytes follow
 * it. The answer is whatever the command prints (errors too: standard error goes the same way), and
 * then a line of its own: the token, the request's number, and how it went: "0", the name of an errno,
 * or "m", which says that a tool failed and that its message tells why. The token is made of 128
 * random bits: no file's content holds it by accident, so no length needs to be known in advance, and a
 * shell that finds itself in the middle of a write's bytes ends.
 */
#ifndef SHELLFILES_PROGRAM_H
#define SHELLFILES_PROGRAM_H

#include <stddef.h>

#include "backends/base/text.h"

#define PROGRAM_TOKEN 32u	/* characters */

/* The command that a login's shell of any kind is given, and that then reads the program. */
extern const char program_command[];

/* Appends the program. Its last lines are two requests: number 0 prints nothing, so that what the login
 * printed is known to be over; number 1 prints what parse_hello takes. */
void program_append(struct text *out, const char token[PROGRAM_TOKEN + 1]);

/* Appends commands, which end with "; ", that set a variable of the shell's to these bytes (no NUL),
 * whatever they are: printable ASCII in quotes, anything else by printf(1), for shells that are not sure
 * of their bytes. */
void program_set(struct text *out, char name, const char *bytes, size_t size);
/* The same for the path of a request, which becomes one from "./". */
void program_path(struct text *out, char name, const char *path);

#endif
