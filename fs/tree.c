/* SPDX-License-Identifier: MIT */
#include "fs/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "fs/guestfs.h"
#include "fs/instance.h"

/* An open directory of ours: what it held when it was opened or rewound. */
struct listing {
	struct handle handle;	/* control is NULL */
	unsigned file;
	struct listed {
		char *name;	/* ours */
		uint64_t node;
	} *entries;
	size_t count, capacity;
};

/* The living object behind a node id; for a directory among the control files that is another object's
 * own, that one. */
static struct object *resolve(uint64_t node, unsigned *file)
{
	struct object *object = object_find(node, file);

	if (!object || object->type == OBJECT_FILE)
		return object;
	const struct control *control = control_find(object, *file);
	if (!control || !control->at)
		return object;
	*file = OBJECT_SELF;
	return control->at(object);
}

/* The same; answers the request where there is none. */
static struct object *find(struct request *request, uint64_t node, unsigned *file)
{
	struct object *object = resolve(node, file);

	/* ESTALE lets the kernel look the path up anew once, so a name that was taken again works. */
	if (!object)
		request_error(request, -ESTALE);
	return object;
}

/* Whether this directory is the one that holds the object's children. */
static bool holds_children(struct object *object, unsigned file)
{
	const struct directory *directory = control_directory(object);

	if (!directory->children_in)
		return file == OBJECT_SELF;
	const struct control *control = control_find(object, file);
	return control && strcmp(control->name, directory->children_in) == 0;
}

/* Which file of a child is its entry. */
static unsigned child_file(struct object *object)
{
	unsigned file = control_directory(object)->child_file;

	return file ? file : OBJECT_SELF;
}

/* An entry for the kernel. */
static struct entry entry_of(struct object *object, unsigned file)
{
	struct entry entry = { .node = object_node(object, file),
		.entry_seconds = TREE_ENTRY_SECONDS,
		.attr_seconds = TREE_ATTR_SECONDS };

	control_stat(object, file, &entry.attr);
	return entry;
}

/* Looks a name up. */
void tree_lookup(struct request *request, uint64_t parent, const char *name)
{
	unsigned file, found = 0;
	struct object *object = find(request, parent, &file), *child = NULL;

	if (!object)
		return;
	if (object->type == OBJECT_FILE) {
		guestfs_lookup(request, object, name);
		return;
	}
	if (file == OBJECT_SELF)
		found = control_lookup(object, name);
	const struct directory *directory = control_directory(object);
	if (!found && directory->child && holds_children(object, file))
		child = directory->child(object, name);
	if (!found && !child) {
		request_error(request, -ENOENT);
		return;
	}
	struct entry entry = child ? entry_of(child, child_file(object)) : entry_of(object, found);
	request_entry(request, &entry);
}

/* Only nodes of a guest are counted. */
void tree_forget(uint64_t node, uint64_t count)
{
	unsigned file;
	struct object *object = object_find(node, &file);

	if (object && object->type == OBJECT_FILE)
		guestfs_forget(object, count);
}

/* Attributes, also of what was removed and is open still: cat(1) asks for them before it reads. files/
 * itself is answered from memory, so that `ls -l` of an instance never waits. */
void tree_getattr(struct request *request, uint64_t node, struct handle *handle)
{
	unsigned file;
	struct object *object = object_find_open(node, &file);
	struct stat stat;

	if (object && object->type == OBJECT_FILE && !object->dead) {
		guestfs_getattr(request, object, handle);
		return;
	}
	if (object && object->type == OBJECT_FILE)
		object = NULL;
	/* A name that the kernel still knows may be gone by now. */
	const struct control *control = object ? control_find(object, file) : NULL;
	if (!object || (control && !control_present(object, control))) {
		request_error(request, -ESTALE);
		return;
	}
	control_stat(object, file, &stat);
	request_attr(request, &stat, TREE_ATTR_SECONDS);
}

/* Whether a user may do that with what has these attributes, by its mode alone. */
static bool may(const struct request *request, const struct stat *stat, int mask)
{
	mode_t bits = stat->st_mode;

	if (request->uid == 0)
		return !(mask & X_OK) || S_ISDIR(bits) || bits & 0111;
	if (request->uid == stat->st_uid)
		bits >>= 6;
	else if (request->gid == stat->st_gid)
		bits >>= 3;
	return (bits & (mode_t)mask) == (mode_t)mask;
}

