/* SPDX-License-Identifier: MIT */
/*
 * What the kernel may believe about a guest's files, and for how long: the pool key `cache`. The kernel
 * keeps names, absent names and attributes by itself; here is what it was told, to take it
 * back before its time.
 *
 * - An answer is believed for the cache's time, counted from when its request was made.
 * - What the guest's own commands change is seen at once: when a run ends, and before anybody is told,
 *   all that was told is taken back (guest_cache_doubt). Answers whose requests were made before
 *   that are not believed at all.
 * - Close-to-open: the answer to an open carries attributes; where they differ from those that the kernel has,
 *   these are taken back. The kernel drops the bytes that it keeps, unless size and time are those of an open
 *   that was at least STABLE_NS after both were first seen: times have whole seconds, so a file that was
 *   read within its second may change without a sign.
 * - A name that is believed may name another file by now. A node is a place in the tree and not a file, so
 *   most operations do the right thing; those that fail because of it say ESTALE once, upon which the kernel looks
 *   the whole path up again (guest_cache_misled).
 * - Of a file with several names, attributes are not believed: the kernel does not know that a
 *   change through one name changes the other.
 *
 * Loop's thread only.
 */
#ifndef FS_GUESTCACHE_H
#define FS_GUESTCACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/guestnode.h"
#include "fs/request.h"

struct guest_cache {
	uint64_t time;		/* ns; 0: nothing is believed */
	uint64_t doubts;	/* how often all was taken back */
	bool eager;		/* who makes things is answered ahead, and so has names that are not there */
	uint64_t names_until;	/* some name is believed until then */
};

/* When a request was made. */
struct guest_moment {
	uint64_t time;		/* ns of the monotonic clock */
	uint64_t doubts;
};

struct guest_moment guest_cache_now(const struct guest_cache *cache);

/* Whether an answer to what was asked then is believed still. */
bool guest_cache_fresh(const struct guest_cache *cache, struct guest_moment asked);

/* How long the kernel may believe attr about node; the answer must be given with it. */
double guest_cache_attr(struct guest_cache *cache, struct guest_node *node,
	const struct file_attr *attr, struct guest_moment asked);
/* The same for an entry, whose times it fills in. */
void guest_cache_entry(struct guest_cache *cache, struct guest_node *node,
	const struct file_attr *attr, struct guest_moment asked, struct entry *entry);
/* How long the kernel may believe that a name does not exist. */
double guest_cache_absent(struct guest_cache *cache, struct guest_moment asked);

/* The node's mode, where the kernel believes it at the moment. */
bool guest_cache_mode(const struct guest_node *node, mode_t *mode);

/* node was opened, with attr: how the kernel is to treat it, for request_open. */
unsigned guest_cache_opened(struct guest_cache *cache, struct guest_node *node,
	const struct file_attr *attr, struct guest_moment asked);
/* An operation on what node's name was believed to be failed: whether to answer ESTALE instead. */
bool guest_cache_misled(const struct guest_cache *cache, struct guest_node *node, int error);

/* All that was told about nodes of the tree may be wrong now. */
void guest_cache_doubt(struct guest_cache *cache, struct guest_tree *tree);

#endif
