/* SPDX-License-Identifier: MIT */
/*
 * With `files_mode = eager`: who opens the small files of a directory one after the other, as they are listed or by
 * their names, has the next ones opened and read ahead of that. What was asked for so is up to NEXT_MS old when it
 * is opened, and never older than what is believed (guestcache.h); a file that was changed from here meanwhile is asked
 * for again. What nobody opens is closed.
 *
 * Loop's thread only.
 */
#ifndef FS_GUESTNEXT_H
#define FS_GUESTNEXT_H

#include "fs/guestop.h"

/* Files that are opened ahead in one instance, at most; and for how long. */
#define NEXT_MAX 32u
#define NEXT_MS	 1000u

struct guest_nexts;
struct uv_loop_s;

/* Those of one instance. */
struct guest_nexts *guest_nexts_new(struct uv_loop_s *loop);
/* Its memory goes on a later turn of the loop. NULL is allowed. */
void guest_nexts_free(struct guest_nexts *nexts);
/* Closes all of them. NULL is allowed. */
void guest_nexts_close(struct guest_nexts *nexts);

/* Answers an open to read by what was asked for ahead, as `done` does, when that is there. false: ask the guest. */
bool guest_next_open(struct request *request, struct guest_node *node, guest_done *done);
/* A file of at most max bytes is opened to be read; so may those be that follow it. */
void guest_next_ask(struct guest_node *node, uint32_t max);

#endif
