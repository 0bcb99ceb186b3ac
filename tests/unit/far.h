/* SPDX-License-Identifier: MIT */
/*
 * For unit tests: the files of an instance (fs/guestfs.h) whose shim is played by the test. What is sent to it is
 * kept until the test answers it, in whatever order. Requests of the kernel are records (record.h).
 */
#ifndef UNIT_FAR_H
#define UNIT_FAR_H

#include "backends/protocol/files.h"
#include "fs/control.h"
#include "fs/guestfs.h"
#include "tests/unit/record.h"

/* What was sent and is not answered. */
struct far_sent {
	uint64_t id;		/* 0: none */
	struct file_request request;
	char path[256], path2[256];
};

extern struct guestfs *far_files;
/* How much was told to have failed after it was answered, and the last of it. */
extern int far_failures, far_error;
extern char far_path[256];
/* The number up to which all is done, as it was told last. */
extern uint64_t far_oldest;

/* Files with that files_mode and a cache of a minute, connected. far_end checks that nothing is left. */
void far_begin(const char *files_mode);
void far_end(void);
/* The connection is lost; another one is there. */
void far_lose(void);
void far_return(void);

/* How many requests of that kind are not answered, closes apart; and of all kinds. */
unsigned far_count(enum file_op op);
unsigned far_all(void);
/* The oldest of that kind that is not answered; there must be one. */
struct far_sent *far_oldest_of(enum file_op op);
/* How many closes there were, and of which handle the last one was. */
extern unsigned far_closes;
extern uint64_t far_closed;

/* Answers the oldest of that kind as a guest does: with a new handle where one is asked for, and attributes of
 * something of the right type, far_size bytes long. */
void far_answer(enum file_op op);
extern uint64_t far_size;
/* The same, with an error; and of any that was sent. */
void far_refuse(enum file_op op, int error);
void far_reply(struct far_sent *sent, const struct file_reply *reply);
/* Answers the oldest OPENDIR with files of these names, in this order, ended by NULL. They have far_size bytes, or a
 * mebibyte where the name ends in '+'; those with a '/' behind the name are directories. */
void far_list(const char *const *names);
/* Answers all until nothing more comes. */
void far_settle(void);

/* The object of what a request of the kernel was answered with. */
struct object *far_object(const struct record *record);
/* Requests that must be answered at once and well. */
struct object *far_mkdir(struct object *parent, const char *name);
struct handle *far_create(struct object *parent, const char *name, struct object **object);
void far_write(struct handle *handle, const char *bytes);

#endif
