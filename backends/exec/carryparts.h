/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the carrying of contents share: carry.c has what is to be done with each request, and what is open,
 * carryjob.c the requests on their way, content.c what is kept here to be pushed, push.c how it gets into the machine, pull.c
 * what is fetched.
 */
#ifndef EXEC_CARRYPARTS_H
#define EXEC_CARRYPARTS_H

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "backends/base/text.h"
#include "backends/exec/carrier.h"
#include "backends/exec/carry.h"

/* A read that is so much ahead of what was fetched does not wait for it. */
#define CARRY_AHEAD 4194304u
/* Open files that are carried, at once: each has a descriptor here. */
#define CARRY_OPEN_MAX 4096u
/* Numbers of our open files, and keys of our own requests, begin here; those of shellfiles/ never get there. */
#define CARRY_OWN (UINT64_C(1) << 62)
/* The names under which content is pushed begin so. */
#define CARRY_NAME ".poolfs-push-"

struct job;
struct opened;
TAILQ_HEAD(job_queue, job);

/* An answer of shellfiles' to a question that a job asked. */
typedef void job_answer(struct job *job, const struct file_reply *reply, const void *bytes, size_t size);

/* A request, or the bringing of a content (done NULL). */
struct job {
	TAILQ_ENTRY(job) link;
	struct job_queue *queue;	/* that it is in; NULL: none */
	struct carry *carry;
	uint64_t key;
	transport_file_done *done;	/* NULL: nobody waits for it */
	void *data;
	struct file_request request;
	char *path, *path2;
	void *bytes;
	struct opened *opened;		/* that the request is about; NULL: none */
	void (*next)(struct job *job);	/* what is done when what it waits for has come */
	bool holds;			/* those that came later wait for it (carry->later) */
	bool brings;			/* it waits for what is being brought: an error of that is its own */
	job_answer *then;
	struct file_reply reply;
	struct text content;
	struct push *push;		/* of a bringing */
};

/* The content of a file as it is to be: in a file of this host. */
struct content {
	LIST_ENTRY(content) link;
	char *path;
	int fd;
	uint64_t size;
	struct file_attr attr;		/* as the machine told them last */
	uint64_t below;			/* shellfiles' handle for it; 0: none */
	bool dirty;			/* the machine does not have it */
	bool gone;			/* it was removed or replaced: only who has it open has it */
	unsigned users;			/* open files that are not closed; with the last it is not listed any more */
	unsigned writers;		/* those of them that may write: without any, the others read the machine's */
	unsigned references;		/* open files that are not freed */
	struct job *bringing;		/* it is being brought; NULL: it is not */
	struct job_queue waiting;	/* for the end of that */
};

enum pull_state { PULL_NOT, PULL_RUNS, PULL_ENDED };

/* An open file: of a content; else one that shellfiles has open, and that may be fetched. */
struct opened {
	LIST_ENTRY(opened) link;
	struct carry *carry;
	uint64_t number;
	bool closed;			/* it is not listed any more, and goes with the last of its jobs */
	unsigned jobs;
	uint32_t flags;
	struct content *content;	/* NULL: it has none, and the rest is for that */
	char *path;			/* NULL: it was removed */
	uint64_t below;			/* 0: it is being opened again */
	bool fetched;			/* by pull */
	int fd;				/* -1: none yet */
	uint64_t size, have;		/* bytes: when it was opened; in fd */
	enum pull_state state;
	int error;			/* of the pull */
	struct carrier *pull;
	struct job_queue waiting;	/* reads */
};

struct carry {
	uv_loop_t *loop;
	const struct poolfs_values *values;
	const char *const *push, *const *pull;	/* empty: there is none */
	uint64_t small;			/* content of at most so many bytes is carried by commands */
	struct transport *agent;
	struct shellfiles *below;
	carry_log *log;
	void *data;
	uv_idle_t idle;
	bool freed, lost;
	struct job_queue asking, ended;	/* that wait for shellfiles; that are over */
	/*
	 * Requests about paths, in their order, that shellfiles must not get before: one that changes names and
	 * waits for a content (there are `holding` of these), or files that are being opened (`opening`) and
	 * that this one would rename or change.
	 */
	struct job_queue later;
	unsigned holding, opening;
	LIST_HEAD(, content) contents;
	LIST_HEAD(, opened) opened;
	struct carrier_list carriers;
	unsigned opened_count;
	uint64_t last_number, last_key, last_name;
	char token[17];			/* in the names of what is pushed */
};