/* What a guest allows its server knows; here is no user of it. */
void tree_access(struct request *request, uint64_t node, int mask)
{
	unsigned file;
	struct object *object = find(request, node, &file);
	struct stat stat;

	if (!object)
		return;
	if (object->type == OBJECT_FILE) {
		guestfs_access(request, object, mask);
		return;
	}
	control_stat(object, file, &stat);
	request_error(request, may(request, &stat, mask) ? 0 : -EACCES);
}

/* Shells truncate and editors chmod what they write: on control files that does nothing. */
void tree_setattr(struct request *request, uint64_t node, struct handle *handle,
	const struct stat *attr, unsigned which)
{
	unsigned file;
	struct object *object = find(request, node, &file);
	struct stat stat;

	if (!object)
		return;
	if (object->type == OBJECT_FILE) {
		guestfs_setattr(request, object, handle, attr, which);
		return;
	}
	control_stat(object, file, &stat);
	request_attr(request, &stat, TREE_ATTR_SECONDS);
}

/* The target of a link. */
void tree_readlink(struct request *request, uint64_t node)
{
	unsigned file;
	struct object *object = find(request, node, &file);
	struct text text = { 0 };

	if (!object)
		return;
	if (object->type == OBJECT_FILE) {
		guestfs_readlink(request, object);
		return;
	}
	const struct control *control = control_find(object, file);
	if (!control || !S_ISLNK(control->mode)) {
		request_error(request, -EINVAL);
		return;
	}
	control->show(object, &text);
	if (text.size)
		request_link(request, text.data);
	else
		request_error(request, -ENOENT);
	text_done(&text);
}

/* Makes a file without opening it. Nothing else can be made in a guest this way. */
void tree_mknod(struct request *request, uint64_t parent, const char *name, mode_t mode)
{
	unsigned file;
	struct object *object = find(request, parent, &file);

	if (!object)
		return;
	if (object->type == OBJECT_FILE && S_ISREG(mode))
		guestfs_mknod(request, object, name, mode);
	else
		request_error(request, -EPERM);
}

/* Makes an instance or a run. */
void tree_mkdir(struct request *request, uint64_t parent, const char *name, mode_t mode)
{
	unsigned file;
	struct object *object = find(request, parent, &file), *child;

	if (!object)
		return;
	if (object->type == OBJECT_FILE) {
		guestfs_mkdir(request, object, name, mode);
		return;
	}
	const struct directory *directory = control_directory(object);
	if (!directory->mkdir || !holds_children(object, file)) {
		request_error(request, -EPERM);
		return;
	}
	int result = directory->mkdir(object, name, request, &child);
	if (result < 0) {
		request_error(request, result);
		return;
	}
	struct entry entry = entry_of(child, OBJECT_SELF);
	request_entry(request, &entry);
}

/* Removes a name, as a directory or as a file. What users made is removed, control files are not. EPERM,
 * never EXDEV, which mv takes as a call to copy. */
static void remove_child(struct request *request, uint64_t parent, const char *name, bool as_directory)
{
	unsigned file;
	struct object *object = find(request, parent, &file);

	if (!object)
		return;
	if (object->type == OBJECT_FILE) {
		guestfs_remove(request, object, name, as_directory);
		return;
	}
	const struct directory *directory = control_directory(object);
	int (*remove)(struct object *, const char *) = as_directory ? directory->rmdir : directory->unlink;
	bool can = remove && holds_children(object, file);
	request_error(request, can ? remove(object, name) : -EPERM);
}

/* Destroys an instance, or stops and forgets a run. */
void tree_rmdir(struct request *request, uint64_t parent, const char *name)
{
	remove_child(request, parent, name, true);
}

/* Ends a forward. */
void tree_unlink(struct request *request, uint64_t parent, const char *name)
{
	remove_child(request, parent, name, false);
}

/* Links are made below files/ only. */
void tree_symlink(struct request *request, const char *target, uint64_t parent, const char *name)
{
	unsigned file;
	struct object *object = find(request, parent, &file);

	if (!object)
		return;
	if (object->type == OBJECT_FILE)
		guestfs_symlink(request, target, object, name);
	else
		request_error(request, -EPERM);
}

/* Whether both are of one guest; answers the request where they are not. */
static bool same_guest(struct request *request, struct object *one, struct object *other)
{
	bool both = one->type == OBJECT_FILE && other->type == OBJECT_FILE;

	if (both && guestfs_same(one, other))
		return true;
	/* Between two guests mv may copy. */
	request_error(request, both ? -EXDEV : -EPERM);
	return false;
}

