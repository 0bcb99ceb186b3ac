/* SPDX-License-Identifier: MIT */
/*
 * A stream whose bytes are in a spool, a file that the shim writes in the instance's
 * directory (protocol/spool.h). It is opened when it is first read, and closed when no user
 * is left: an open file of the mount that may read it. Loop's thread only.
 */
#ifndef FS_SPOOLED_H
#define FS_SPOOLED_H

#include "backends/protocol/spool.h"
#include "fs/stream.h"

struct spooled {
	struct stream stream;
	struct spool_reader *reader;
	unsigned users;
	const int *directory;	/* descriptor of the instance's directory; -1: that is not made yet */
	char name[40];		/* of the file */
};

/* name is copied; *directory must be there as long as the stream is. */
void spooled_init(struct spooled *spooled, const int *directory, const char *name);
void spooled_done(struct spooled *spooled);

void spooled_use(struct spooled *spooled);
void spooled_unuse(struct spooled *spooled);
/* The file is about to be unlinked: opens it if there are users, who will read on. */
void spooled_hold(struct spooled *spooled);

/* The file may be there only now. */
void spooled_renew(struct spooled *spooled);

/* As stream_source, for a stream that is put together of several spools. */
ssize_t spooled_read(struct spooled *spooled, uint64_t *offset, void *buffer, size_t size);

#endif