/* ---- carryjob.c ---- */

/* Puts a job into another queue, or none (NULL). */
void carry_move(struct job *job, struct job_queue *queue);
/* Tells the answer, and frees. */
void carry_answer(struct job *job);
void carry_job_free(struct job *job);
/* The job is over; its answer is given on the next turn. */
void carry_end(struct job *job, int error);
/* Asks shellfiles; then(job) gets the answer. */
void carry_ask(struct job *job, const struct file_request *request, const char *path, const char *path2,
	const void *bytes, job_answer *then);
/* Asks the question of the job's own request about a path; then as above. */
void carry_ask_path(struct job *job, const char *path, job_answer *then);
/* An answer is the job's own, as it is. */
void carry_take(struct job *job, const struct file_reply *reply, const void *bytes, size_t size);
/* Waits in a queue, whose owner calls next. */
void carry_wait(struct job *job, struct job_queue *queue, void (*next)(struct job *job));
/* A job of our own; nobody waits for it. */
struct job *carry_job(struct carry *carry);
/* Something for shellfiles whose outcome nobody waits for. */
void carry_tell(struct carry *carry, enum file_op op, uint64_t handle, const char *path);
/* Has those of a queue go on, which may wait in it again. */
void carry_wake(struct job_queue *queue);

/* ---- carry.c ---- */

/* Those that come later wait for the job, or do not any more. */
void carry_hold(struct job *job, bool hold);
/* A file of this host without a name, or a negative errno. */
int carry_file(void);
/* Makes an open file; NULL: there are too many. */
struct opened *carry_opened(struct carry *carry, uint32_t flags);
/* Moves a request about an open file on. */
void carry_go(struct job *job);
/* Closes it: it is freed when no job needs it any more. */
void carry_close(struct opened *opened);
/* Frees it, if it is closed and no job needs it. */
void carry_opened_free(struct opened *opened);
/* The same path in the machine, absolute; free() it. */
char *carry_absolute(struct carry *carry, const char *path);
void carry_say(struct carry *carry, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- content.c ---- */

/* The content of that path, or NULL. */
struct content *content_find(struct carry *carry, const char *path);
/* shellfiles has opened a file to write, whose content is or becomes one that is kept here; the job gets
 * the open file. false: it is not to be. */
bool content_open(struct job *job, const struct file_reply *reply);
/* One more open file has it. */
void content_join(struct content *content, struct opened *opened);
void content_read(struct job *job);
void content_write(struct job *job);
void content_getattr(struct job *job);
void content_setattr(struct job *job);
void content_sync(struct job *job);
void content_close(struct job *job);
/* A removal, renaming or link that may concern contents. */
void content_names(struct job *job);
/* Frees a content when nothing refers to it. */
void content_unref(struct content *content);

/* ---- push.c ---- */

/* Brings a content to the machine, if that has to be, and calls next then; where it fails the job ends with
 * that. true: it is there already. */
bool push_settle(struct job *job, struct content *content, void (*next)(struct job *job));
/* Gives back shellfiles' handle. */
void push_release(struct carry *carry, struct content *content);
void push_free(struct push *push);

/* ---- pull.c ---- */

/* shellfiles has opened a file without a content here; the job gets the open file. bytes: all of a small file.
 * false: there is nothing to be done for it. */
bool pull_open(struct job *job, const struct file_reply *reply, const void *bytes, size_t size);
void pull_read(struct job *job);
void pull_close(struct job *job);
/* What has that path, or is below it, has the other one; NULL: none any more. */
void pull_moved(struct carry *carry, const char *from, const char *to);
/* Ends a fetching: nobody has it open any more. */
void pull_stop(struct opened *opened);
/* The file has a content by now: all that have it open get that. */
void pull_join(struct carry *carry, struct content *content);
/* The content is in the machine, and nobody writes: the others have the machine's file open again. */
void pull_leave(struct carry *carry, struct content *content);

/* Whether a path is `at`, or below it. */
bool carry_is_below(const char *path, const char *at);

#endif
