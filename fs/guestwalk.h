/* SPDX-License-Identifier: MIT */
/*
 * Who lists a directory and soon afterwards one of those in it goes through a tree: find, rm -r, git status, grep -r.
 * The directories that come next are asked for before they are opened: those that stand behind it in the same
 * listing, and those in it. First four of them, twice as many whenever one of them is opened, up to
 * GUEST_WALK_MOST; and four again when none was for the cache's time. What came is kept as each listing is
 * (guestlist.h), and who opens a directory that has been asked for waits for that (guestdir.c).
 *
 * Loop's thread only.
 */
#ifndef FS_GUESTWALK_H
#define FS_GUESTWALK_H

#include "fs/guestnode.h"

#define GUEST_WALK_MOST 16u

/* The directory is opened by somebody. */
void guest_walk_opened(struct guest_node *node);
/* Entries of it were told: the nodes of those in it are there. */
void guest_walk_listed(struct guest_node *node);
/* One that was asked for ahead came, or did not. */
void guest_walk_came(struct guest_node *node);

#endif
