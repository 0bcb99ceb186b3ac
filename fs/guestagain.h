/* SPDX-License-Identifier: MIT */
/*
 * Open files beyond the loss of a connection. What the server opened for us ends with the connection;
 * whoever then uses an open file has it opened again by its path, and goes on where that is still the same
 * file. Where it is not, or cannot be told to be, the open file fails with ESTALE for good.
 *
 * SFTP has no inode numbers. The same is what has the owner, the size and the time that were
 * seen last through the open file. That must have been after the last change that was made here: so an
 * open file that was used is looked at once it has been left alone for LOOK_NS. A file
 * that was just being written when the connection went is thus never taken for the same.
 *
 * Whether what was written and not synced before the loss is still there nobody can tell, as the machine
 * may have started anew meanwhile: the next fsync of each file that was open then fails with EIO, once.
 *
 * Loop's thread only.
 */
#ifndef FS_GUESTAGAIN_H
#define FS_GUESTAGAIN_H

#include "fs/guestfile.h"

struct guest_looks;
struct uv_loop_s;

/* The clock of one instance's looks. */
struct guest_looks *guest_looks_new(struct uv_loop_s *loop);
/* No file is in it any more. Its memory goes on a later turn of the loop. NULL is allowed. */
void guest_looks_free(struct guest_looks *looks);

/* The file was opened, with these attributes. */
void guest_again_opened(struct guest_handle *file, const struct file_attr *attr);
/* It is made, or not, after it was opened ahead (guestahead.h). */
void guest_again_made(struct guest_handle *file, const struct file_reply *reply);
/* It was read. */
void guest_again_used(struct guest_handle *file);
/* The node's file is changed from here, or just was. data: its bytes, which are to be synced. */
void guest_again_changed(struct guest_node *node, bool data);
/* Sends a request about op->handle, which is opened again before where that is needed. */
void guest_again_send(struct guest_op *op);
/* An fsync: 0, or the error that its caller has to get. */
int guest_again_sync(struct guest_handle *file);
/* An fsync succeeded that was asked for when the node had had so many changes. */
void guest_again_synced(struct guest_node *node, unsigned changes);
/* The last close. */
void guest_again_closed(struct guest_handle *file);

#endif
