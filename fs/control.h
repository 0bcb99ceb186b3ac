/* SPDX-License-Identifier: MIT */
/*
 * Control files and the directories that hold them: everything in the mount but what
 * lies below files/. Each kind of object has one `struct directory` with the table of
 * its control files; the functions below walk these tables, so a new file is a new line
 * in a table.
 *
 * A control file shows a text (`show`), is a stream (`stream`), is a link (`show`
 * gives the target), is a directory, takes what is written to it (`store`), or has
 * operations of its own (`ops`).
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include "backends/base/text.h"
#include "fs/object.h"
#include "fs/request.h"
#include "fs/stream.h"

struct handle;

/* Operations of a file that no slot of struct control covers. Each may be NULL. Those that return
 * give 0 or a negative errno and never wait. */
struct control_ops {
	int (*open)(struct handle *handle);
	/* Returns the bytes taken. */
	ssize_t (*write)(struct handle *handle, const void *data, size_t size, uint64_t offset,
		uint64_t owner);
	/* The same for a write that may wait: answers by itself. */
	void (*put)(struct handle *handle, struct request *request, const void *data, size_t size);
	/* Some process closed a descriptor of this open file; owner tells which. */
	void (*flush)(struct handle *handle, uint64_t owner);
	/* Everything written so far is meant: at fsync, before a read, and at the last close. */
	void (*commit)(struct handle *handle);
	/* Answers by itself. */
	void (*read)(struct handle *handle, struct request *request, uint64_t offset, size_t size);
	/* Answers by itself; owns poller, which may be NULL. */
	void (*poll)(struct handle *handle, struct request *request, struct poller *poller);
	void (*release)(struct handle *handle);
};

#define CONTROL_UNLISTED 1u	/* opened by name only: recursive tools must not hang in it */
#define CONTROL_WAITS	 2u	/* a read at the end of its stream waits until the stream ends */

struct control {
	const char *name;
	mode_t mode;		/* with the type */
	unsigned flags;
	uint32_t feature;	/* POOLFS_FEATURE_...: shown where the pool's kind has it; 0: always */
	void (*show)(struct object *object, struct text *text);
	struct stream *(*stream)(struct object *object);
	/* What one write(2) brought. Returns 0 or a negative errno. */
	int (*store)(struct object *object, const char *data, size_t size);
	const struct control_ops *ops;
	bool (*hidden)(struct object *object);	/* not there at the moment; NULL: always there */
	/* The object whose own directory this one is; NULL: it is gone. */
	struct object *(*at)(struct object *object);
};

typedef void directory_add(void *data, const char *name, struct object *child);

/* What an object's directory (file OBJECT_SELF), or a directory among its control files, can do. */
struct directory {
	const struct control *controls;	/* ended by an entry without name */
	/* Owner, time, and mode of the object's own directory. */
	void (*stat)(struct object *object, struct stat *stat);
	struct object *(*child)(struct object *object, const char *name);
	void (*each)(struct object *object, directory_add *add, void *data);
	int (*mkdir)(struct object *object, const char *name, const struct request *request,
		struct object **child);
	int (*rmdir)(struct object *object, const char *name);
	/* The same of children that are files: child_file of theirs. */
	int (*create)(struct object *object, const char *name, const struct request *request,
		struct object **child);
	int (*unlink)(struct object *object, const char *name);
	unsigned child_file;		/* 0: children are directories */
	/* The name of the directory among the controls that child .. rmdir are about; NULL: the
	 * object's own. */
	const char *children_in;
	uint32_t (*features)(struct object *object);
};

/* An open file or directory: what the kernel names when it reads or closes it. Here is also what an
 * open control file needs; guestfile.c and tree.c (directories) put theirs around it. */
struct handle {
	LIST_ENTRY(handle) open;	/* in the list of all of them */
	struct object *object;		/* referenced */
	const struct control *control;
	int flags;			/* of open(2) */
	struct text snapshot;		/* of `show`, taken by the first read or the read at 0 */
	bool has_snapshot;
	struct stream_cursor cursor;
	struct text written;		/* for ops: what was written and is not committed */
	uint64_t writer;		/* for ops: the lock owner who wrote it, or its first bytes */
	int refused;			/* for ops: the errno (below 0) that its rest gets too */
	struct text answer;		/* for ops: what reading gives */
	uint64_t answer_base;		/* the file offset of the answer's first byte */
	size_t answered;		/* how much of it was read */
	unsigned seen;			/* the object's changes when it was opened or read last */
	struct poller *poller;		/* waits for the next change */
};

/* Enters an open file in the list of all of them, or takes it out. */
void handle_opened(struct handle *handle);
void handle_closed(struct handle *handle);
/* One that is open, or NULL. For the end of a mount whose files were never closed. */
struct handle *handle_any(void);

/* The table of an object's kind (mount.c, pool.c, instance.c, run.c). */
const struct directory *control_directory(const struct object *object);
/* The control file that `file` of a node id names, or NULL. */
const struct control *control_find(struct object *object, unsigned file);
/* The number of the control file of that name in the object's own directory; 0: none. */
unsigned control_lookup(struct object *object, const char *name);
/* Whether a file of the table is there now. */
bool control_present(struct object *object, const struct control *control);

/* Whether what was written to a ctl file is this word, with or without a newline. */
bool control_is_word(const char *data, size_t size, const char *word);

/* Answers a read of what `show` gives: one snapshot for each pass from the start. */
void control_read_text(struct handle *handle, struct request *request, uint64_t offset, size_t size);

/* The object's state changed: polls of its files wake with POLLPRI. */
void control_changed(struct object *object);

/* Attributes of a control file, with its true size. */
void control_stat(struct object *object, unsigned file, struct stat *stat);

/* Operations of an open control file; see tree.h. */
int control_open(struct handle *handle);
void control_read(struct handle *handle, struct request *request, uint64_t offset, size_t size);
void control_write(struct handle *handle, struct request *request, const void *data, size_t size,
	uint64_t offset, uint64_t owner);
void control_flush(struct handle *handle, uint64_t owner);
void control_sync(struct handle *handle);
void control_release(struct handle *handle);
void control_poll(struct handle *handle, struct request *request, struct poller *poller);

#endif
