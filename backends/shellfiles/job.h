/* SPDX-License-Identifier: MIT */
/*
 * One file request on its way through the shell, and what is open: what the parts of shellfiles/ share.
 * shellfiles.c has the queue, shellpath.c, shelldata.c and shelllist.c say what each operation tells the
 * shell and what its answer means, shellopen.c keeps what is open.
 */
#ifndef SHELLFILES_JOB_H
#define SHELLFILES_JOB_H

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "backends/base/names.h"
#include "backends/base/text.h"
#include "backends/shellfiles/parse.h"
#include "backends/shellfiles/shell.h"
#include "backends/shellfiles/shellfiles.h"

#define JOB_BUCKETS 64u

/* What the shell is given ahead of its answers. */
#define JOB_SENT_MAX  32u
#define JOB_BYTES_MAX 2097152u

#define JOB_HANDLES_MAX 4096u		/* files and directories open at once */
#define JOB_ENTRIES_MAX 1000000u	/* of one directory; the listing ends there */
#define JOB_LISTED_MAX	67108864u	/* bytes of all listings that are kept; the same */

/* A file that is removed while it is open here gets a name in the root that begins so. */
#define JOB_KEPT ".poolfs-removed-"
#define JOB_NAME_MAX 64u

struct job;
TAILQ_HEAD(job_list, job);

/* Entries of a directory, as they come. */
struct listing {
	struct text entries;		/* file_entry's; those up to `taken` were given */
	size_t taken;
	struct names names;
	unsigned count, dropped;
	bool cut;
};

/* What is open: no more in the machine than a name and what it has to lead to. */
struct handle {
	uint64_t number;
	struct handle *next;
	char *path;			/* as it is now; relative to the root */
	uint64_t device, inode;
	uint32_t flags;			/* of its open */
	bool kept;			/* it was removed: path is a name of JOB_KEPT */
	struct listing *listing;	/* of a directory; NULL: a file */
};

struct job_op;

struct job {
	TAILQ_ENTRY(job) link;
	struct job_list *list;		/* that it is on; NULL: none */
	struct shellfiles *files;
	uint64_t key;
	transport_file_done *done;	/* NULL: cancelled, or our own */
	void *data;
	struct file_request request;
	char *path, *path2;
	void *bytes;			/* of a write */
	const struct job_op *op;
	bool known;			/* its outcome is, without the shell: in reply.error and content */
	bool again;			/* what make has done besides is done */
	unsigned rounds;		/* how often it was answered in part */
	bool slow;			/* the machine's disk may take its time */
	bool alone;			/* nothing may be sent before it is answered */
	size_t sent_bytes;		/* of its line and its bytes */
	struct file_reply reply;
	struct text content;		/* what the answer brings */
	struct listing *listing;	/* that is being filled */
	char kept[JOB_NAME_MAX];	/* of the file that it removes; "": none */
};

struct shellfiles {
	uv_loop_t *loop;
	const struct transport_ops *ops;
	struct transport *transport;
	const struct shellfiles_events *events;
	void *data;
	uv_idle_t idle;
	uv_timer_t clock;
	unsigned open_handles;		/* of these two */
	bool freed, connected;
	bool ready;			/* the shell has told what it has */
	struct job_list waiting, sent, ended;
	unsigned sent_count, opening;
	size_t sent_bytes;
	bool alone;			/* the last one that was sent is */
	uint64_t number;		/* of the next request to the present shell */
	struct shell *shell;		/* NULL: none */
	struct shell_list shells;	/* also those whose run has not ended yet */
	uint64_t since;			/* uv_now of the last sign of life */
	uint64_t head_since;		/* when the one that the shell is at became the first */
	uint64_t retry_at;		/* none is started before; uv_now */
	bool told;			/* status and log say how files/ works */
	bool failed;			/* log says that it does not */
	struct parse_hello hello;	/* of the present shell */
	struct handle *handles[JOB_BUCKETS];
	unsigned handle_count;
	uint64_t last_handle;		/* goes on over connections */
	size_t names, listed;		/* kept of all listings: see names.h; bytes */
	uint64_t dropped, cut;
	char kept[JOB_NAME_MAX / 2];	/* what the names of removed files have in common */
	uint64_t kept_count;
	struct text left;		/* such names that nobody removed, each ended by a NUL */
};

/*
 * An operation. make appends the commands for the shell: 0; 1 when the outcome is known without them; or a
 * negative errno. It is called anew for another shell when the first one has not begun with it. take gets an answer without error: 0; 1 when make is to be
 * called again for the rest; or a negative errno. NULL: nothing counts but that there was none.
 */
struct job_op {
	int (*make)(struct job *job, struct text *out);
	int (*take)(struct job *job, const char *bytes, size_t size);
	bool brings;		/* the answer holds up to request.length bytes */
};

extern const struct job_op shellpath_getattr, shellpath_setattr, shellpath_readlink, shellpath_symlink,
	shellpath_link, shellpath_mkdir, shellpath_unlink, shellpath_rmdir, shellpath_rename, shellpath_statfs,
	shellpath_clean;
extern const struct job_op shelldata_open, shelldata_read, shelldata_write, shelldata_fsync, shelldata_close,
	shelldata_copy;
extern const struct job_op shelllist_open, shelllist_read;

/* The handle that a request names, or NULL. */
struct handle *shellopen_find(struct shellfiles *files, uint64_t number);
/* Keeps what was opened; its number goes into the reply. */
struct handle *shellopen_add(struct job *job, const struct parse_file *file);
/* Forgets it. */
void shellopen_forget(struct shellfiles *files, struct handle *handle);
/* Appends a command about an open file, up to its device and inode; sets the variable p. */
void shellopen_words(struct text *out, const char *command, const struct handle *handle);
/* How many handles have the path. */
unsigned shellopen_count(const struct shellfiles *files, const char *path);
/* Everything open at or below `from` is at or below `to` now. kept: the files have been removed. */
void shellopen_moved(struct shellfiles *files, const char *from, const char *to, bool kept);
/* A name for a file that is removed while it is open, where the machine can give it one; else "". */
void shellopen_keep(struct shellfiles *files, const char *path, char name[JOB_NAME_MAX]);
/* The connection is gone: forgets all. */
void shellopen_done(struct shellfiles *files);

/* Takes records that are complete: how many bytes. */
size_t shelllist_feed(struct job *job, const char *bytes, size_t size);
void shelllist_free(struct shellfiles *files, struct listing *listing);

/* Messages for the log, and a status line that counts. */
void shellfiles_log(struct shellfiles *files, const char *format, ...) __attribute__((format(printf, 2, 3)));
void shellfiles_count(struct shellfiles *files, const char *key, uint64_t count);

#endif
