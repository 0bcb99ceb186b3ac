/* SPDX-License-Identifier: MIT */
/*
 * Parts of commands for a POSIX shell (Shell Command Language, 2.2), where nothing of what they
 * name is a shell's syntax any more. No I/O; any thread.
 */
#ifndef BASE_SHELL_H
#define BASE_SHELL_H

#include "backends/base/text.h"

/* Appends size bytes as one word. They have no NUL. */
void shell_word(struct text *out, const char *bytes, size_t size);

/* Appends "cd 'DIRECTORY' || exit 255; ": never taken for an option. "~/" at its front goes,
 * for where it is run the home is the current directory. NULL and "" append nothing. */
void shell_cd(struct text *out, const char *directory);

/* Appends "export KEY='VALUE' ...; " for lines KEY=VALUE, each ended by a newline, of size
 * bytes. The keys are names of variables (checked before). No lines append nothing. */
void shell_export(struct text *out, const char *lines, size_t size);

#endif
