/* SPDX-License-Identifier: MIT */
/*
 * The operations on a guest's files are declared in guestfs.h; this is what guestfs.c (names),
 * guestattr.c (attributes) and guestfile.c (open files and directories) give each other.
 */
#ifndef FS_GUESTFILE_H
#define FS_GUESTFILE_H

#include "fs/control.h"
#include "fs/guestop.h"

/* The transport's number of one open file of the node, of one that can be written when asked
 * for; 0 when none is open. */
uint64_t guestfile_any(struct guest_node *node, bool writable);

/* The transport's number of an open file; 0 where it has none any more. */
uint64_t guestfile_id(struct handle *handle);

/* The requests of a node's instance. */
struct guest_queue *guestfs_queue(struct guest_node *node);

/* A request about the node itself, by its path; attributes of what has no path any more are those of
 * an open file of it. NULL: it was answered already. */
struct guest_op *guestfs_start(struct request *request, struct guest_node *node, enum file_op what,
	guest_done *done);

/* Makes the entry of name in parent, counted as a look-up. false: op was answered with an error. */
bool guestfs_entry(struct guest_op *op, struct guest_node *parent, const char *name,
	const struct file_attr *attr, struct entry *entry);

/* The entry of a listed name. asked: when, if the kernel takes it as a look-up (and so it is one). */
void guestfs_listed(struct guest_node *parent, const char *name, const struct file_attr *attr,
	const struct guest_moment *asked, struct entry *entry);
/* It did not fit into the answer: takes the look-up back. node may be 0. */
void guestfs_unlisted(uint64_t node);

#endif
