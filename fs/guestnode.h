/* SPDX-License-Identifier: MIT */
/*
 * The places in a guest's tree that the kernel knows: a node has a parent and a name, and
 * its path is what these say at the time. A place whose entry was removed, replaced or
 * changed its type is detached: it has no path any more, but what is open stays usable.
 *
 * The kernel's look-ups hold one reference together; children, open files and
 * requests hold one each. Loop's thread only.
 */
#ifndef FS_GUESTNODE_H
#define FS_GUESTNODE_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "backends/protocol/files.h"
#include "fs/object.h"

struct guest_handle;
struct guest_list;
struct guest_opening;
struct guest_next;

/* The orders in which the files of a directory may be opened. */
enum guest_order { GUEST_LISTED, GUEST_BY_NAME, GUEST_ORDERS };

/* How a directory's files are opened, in one of these; see guestnext.h. */
struct guest_following {
	ino_t expected;		/* the number of the one that is next; 0: none */
	unsigned run;		/* how many in a row were */
};

/* What the kernel was told about a node; see guestcache.h. */
struct guest_belief {
	TAILQ_ENTRY(guest_node) entry;
	bool listed;		/* the kernel may believe attributes of it */
	uint64_t until;		/* and stops to by itself */
	uint64_t asked;		/* when the newest of those that were told was asked for */
	bool seen;		/* the following are of the attributes that were told last */
	uint64_t size;
	int64_t mtime;
	uint32_t mode;
	uint64_t since;		/* when size and mtime were first so; ns as all of these */
	uint64_t dropped;	/* since then, when the kernel last dropped its bytes; 0: never */
	uint64_t dropped_doubts;
	bool misled;		/* an operation answered ESTALE */
};

/* Writes of a file that were answered before the guest had them; see guestwrite.c. */
struct guest_behind {
	unsigned count;			/* under way */
	size_t bytes;			/* of theirs */
	unsigned errors;		/* how many failed */
	int error;			/* of the last of those, a negative errno */
	TAILQ_HEAD(, guest_wait) waiting; /* for the end of all that are under way */
};

/* What was answered ahead about a node, and is under way; see guestahead.h. */
struct guest_ahead {
	unsigned count;
	bool known;			/* attr is what the guest told, or what it is going to be */
	bool told;			/* and the kernel was told so */
	struct file_attr attr;
	uint64_t asked, doubts;		/* when */
	uint64_t named, named_doubts;	/* when last its name was what the question was about, not an open file */
	unsigned begun;			/* what was sent to the guest that changes attributes; reading does not count, */
	uint64_t read;			/* which changes the time of the last access alone: the id of the last that did */
	unsigned told_after;		/* of those, how many attr tells of */
	int64_t atime;			/* as it was told when, for who sets the other time alone: */
	uint64_t atime_asked, atime_doubts; /* nothing read the file since; 0: not known */
	int error;			/* of a directory: something in it failed, and no fsync told it yet */
};

/* Whether somebody goes through a directory's tree; see guestwalk.h. */
struct guest_walk {
	uint64_t opened;		/* the last time; ns, 0: never */
	bool is_part;			/* its parent had been opened just before that */
	bool asked;			/* ahead, and was not opened since */
};

/* The nodes of one instance. */
struct guest_tree {
	void *places;			/* attached nodes by parent and name, a tree of search.h */
	void *numbers;			/* all but the root by ino, the same; twins share one */
	LIST_HEAD(, guest_node) nodes;	/* all of them */
	size_t count;
	bool guest_owners;		/* owners are the guest's numbers; else all files seem to be */
	uid_t uid;			/* those of this user and group */
	gid_t gid;
	bool login_known;		/* the numbers that what is made gets in the guest */
	uint32_t login_uid, login_gid;
	void (*empty)(struct guest_tree *tree); /* the last node went */
	TAILQ_HEAD(, guest_node) believed; /* by belief.until */
	size_t believed_count;
	TAILQ_HEAD(, guest_list) lists;	/* see guestlist.h */
	size_t lists_size;		/* bytes of their entries */
	uint64_t walked_at;		/* when one was asked for, for look-ups; ns */
	uint64_t walk_hit;		/* of guestwalk.h: when one that was asked for ahead was opened, ns; */
	unsigned walk_window;		/* so many are asked for; */
	unsigned walk_count;		/* so many are on their way */
	ino_t *linked;			/* forgotten places of files with several names; NULL: none */
};

