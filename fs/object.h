/* SPDX-License-Identifier: MIT */
/*
 * What stands behind the kernel's node ids. An object is the mount, a pool, an
 * instance, a run, a directory of forwards, a forward, a directory of reports of crashes, a report,
 * or a file of a guest; each has a slot in one table. A node id is
 *
 *   generation << 32 | slot << 8 | file
 *
 * where file is OBJECT_SELF for the object's own directory (or guest file) and the
 * place in its table of control files otherwise (control.h). The mount has slot 0 and
 * generation 0, so its directory is node 1, as FUSE wants the root to be. A slot that is
 * used again gets a new generation: the kernel may keep an old id as long as it likes,
 * it just does not resolve any more.
 */
#ifndef FS_OBJECT_H
#define FS_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

enum object_type { OBJECT_MOUNT, OBJECT_POOL, OBJECT_INSTANCE, OBJECT_RUN, OBJECT_FORWARDS,
	OBJECT_FORWARD, OBJECT_CRASHES, OBJECT_CRASH, OBJECT_FILE };

#define OBJECT_SELF 1u		/* the object itself */
#define OBJECT_CONTROLS 2u	/* its first control file */
#define OBJECT_SLOTS (1u << 24)

/* Stands first in each of the structs that it names. */
struct object {
	enum object_type type;
	uint32_t slot, generation;
	unsigned refs;		/* the owner's, open files', waiting requests' */
	bool dead;		/* removed: answers ENODEV; only open files still name it */
	unsigned changes;	/* of its state; see control_changed */
	void (*free)(struct object *object);
};

/* Enters an object with one reference, its owner's. free is called with the last one.
 * 0, or -ENFILE when every slot is in use. */
int object_init(struct object *object, enum object_type type, void (*free)(struct object *));
struct object *object_ref(struct object *object);
void object_unref(struct object *object);
/* The object is gone for those who look it up: its node ids do not resolve any more, but with
 * object_find_open until the last reference goes. */
void object_remove(struct object *object);

uint64_t object_node(const struct object *object, unsigned file);
/* The living object of a node id and, in *file, which of its files; NULL when it is gone. */
struct object *object_find(uint64_t node, unsigned *file);
/* The same, also of one that was removed while files of it are open. */
struct object *object_find_open(uint64_t node, unsigned *file);

/* Frees the table itself; every object must be gone. For the end of a program. */
void object_table_free(void);

#endif
