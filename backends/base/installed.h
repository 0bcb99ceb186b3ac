/* SPDX-License-Identifier: MIT */
/* Files that are installed with the programs. Reads names only; any thread. */
#ifndef BASE_INSTALLED_H
#define BASE_INSTALLED_H

/* The first of the places (ended by NULL) that can be read, as seen from the directory of this program: it
 * stands in the build directory, and an installed tree may have been moved. Else fallback, where it was
 * installed. The caller frees the path. */
char *installed_find(const char *const *places, const char *fallback);

#endif