struct guest_node {
	struct object object;
	LIST_ENTRY(guest_node) entry;
	struct guest_tree *tree;
	struct guest_node *parent;	/* referenced; NULL: the root, or detached */
	char *name;			/* NULL: the root */
	bool detached;
	mode_t type;			/* S_IFMT of the attributes that were seen last */
	uint64_t lookups;		/* the kernel's */
	ino_t ino;
	bool linked;			/* another name leads to the same file */
	struct guest_node *maker;	/* referenced: the same file by the name under which it is made (guestahead.h),
					   or NULL */
	struct guest_belief belief;
	struct guest_behind behind;
	struct guest_ahead ahead;
	struct guest_list *list;	/* of a directory, as guestlist.h says: what is known */
	struct guest_list *list_asked;	/* and what is asked for */
	TAILQ_HEAD(guest_openings, guest_opening) openings; /* that wait for that; see guestdir.c */
	struct guest_walk walk;
	uint64_t missed_since, large_until; /* ns */
	uint64_t changed_at;		/* from here, the last time; ns */
	unsigned missed;		/* look-ups since then */
	bool made_here;			/* of a directory */
	LIST_HEAD(, guest_handle) handles;
	struct guest_next *next;	/* it is open for whoever opens it next; NULL: it is not */
	struct guest_following following[GUEST_ORDERS]; /* of a directory */
	unsigned changes;		/* made here */
	/* Connections, counted from 1, over which bytes were written that were not synced: the last one, and
	 * the one before that. 0: none. */
	unsigned unsynced, unsynced_before;
};

/* The root, with a reference for the caller. NULL where no object can be had. */
struct guest_node *guest_node_root(struct guest_tree *tree);

/* The attached node of that place, or NULL. Not referenced. */
struct guest_node *guest_node_find(struct guest_node *parent, const char *name);
/* The node of that place, which attr tells about, found or made, with a reference for the caller; NULL
 * where no object can be had. */
struct guest_node *guest_node_get(struct guest_node *parent, const char *name,
	const struct file_attr *attr);
/* The same for who has looked for it already: found is the node of that place, or NULL. */
struct guest_node *guest_node_take(struct guest_node *parent, const char *name,
	const struct file_attr *attr, struct guest_node *found);

/* The inode number that users see for that place: its node's; where it has none, the one that its
 * node would get. That is the same for the same path each time, unless another node has it
 * still: one that was renamed, or removed while it was open. */
ino_t guest_node_number(struct guest_node *parent, const char *name);

/* The kernel looked the node up, or forgot `count` look-ups. */
void guest_node_count(struct guest_node *node);
void guest_node_forget(struct guest_node *node, uint64_t count);

/* The place is gone; nothing when there is no such node. */
void guest_node_detach(struct guest_node *parent, const char *name);
/* The place's entry has another name now; what had that name is detached. */
void guest_node_move(struct guest_node *parent, const char *name, struct guest_node *new_parent,
	const char *new_name);
/* node is what `other` is, which is being made (guestahead.h), by another name. */
void guest_node_made_as(struct guest_node *node, struct guest_node *other);

/* node is a hard link to what `other` is: it shows the same inode number. They stay two nodes, each with
 * its path, as the guest may put another file into either place. */
void guest_node_twin(struct guest_node *node, struct guest_node *other);

/* The node goes: frees both of its lists (guestlist.c). */
void guest_list_free(struct guest_node *node);

/* Takes the node out of the list of those that the kernel believes. */
void guest_node_disbelieve(struct guest_node *node);

/* Writes the path of `name` below node (name NULL: of node itself) to path, FILES_PATH_MAX + 1 bytes.
 * 0, -ENAMETOOLONG, or -ESTALE when node is detached. */
int guest_node_path(const struct guest_node *node, const char *name, char *path);

/* What the kernel gets for attr: sockets stand for all that must not be opened. */
void guest_node_stat(const struct guest_node *node, const struct file_attr *attr,
	struct stat *stat);

/* Ends every node's id and the kernel's references. */
void guest_tree_clear(struct guest_tree *tree);

#endif
