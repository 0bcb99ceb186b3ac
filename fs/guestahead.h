/* SPDX-License-Identifier: MIT */
/*
 * The pool key `files_mode = eager`: what is made, removed, renamed, written, closed, and given other attributes
 * is answered before the guest has done it. Requests reach the guest in the order in which they were made,
 * so whatever asks it afterwards finds them done; those about a file that it has not named a handle for yet wait for
 * that (guestagain.h).
 *
 * Until all that is under way about a node has ended, its attributes are made up here. What fails is an error of the
 * file, as of a write (guestwrite.c), and of its directory, told by the next fsync of either; what becomes of names,
 * of their directories. In any case the instance is told. Operations are numbered, so that others can wait for those before them.
 *
 * Loop's thread only.
 */
#ifndef FS_GUESTAHEAD_H
#define FS_GUESTAHEAD_H

#include "fs/guestop.h"

/* So many files may be being made: servers have a limit of open files, some of a few hundred. */
#define GUEST_MAKING_MAX 200u

/* Whether one more may be answered ahead. */
bool guest_ahead_may(const struct guest_queue *queue);
/* The op is answered ahead; about: the node that it makes, moves, removes or changes. */
void guest_ahead_begin(struct guest_op *op, struct guest_node *about);
/* The op ended; called by guestop.c for each that was begun, before its done. */
void guest_ahead_end(struct guest_op *op, const struct file_reply *reply);

/* The guest's answer to op told attributes of the node. made: it made the node, or set its times. */
void guest_ahead_seen(const struct guest_op *op, struct guest_node *node, const struct file_attr *attr,
	bool made);
/* So did a listing of its directory that was asked for then. */
void guest_ahead_listed(struct guest_node *node, const struct file_attr *attr, struct guest_moment asked);
/* The attributes as the guest told them after all that was sent about the node and may change them, while they are
 * believed, and when they were asked for; NULL: ask. Reading since then may have changed the time of the last access. */
const struct file_attr *guest_ahead_told(const struct guest_queue *queue, const struct guest_node *node,
	struct guest_moment *asked);
/* The same, if the node's name led to it as lately: an open file may have no name any more. */
const struct file_attr *guest_ahead_named(const struct guest_queue *queue, const struct guest_node *node,
	struct guest_moment *asked);
/* The same for the time of the last access, as far as it is known. */
bool guest_ahead_atime(const struct guest_queue *queue, const struct guest_node *node, int64_t *atime);
/* The attributes as they are going to be, while something about the node is under way; NULL: ask. */
const struct file_attr *guest_ahead_attr(struct guest_node *node);
/* The attributes that a change can be made up from; NULL: they are not known well enough. */
struct file_attr *guest_ahead_base(const struct guest_queue *queue, struct guest_node *node);
/* Those of something new. */
struct file_attr guest_ahead_new(const struct guest_tree *tree, uint32_t mode, uint64_t size);
/* A write that was answered. */
void guest_ahead_wrote(struct guest_node *node, uint64_t end);

/* The number of the newest one that is under way, and of the oldest; 0, and UINT64_MAX, if none is. */
uint64_t guest_ahead_newest(const struct guest_queue *queue);
uint64_t guest_ahead_oldest(const struct guest_queue *queue);

#endif
