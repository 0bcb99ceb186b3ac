/* SPDX-License-Identifier: MIT */
/*
 * One file request under way, for the files_*.c files. A job sends one or more SFTP
 * requests at once (what it does, and often the look at the result), counts the
 * answers in `waiting`, and calls `finish` after the last one. The same look decides
 * what SFTP's all-purpose FAILURE means.
 *
 * A cancelled job (done is NULL) goes on to its end, so that what it opened is closed.
 */
#ifndef SSH_JOB_H
#define SSH_JOB_H

#include <sys/queue.h>

#include "backends/ssh/files.h"
#include "backends/ssh/bounds.h"

struct handle;

struct job {
	TAILQ_ENTRY(job) link;
	struct files *files;
	uint64_t key;
	transport_file_done *done;	/* NULL: cancelled */
	void *data;
	struct files_jobs *list;	/* that it is on */
	struct file_request request;
	char *path, *path2;		/* as asked for */
	char *full, *full2;		/* on the machine; NULL before the start */
	const void *bytes;		/* of a write, during its start */
	unsigned waiting;
	void (*finish)(struct job *job);
	int error;			/* of what was to be done: 0 or a negative errno */
	uint32_t status;		/* the same as SFTP says it */
	int look_error;			/* of the look at the result */
	struct file_attr look;
	bool again;			/* the second way is being tried */
	bool slow;			/* the machine's disk may take its time */
	struct file_reply reply;
	unsigned char handle[LIMIT_HANDLE]; /* that an OPEN brought */
	size_t handle_size;
	unsigned char guess[GUESS_SIZE]; /* that it is going to bring */
	bool guessed;			/* there is a guess, and it has not been found wrong */
	bool asked_first;		/* a READ by the guess is under way */
	struct listing *early;		/* of an OPENDIR: READDIRs by the guess are under way; NULL: none */
	struct text first;		/* what an OPEN read */
	struct ahead *ahead;		/* that a read waits for; NULL: none */
	TAILQ_ENTRY(job) wait;		/* of its jobs */
	struct piece *pieces;		/* of a read or write */
	unsigned count;
	char *buffer;			/* what a read brought */
};

/* What the server opened for us. */
struct handle {
	uint64_t number;		/* the caller's name for it */
	struct handle *next;
	unsigned char name[LIMIT_HANDLE]; /* the server's */
	size_t size;
	uint64_t file_size;		/* as last seen; only a hint */
	struct listing *listing;	/* of a directory; NULL: a file */
	struct ahead *ahead;		/* what is read ahead; NULL: nothing was yet */
	uint64_t read_end;		/* where the last read ended */
	bool written;			/* something was */
};

/* Each starts a job: 0, or a negative errno when nothing was sent. */
typedef int job_start(struct job *job);
job_start path_getattr, path_setattr, path_readlink, path_symlink, path_link, path_mkdir,
	path_unlink, path_rmdir, path_rename, path_statfs;
job_start data_open, data_read, data_write, data_fsync, data_copy, data_close;
job_start directory_open, directory_read;

/* The end of a job: its answer, with the bytes that belong to it. Frees it. */
void job_end(struct job *job, int error, const void *bytes, size_t size);
/* On the next turn: its end where error is set, else its finish. */
void job_later(struct job *job, int error);
/* One answer came; the last one calls finish. */
void job_part(struct job *job);
/* 0 when the answer has the type; a STATUS's errno; -EIO for what breaks the protocol. */
int job_expect(struct job *job, const struct sftp_answer *answer, enum packet_type type);

/* Takes an answer that brings a handle, into handle, error and status. */
void job_take_handle(void *data, const struct sftp_answer *answer);

/* Starts a request whose first field is a path or a handle. */
struct text *job_ask(struct job *job, enum packet_type type, const char *path, sftp_take *take);
struct text *job_ask_handle(struct job *job, enum packet_type type, const struct handle *handle,
	void *data, sftp_take *take);
/* Ends it, and counts its answer. */
void job_asked(struct job *job);
/* Asks for the attributes of path; they come into look and look_error. */
void job_look(struct job *job, const char *path);
/* Takes an answer that is a STATUS into error and status. */
void job_take_status(void *data, const struct sftp_answer *answer);
/* Takes attributes into look and look_error. */
void job_take_look(void *data, const struct sftp_answer *answer);

/* Two ends: the status alone, or the status and then the attributes of the look. */
void job_finish_status(struct job *job);
void job_finish_look(struct job *job);

/* The handle that the request names, or NULL. */
struct handle *job_handle(struct job *job);
struct handle *handle_find(struct files *files, uint64_t number);
/* Keeps job->handle; its number goes into the reply. */
struct handle *handle_add(struct job *job);
/* Forgets it, without a word to the server. */
void handle_forget(struct files *files, struct handle *handle);
/* Closes job->handle, which nobody wants, at the server. */
void handle_drop(struct job *job);

/* Which handle the server is going to give next; see files_open.c. Each request that gets one calls
 * guess_take when it is sent and guess_check when job->error and job->handle are known; each CLOSE
 * that is sent is told with guess_closed. */
void guess_take(struct job *job);
void guess_check(struct job *job);
void guess_closed(struct files *files, const unsigned char *name, size_t size);
/* Whether the job's guess is good enough to be used. */
bool guess_usable(const struct job *job);

/* Reads up to this size have a buffer of their own. */
#define READ_SMALL 65536u
/* Gives a read its buffer. */
void job_buffer(struct job *job);
/* A read as it is. 0 or a negative errno. */
int data_read_plain(struct job *job);

/* Reading ahead; see files_ahead.c. Takes a read if it is one of a row, else it is to be done plainly. */
bool ahead_read(struct job *job, struct handle *handle);
/* What was read ahead is of no use; the handle goes; the read goes; the connection is gone. */
void ahead_drop(struct handle *handle);
void ahead_forget(struct handle *handle);
void ahead_cancel(struct job *job);
void ahead_done(struct files *files);

/* The directory is closed; answers that still come for it are let pass. */
void directory_forget(struct listing *listing);
/* A job goes; when it waited for entries, they stay for the next one. */
void directory_cancel(struct job *job);
/* The connection is gone: frees all listings. */
void directory_done(struct files *files);

#endif