/* Hard links. */
void tree_link(struct request *request, uint64_t node, uint64_t parent, const char *name)
{
	unsigned file;
	struct object *object = find(request, node, &file);
	struct object *directory = object ? find(request, parent, &file) : NULL;

	if (directory && same_guest(request, object, directory))
		guestfs_link(request, object, directory, name);
}

/* Renames inside files/. */
void tree_rename(struct request *request, uint64_t parent, const char *name, uint64_t new_parent,
	const char *new_name, unsigned flags)
{
	unsigned file;
	struct object *from = find(request, parent, &file);
	struct object *to = from ? find(request, new_parent, &file) : NULL;

	if (to && same_guest(request, from, to))
		guestfs_rename(request, from, name, to, new_name, flags);
}

/* Opens a control file, which becomes *handle. */
static int open_control(struct object *object, unsigned file, int flags, struct handle **out)
{
	struct handle *handle = memory_new(sizeof(*handle));

	handle->object = object_ref(object);
	handle->control = control_find(object, file);
	handle->flags = flags;
	handle->seen = object->changes;
	int result = handle->control ? control_open(handle) : -EISDIR;
	if (result < 0) {
		object_unref(object);
		free(handle);
		return result;
	}
	handle_opened(handle);
	*out = handle;
	return 0;
}

/* Creates what a directory of ours takes. */
static void create_child(struct request *request, struct object *object, unsigned file,
	const char *name, int flags)
{
	const struct directory *directory = control_directory(object);
	struct object *child = NULL;
	struct handle *handle = NULL;
	int result = -EPERM;

	if (directory->create && holds_children(object, file))
		result = directory->create(object, name, request, &child);
	if (result == 0)
		result = open_control(child, child_file(object), flags, &handle);
	if (result < 0) {
		request_error(request, result);
		return;
	}
	struct entry entry = entry_of(child, child_file(object));
	request_create(request, &entry, handle, REQUEST_DIRECT);
}

/* Creates a file. */
void tree_create(struct request *request, uint64_t parent, const char *name, mode_t mode, int flags)
{
	unsigned file;
	struct object *object = find(request, parent, &file);

	if (!object)
		return;
	if (object->type == OBJECT_FILE)
		guestfs_create(request, object, name, mode, flags);
	else
		create_child(request, object, file, name, flags);
}

/* Opens a file. */
void tree_open(struct request *request, uint64_t node, int flags)
{
	unsigned file;
	struct object *object = find(request, node, &file);

	if (!object)
		return;
	if (object->type == OBJECT_FILE) {
		guestfs_open(request, object, flags);
		return;
	}
	struct handle *handle;
	int result = open_control(object, file, flags, &handle);
	if (result < 0) {
		request_error(request, result);
		return;
	}
	request_open(request, handle, REQUEST_DIRECT);
}

/* Reads. An instance that was removed answers ENODEV, but what its runs printed can be read on. */
void tree_read(struct request *request, struct handle *handle, uint64_t offset, size_t size)
{
	if (handle->object->type == OBJECT_FILE)
		guestfs_read(request, handle, offset, size);
	else if (handle->object->dead && !handle->control->stream)
		request_error(request, -ENODEV);
	else
		control_read(handle, request, offset, size);
}

/* Writes. */
void tree_write(struct request *request, struct handle *handle, const void *data, size_t size,
	uint64_t offset, uint64_t owner)
{
	if (handle->object->type == OBJECT_FILE)
		guestfs_write(request, handle, data, size, offset);
	else if (handle->object->dead)
		request_error(request, -ENODEV);
	else
		control_write(handle, request, data, size, offset, owner);
}

/* A close(2). Never waits and never fails for control files: shells do not look. */
void tree_flush(struct request *request, struct handle *handle, uint64_t owner)
{
	if (handle->object->type == OBJECT_FILE) {
		guestfs_flush(request, handle);
		return;
	}
	control_flush(handle, owner);
	request_error(request, 0);
}

/* fsync(2): of a control file, the sign that the text is whole. */
void tree_fsync(struct request *request, struct handle *handle)
{
	if (handle->object->type == OBJECT_FILE) {
		guestfs_fsync(request, handle);
		return;
	}
	control_sync(handle);
	request_error(request, 0);
}

/* fsync(2) of a directory: there is nothing to do for ours. */
void tree_fsyncdir(struct request *request, struct handle *handle)
{
	if (handle->object->type == OBJECT_FILE)
		guestfs_fsync(request, handle);
	else
		request_error(request, 0);
}

