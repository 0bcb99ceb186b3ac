/* SPDX-License-Identifier: MIT */
/*
 * Machines that exist already and are lent: each to one instance at a time, in whatever pools of
 * the mount it is listed. Loop's thread only.
 */
#ifndef FS_TARGETS_H
#define FS_TARGETS_H

#include <stddef.h>
#include <sys/queue.h>

#include "backends/base/text.h"
#include "config/config.h"

struct machine;
struct targets;

/* The machines of a mount, whose owner it is; empty before the first targets_new. */
LIST_HEAD(machine_list, machine);

/* A pool's list, or NULL where its machines are made; values and machines must outlive it. */
struct targets *targets_new(struct machine_list *machines, const struct config_pool *config);
/* No machine of it may be lent any more. NULL is allowed. */
void targets_free(struct targets *targets);
/* How many machines there are. */
size_t targets_count(const struct targets *targets);

/*
 * Lends the machine of that name, else a free one, those without a name first. holder ("POOL/NAME")
 * is copied. Its number in the list; or -ENOSPC with the reason.
 */
int targets_take(struct targets *targets, const char *name, const char *holder,
	struct poolfs_err *err);
/* Takes it back. bad: why it is not lent any more (copied); NULL: all is well. */
void targets_give_back(struct targets *targets, int number, const char *bad);
/* The word of the configuration that describes it. */
const char *targets_word(const struct targets *targets, int number);

/* Lines of pool.status. */
void targets_show(const struct targets *targets, struct text *text);

#endif
