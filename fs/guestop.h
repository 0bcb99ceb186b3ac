/* SPDX-License-Identifier: MIT */
/*
 * Requests to a guest's files: sent to the shim, matched with its replies, held back
 * while the instance boots or the shim does not keep up, interrupted, and ended when the
 * machine is not up. guestfs.c says what each request is and what its reply means.
 *
 * Loop's thread only.
 */
#ifndef FS_GUESTOP_H
#define FS_GUESTOP_H

#include <stdbool.h>
#include <sys/queue.h>

#include "backends/protocol/files.h"
#include "fs/guestcache.h"
#include "fs/guestnode.h"
#include "fs/guestslots.h"
#include "fs/request.h"

struct guest_op;
struct guest_looks;
struct guest_nexts;
struct guest_queue;
struct shim;

/* The answer: reply->error 0 or a negative errno (also our own: EINTR, EHOSTDOWN, ENODEV, EPROTO).
 * op->request, when not NULL, is to be answered. op is freed afterwards. */
typedef void guest_done(struct guest_op *op, const struct file_reply *reply, const void *data,
	size_t size);

struct guest_op {
	TAILQ_ENTRY(guest_op) entry;
	struct guest_queue *queue;
	uint64_t id;
	bool sent;
	struct request *request;	/* NULL: nobody waits for it */
	guest_done *done;
	struct guest_node *node;	/* referenced, or NULL: what the request is about */
	struct guest_node *other;	/* the same: the new parent of a rename or link */
	struct guest_handle *handle;	/* not owned; lives longer than its requests */
	char *name, *new_name;		/* owned, may be NULL */
	bool list;			/* the answer to guest_list_ask, of an OPENDIR */
	struct guest_moment asked;	/* when it was made */
	unsigned begun;			/* the node's, when it was sent */
	struct file_request message;
	char *path, *path2;		/* owned, may be NULL */
	const void *borrowed;		/* the data, while guest_op_send is called; */
	void *data;			/* a copy of what could not be sent at once */
	struct stat attr;		/* of a setattr that has to ask first */
	unsigned which;
	TAILQ_ENTRY(guest_op) ahead;	/* in the queue's, of those answered ahead (guestahead.h) */
	struct guest_node *about;	/* referenced: what such an op is about; NULL: it is none */
	uint64_t number;		/* of such an op, from 1 on */
	char *slot;			/* where its data are once it was sent; NULL: they go in the frames */
};

enum guest_mode {
	GUEST_WAITING,	/* booting: requests are kept */
	GUEST_UP,
	GUEST_DOWN,	/* requests fail with EHOSTDOWN */
	GUEST_GONE,	/* requests fail with ENODEV */
};

TAILQ_HEAD(guest_op_list, guest_op);

struct guest_queue {
	enum guest_mode mode;
	struct shim *shim;
	unsigned connection;		/* counts them: open files are of one */
	uint64_t next_id;
	unsigned count;			/* in both lists */
	struct guest_op_list sent, held;
	struct guest_slots slots;
	struct guest_cache cache;
	struct guest_looks *looks;	/* of guestagain.h; NULL: nothing is looked at */
	struct guest_nexts *nexts;	/* of guestnext.h; NULL: nothing is opened ahead */
	size_t whole_size;		/* bytes that came with opens and are kept */
	size_t behind_bytes;		/* of writes that were answered and are under way */
	unsigned behind_count;
	bool eager;
	bool flushes;			/* a close has to tell the transport (FILES_FLUSH) */
	struct guest_op_list ahead;	/* in the order of their numbers */
	unsigned ahead_count;
	unsigned making_count;		/* files of those that are being made */
	bool one_step;			/* attributes change by path in one request, so in order */
	bool renames, links;		/* the same of renaming; the guest makes hard links */
	uint64_t ahead_last;
	void (*failed)(void *data, const char *path, int error); /* one of those failed; */
	void (*settled)(void *data);	/* one ended */
	void *data;
};

void guest_queue_init(struct guest_queue *queue, struct shim *shim);
/* Changes the mode: sends what was held, or ends everything. */
void guest_queue_set(struct guest_queue *queue, enum guest_mode mode);
/* A reply of the shim, payload of FRAME_FILE_REPLY. Below 0: it breaks the protocol. */
int guest_queue_reply(struct guest_queue *queue, uint64_t id, const void *payload, size_t size);

/* A request about node (referenced here; NULL for none) that answers request (may be NULL). */
struct guest_op *guest_op_new(struct guest_queue *queue, struct request *request,
	struct guest_node *node, enum file_op what, guest_done *done);
/* Fills in the path of node, or of name below it; name is kept. 0, or it was answered and freed. */
int guest_op_path(struct guest_op *op, const char *name);
/* The second path, in op->other. The same. */
int guest_op_path2(struct guest_op *op, struct guest_node *other, const char *name);
/* The data that op->borrowed names are copied: it is not going to be sent at once. */
void guest_op_keep(struct guest_op *op);
/* Sends or holds; from here on the op is the queue's. */
void guest_op_send(struct guest_op *op);
/* The op, which was sent for nobody, answers request, as `done` does. */
void guest_op_wait(struct guest_op *op, struct request *request, guest_done *done);
/* Closes an open file of the transport; nobody waits for the end. */
void guest_queue_close(struct guest_queue *queue, uint64_t handle);
/* Ends with our own error. */
void guest_op_fail(struct guest_op *op, int error);

#endif
