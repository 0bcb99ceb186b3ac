/* SPDX-License-Identifier: MIT */
/*
 * One request of the kernel that wants exactly one reply. The tree answers through
 * the functions below; fuse.c implements them over libfuse, unit tests over a record
 * of what was answered, so that everything behind fuse.c builds without libfuse.
 *
 * A request that cannot be answered at once says so with request_wait, keeps the
 * pointer, and answers later from the loop. Loop's thread only.
 */
#ifndef FS_REQUEST_H
#define FS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

struct handle;

struct request {
	uid_t uid;	/* of the calling process */
	gid_t gid;
	/* Set by request_wait. */
	void (*interrupt)(struct request *request, void *data);
	void *data;
};

/* A name that the kernel may remember, with its node's attributes. */
struct entry {
	uint64_t node;		/* 0: the name does not exist (and that may be remembered) */
	struct stat attr;
	double entry_seconds;	/* how long the kernel may believe the name */
	double attr_seconds;	/* and the attributes */
};

/*
 * The request waits. When its caller is interrupted or killed, interrupt(request, data) is called
 * once, never from within request_wait; it must take the request out of wherever it waits and answer
 * (-EINTR). Ends by itself with the answer.
 */
void request_wait(struct request *request,
	void (*interrupt)(struct request *request, void *data), void *data);

/* The replies. Each ends the request; it must not be touched afterwards. */
void request_error(struct request *request, int error); /* 0 or a negative errno */
void request_entry(struct request *request, const struct entry *entry);
void request_attr(struct request *request, const struct stat *attr, double attr_seconds);
void request_link(struct request *request, const char *target);
void request_data(struct request *request, const void *data, size_t size);
void request_written(struct request *request, size_t size);
void request_statfs(struct request *request, const struct statvfs *statfs);
void request_poll(struct request *request, unsigned events);

/* How the kernel is to treat an open file. */
#define REQUEST_DIRECT 1u /* every read and write comes to us as it is, nothing is cached */
#define REQUEST_KEEP   2u /* the bytes that the kernel has of it are still right */
#define REQUEST_NO_FLUSH 4u /* a close needs not be told */
void request_open(struct request *request, struct handle *handle, unsigned how);
void request_create(struct request *request, const struct entry *entry, struct handle *handle,
	unsigned how);

/*
 * An answer to readdir, entry by entry; next is the offset that continues behind this entry. Returns
 * false when it does not fit any more: then it was not taken. entry->node is only counted as a look-up
 * when request_dir_counts says so.
 */
bool request_dir_add(struct request *request, const char *name, const struct entry *entry,
	uint64_t next);
bool request_dir_counts(const struct request *request);
void request_dir_done(struct request *request);

/* Whoever polls a file: fires once, then is spent. */
struct poller;
void poller_fire(struct poller *poller); /* wakes the poll and frees the poller */
void poller_free(struct poller *poller); /* NULL is allowed */

#endif
