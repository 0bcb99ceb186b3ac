/* SPDX-License-Identifier: MIT */
/*
 * File requests (protocol/files.h) as SFTP: the door that the transport calls. What
 * each operation does stands in files_path.c, files_data.c and files_directory.c.
 */
#ifndef SSH_FILES_H
#define SSH_FILES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/shellfiles/shellfiles.h"
#include "backends/ssh/sftp.h"
#include "backends/transport.h"

#define FILES_BUCKETS 64u
#define GUESS_SIZE 4u
#define GUESS_KEPT 64u

struct job;
struct handle;
struct listing;
struct chunk;
TAILQ_HEAD(chunk_list, chunk);
TAILQ_HEAD(files_jobs, job);
TAILQ_HEAD(files_listings, listing);

/* Handles of the server's that are free, in the order in which they became so. */
struct guess {
	unsigned char free[GUESS_KEPT][GUESS_SIZE];
	unsigned count;
	unsigned right;			/* guesses in a row */
	unsigned pending;		/* requests under way that bring a handle */
};

struct files {
	struct session *session;
	struct sftp *sftp;
	struct files_jobs waiting;	/* for SFTP to be ready */
	struct files_jobs running;	/* requests are sent */
	struct files_jobs ended;	/* put off to the next turn */
	struct files_listings listings;	/* open, or closed with answers to come */
	struct handle *handles[FILES_BUCKETS]; /* by number */
	unsigned handle_count;
	struct guess guess;
	struct chunk_list chunks;	/* of all files that are read ahead */
	size_t ahead_size;		/* bytes of theirs */
	uint64_t last_handle;		/* goes on over connections: no old one fits again */
	size_t names;			/* kept of all listings; see names.h */
	uint64_t dropped, cut;		/* entries left out; directories that were too long */
	char *spare;			/* FILES_DATA_MAX bytes for a large read, when not in use */
	bool connected;			/* else every request fails */
	struct shellfiles *instead;	/* gets the requests where there is no SFTP server; NULL: they fail */
};

void files_init(struct files *files, struct session *session, struct sftp *sftp);
/* Frees all without calls. */
void files_done(struct files *files);
/* Takes a request; see transport.h. */
void files_add(struct files *files, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data);
void files_cancel(struct files *files, uint64_t key);
/* SFTP has become ready, or is known to be absent: starts what waited. */
void files_ready(struct files *files);
/* Tells what was put off. */
void files_turn(struct files *files);
/* The connection is gone: every request ends with error, every handle is forgotten. */
void files_lose(struct files *files, int error);

#endif
