/* SPDX-License-Identifier: MIT */
/*
 * request.h for unit tests: every reply is recorded instead of sent.
 */
#ifndef UNIT_RECORD_H
#define UNIT_RECORD_H

#include "backends/base/text.h"
#include "fs/request.h"

struct record {
	struct request request;
	int replies;		/* how often it was answered; must end as 1 */
	int error;		/* of request_error */
	struct text data;	/* of request_data, request_link; names of a directory, one a line */
	size_t written;
	struct entry entry;
	struct stat attr;
	struct handle *handle;
	unsigned events;
	size_t room;		/* for request_dir_add: how many entries still fit */
	bool plus;
};

/* A fresh request. record_done frees what it recorded. */
struct request *record_new(struct record *record);
void record_done(struct record *record);

/* How many pollers fired, and how many were freed unfired. */
extern int record_fired, record_freed;
struct poller *record_poller(void);

#endif
