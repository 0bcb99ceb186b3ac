/* SPDX-License-Identifier: MIT */
/* poolfs --scan-console: the detector of crashes over a saved console. */
#ifndef FS_SCAN_CONSOLE_H
#define FS_SCAN_CONSOLE_H

#include <stdbool.h>

/* Prints the reports in file (NULL: standard input), or their titles alone, as they are found.
 * patterns: a file of patterns, or NULL. Returns the exit status: 0 when there is a report, 1 when
 * there is none, 2 when something failed; standard error says what. */
int scan_console(const char *file, const char *patterns, bool titles);

#endif
