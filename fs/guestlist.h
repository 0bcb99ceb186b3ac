/* SPDX-License-Identifier: MIT */
/*
 * What is known of a guest's directory as a whole: its entries with their attributes, as one
 * request read them. While that is believed (guestcache.h), look-ups are answered from it. That a
 * name is not there is only said of directories that were made from here: elsewhere a name that
 * somebody asks for is likely to be one that has just come.
 *
 * What is done here meanwhile touches a name: about that one the guest is asked. It makes no
 * difference whether that was before or after the guest read the directory, so names are
 * remembered from the moment on at which a list is asked for. Only of a name whose removal was
 * answered ahead (guestahead.h) it is known what becomes of it, until something else is done to it.
 *
 * Loop's thread only.
 */
#ifndef FS_GUESTLIST_H
#define FS_GUESTLIST_H

#include "backends/base/text.h"
#include "fs/guestcache.h"

struct guest_list;

/* A list of the directory is asked for, not twice at once. false: there is one under way. */
bool guest_list_ask(struct guest_node *node, struct guest_moment asked);
/* It came: the entries, as in protocol/files.h and checked, all of them. Or (NULL) it did not. */
void guest_list_came(struct guest_cache *cache, struct guest_node *node, const void *entries,
	size_t size);

/* The directory was made from here: nothing is in it. */
void guest_list_made(struct guest_cache *cache, struct guest_node *node, struct guest_moment asked);

enum guest_known {
	GUEST_UNKNOWN,	/* ask */
	GUEST_ABSENT,	/* there is no such name, nor was one from here */
	GUEST_THERE,	/* attr is filled in */
};
/* All entries, as they came, while they are believed and no name of the directory was touched; when they
 * were asked for goes to *asked. NULL: ask. Owned by the node. */
const struct text *guest_list_whole(struct guest_cache *cache, struct guest_node *node,
	struct guest_moment *asked);

/* One name. */
enum guest_known guest_list_find(struct guest_cache *cache, struct guest_node *node, const char *name,
	struct file_attr *attr, struct guest_moment *asked);

/* Whether what is asked for is going to tell what guest_list_whole would. */
bool guest_list_is_coming(struct guest_cache *cache, const struct guest_node *node);

/* Where in the guest's order the entries behind that name begin (NULL: all entries), whatever was touched since they
 * came. false: they are not known. *position is for guest_list_next, as long as nothing else came. */
bool guest_list_behind(struct guest_cache *cache, struct guest_node *node, const char *name, size_t *position);
/* The entry there, its name with a NUL; *position moves on. NULL: the end. */
const struct file_entry *guest_list_next(struct guest_node *node, size_t *position, char name[FILES_NAME_MAX + 1]);

/* The regular file that follows name in that order, and its name, which may be the same buffer; NULL: that is not
 * known, or there is none. Nothing was done to it from here since. The entry is the list's, for the moment. */
const struct file_entry *guest_list_after(struct guest_cache *cache, struct guest_node *node, const char *name,
	enum guest_order order, char after[FILES_NAME_MAX + 1]);

/* An entry of the directory is changed, or was, from here. number: of the operation that does so, if it is
 * answered ahead; else 0. */
void guest_list_touch(struct guest_node *node, const char *name, uint64_t number);
/* The operation of that number, which is answered ahead, takes the name away. */
void guest_list_gone(struct guest_node *node, const char *name, uint64_t number);
/* Whether nothing is in the directory, once all is done that was answered ahead. false: or that is not known. */
bool guest_list_empty(struct guest_cache *cache, struct guest_node *node);

/* A name had to be asked for. true: so many were that the whole directory should be. */
bool guest_list_missed(struct guest_cache *cache, struct guest_node *node);
/* The directory is too large for a list: do not ask for one soon. */
void guest_list_too_large(struct guest_node *node);
bool guest_list_is_large(const struct guest_node *node);

#endif
