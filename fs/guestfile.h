/* SPDX-License-Identifier: MIT */
/*
 * The operations on a guest's files are declared in guestfs.h; this is what guestfs.c (look-ups, making),
 * guestname.c (removing, renaming, hard links), guestattr.c (attributes), guestfile.c (open files), guestwrite.c (writing them) and guestdir.c (open
 * directories) give each other.
 */
#ifndef FS_GUESTFILE_H
#define FS_GUESTFILE_H

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "fs/control.h"
#include "fs/guestop.h"

/* An open file or directory. */
struct guest_handle {
	struct handle handle;		/* control is NULL */
	LIST_ENTRY(guest_handle) entry;	/* of its node's */
	uint64_t id;			/* the transport's; 0: a directory that needs none */
	unsigned connection;		/* that it is of */
	int flags;			/* of open(2); handle.flags are those of the last request, which
					   the kernel makes up when it writes pages */
	struct text page;		/* of a directory, its entries; of a file, all its bytes, or none */
	struct guest_moment asked;	/* when the page was */
	unsigned told_errors, refused;	/* of its node's writes, those told by an fsync, and by a write */
	struct guest_moment last_read;	/* of a file; time 0: none was */
	/* of a directory */
	uint64_t first_entry, count;	/* the offset of the page's first entry, and their number */
	uint64_t at;			/* of those, the one at `position`, where listing goes on */
	size_t position;
	bool at_end;			/* there is no page behind this one */
	bool lost;			/* a page went by unseen */
	bool begun;			/* some of it was told since it was opened, or rewound */
	/* of a file; see guestagain.h */
	unsigned first;			/* connection, of the open(2) */
	bool making;			/* answered ahead, and the guest has not named it yet */
	bool closed;			/* meanwhile */
	bool stale;			/* what is there now is another file */
	bool told;			/* an fsync that writes may be lost */
	struct guest_op_list waiting;	/* for it to be opened again */
	struct guest_op *opening;	/* that does so; NULL: none */
	struct guest_op *looking;	/* that looks at it; NULL: none */
	unsigned look_changes;		/* the node's, when that was sent */
	TAILQ_ENTRY(guest_handle) look;	/* in the list of those to look at */
	bool listed;
	uint64_t used;			/* ns: when last */
	bool known;			/* nothing was changed since `seen` */
	struct file_attr seen;
};

struct guest_handle *guestfile_of(struct handle *handle);
struct guest_node *guestfile_node(struct handle *handle);
/* A handle of the node, for what the transport opened. */
struct guest_handle *guestfile_new(struct guest_node *node, const struct file_reply *reply, int flags);
/* A request about an open file. */
struct guest_op *guestfile_start(struct request *request, struct handle *handle, enum file_op what,
	guest_done *done);
/* The file was changed from here: what came with its opens is old. */
void guestfile_changed(struct guest_node *node);
/* Asks for all names of a directory, for the look-ups that follow. */
void guestdir_learn(struct guest_node *node);
/* The same for somebody who goes through a tree; guest_walk_came hears of the end. */
void guestdir_learn_ahead(struct guest_node *node);
/* The file that is being made from here, one that is open or was: requests about it wait for that. NULL: it is not. */
struct guest_handle *guestfile_making(struct guest_node *node);
/* The end of the last close. */
void guestfile_end(struct guest_handle *file);
/* The connection over which it was opened is gone. */
bool guestfile_stale(const struct guest_handle *file);

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

/* A request about name in the directory parent. NULL: it was answered already. */
struct guest_op *guestfs_start_name(struct request *request, struct object *parent, const char *name,
	enum file_op what, guest_done *done);

/* Makes the entry of name in parent, counted as a look-up. false: op was answered with an error. */
bool guestfs_entry(struct guest_op *op, struct guest_node *parent, const char *name,
	const struct file_attr *attr, struct entry *entry);

/* Whether op, which makes op->name, may be answered ahead. */
bool guestfs_may_make(const struct guest_op *op);
/* Makes the entry of what op makes, with attributes that are made up, and enters op as answered ahead: the caller
 * has to answer its request, which is taken out of op. false: it was answered with an error, and op is freed. */
bool guestfs_enter_ahead(struct guest_op *op, const struct file_attr *attr, struct entry *entry);
/* The guest made node's file, or did not. */
void guestfs_made_ahead(struct guest_node *node, struct guest_tree *tree, const struct file_reply *reply);
/* What was made has these attributes: whose it is, what is made next is too. */
void guestfs_learn_login(struct guest_tree *tree, const struct file_attr *attr);
/* The entry of a listed name, for a kernel that takes the name and type alone. */
void guestfs_named(struct guest_node *parent, const char *name, const struct file_attr *attr,
	struct entry *entry);
/* The entry of a listed node, whose directory was asked for then. It counts as a look-up, as the kernel takes it so. */
void guestfs_listed(struct guest_node *node, const struct file_attr *attr, struct guest_moment asked,
	struct entry *entry);
/* It did not fit into the answer: takes the look-up back. node may be 0. */
void guestfs_unlisted(uint64_t node);

#endif