/* Copies inside one guest. */
void tree_copy(struct request *request, struct handle *from, uint64_t offset, struct handle *to,
	uint64_t to_offset, size_t size)
{
	bool both = from->object->type == OBJECT_FILE && to->object->type == OBJECT_FILE;

	if (both && guestfs_same(from->object, to->object))
		guestfs_copy(request, from, offset, to, to_offset, size);
	else
		request_error(request, -EXDEV);
}

/* Forgets the names. */
static void listing_clear(struct listing *listing)
{
	while (listing->count)
		free(listing->entries[--listing->count].name);
}

/* Frees an open file or directory of any sort. */
static void close_handle(struct handle *handle)
{
	if (handle->object->type == OBJECT_FILE) {
		guestfs_release(handle);
	} else if (handle->control) {
		control_release(handle);
	} else {
		struct listing *listing = container_of(handle, struct listing, handle);

		handle_closed(handle);
		object_unref(handle->object);
		listing_clear(listing);
		free(listing->entries);
		free(listing);
	}
}

/* The last close. */
void tree_release(struct request *request, struct handle *handle)
{
	close_handle(handle);
	request_error(request, 0);
}

/* After the mount's end. */
void tree_close_all(void)
{
	struct handle *handle;

	while ((handle = handle_any()))
		close_handle(handle);
}

/* Polls. */
void tree_poll(struct request *request, struct handle *handle, struct poller *poller)
{
	if (handle->object->type == OBJECT_FILE) {
		/* ENOSYS would end poll for the whole mount. */
		poller_free(poller);
		request_poll(request, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
		return;
	}
	control_poll(handle, request, poller);
}

/* Adds one name to a listing. */
static void listing_add(struct listing *listing, const char *name, uint64_t node)
{
	if (listing->count == listing->capacity) {
		listing->capacity = listing->capacity ? 2 * listing->capacity : 32;
		listing->entries = memory_grow(listing->entries,
			listing->capacity * sizeof(*listing->entries));
	}
	struct listed *entry = &listing->entries[listing->count++];
	entry->name = memory_string(name);
	entry->node = node;
}

/* directory_add for listing_fill. */
static void listing_add_child(void *data, const char *name, struct object *child)
{
	struct listing *listing = data;

	listing_add(listing, name, object_node(child, child_file(listing->handle.object)));
}

/* Takes the names that are there now. */
static void listing_fill(struct listing *listing)
{
	struct object *object = listing->handle.object;
	const struct directory *directory = control_directory(object);

	listing_clear(listing);
	listing_add(listing, ".", object_node(object, listing->file));
	listing_add(listing, "..", object_node(object, OBJECT_SELF));
	for (unsigned i = 0; listing->file == OBJECT_SELF && directory->controls[i].name; i++) {
		const struct control *control = &directory->controls[i];

		if (!(control->flags & CONTROL_UNLISTED) && control_present(object, control))
			listing_add(listing, control->name, object_node(object, i + OBJECT_CONTROLS));
	}
	if (directory->each && holds_children(object, listing->file))
		directory->each(object, listing_add_child, listing);
}

/* Opens a directory. */
void tree_opendir(struct request *request, uint64_t node)
{
	unsigned file;
	struct object *object = find(request, node, &file);

	if (!object)
		return;
	if (object->type == OBJECT_FILE) {
		guestfs_opendir(request, object);
		return;
	}
	struct listing *listing = memory_new(sizeof(*listing));
	listing->handle.object = object_ref(object);
	listing->file = file;
	handle_opened(&listing->handle);
	request_open(request, &listing->handle, 0);
}

/* Lists a directory. */
void tree_readdir(struct request *request, struct handle *handle, uint64_t offset)
{
	if (handle->object->type == OBJECT_FILE) {
		guestfs_readdir(request, handle, offset);
		return;
	}
	struct listing *listing = container_of(handle, struct listing, handle);
	if (handle->object->dead) {
		request_error(request, -ENODEV);
		return;
	}
	if (offset == 0)
		listing_fill(listing);
	for (size_t i = offset; i < listing->count; i++) {
		unsigned file;
		struct object *object = object_find(listing->entries[i].node, &file);

		if (!object) /* gone since the listing was made */
			continue;
		struct entry entry = entry_of(object, file);
		if (!request_dir_add(request, listing->entries[i].name, &entry, i + 1))
			break;
	}
	request_dir_done(request);
}

/* The guest's file system below files/, nothing of interest above. */
void tree_statfs(struct request *request, uint64_t node)
{
	unsigned file;
	struct object *object = resolve(node, &file);
	struct statvfs none = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255 };

	if (object && object->type == OBJECT_FILE)
		guestfs_statfs(request, object);
	else
		request_statfs(request, &none);
}
