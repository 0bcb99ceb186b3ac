/* SPDX-License-Identifier: MIT */
/*
 * Standard input of a named run: what is written to its `stdin` goes to the command, and
 * the last close of a writer is its end. The shim takes so many bytes at a time
 * (PROTOCOL_INPUT_WINDOW); beyond that a write waits, as on a pipe. What is written before the
 * command is known is kept, up to one window.
 *
 * Loop's thread only.
 */
#ifndef FS_INPUT_H
#define FS_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/base/text.h"
#include "fs/request.h"

struct shim;

enum input_state {
	INPUT_EARLY,	/* the command is not known yet */
	INPUT_OPEN,
	INPUT_CLOSED,	/* nothing is wanted any more: writes get EPIPE */
};

/* So many writers can poll at a time; of more, one is woken early, and asks again. */
#define INPUT_POLLS 16

struct input {
	enum input_state state;
	struct shim *shim;
	uint64_t id;		/* of the run */
	struct text held;	/* written, not sent; at most a window */
	uint32_t outstanding;	/* sent, and not passed on by the shim */
	unsigned writers;	/* open files */
	bool at_end;		/* the last writer closed: the end follows what is held */
	struct request *waiting; /* a write that waits for room; one, as the kernel lets in one at a time */
	struct text rest;	/* what of it has found no room yet */
	size_t waiting_size;	/* of all of it */
	struct {
		const void *file; /* whose poll it is; never looked into */
		struct poller *poller;
	} polls[INPUT_POLLS];	/* wait for a change */
};

void input_init(struct input *input, uint64_t id);
/* Answers who waits, with EPIPE, and frees. */
void input_done(struct input *input);

/* A writer opened or closed the file. */
void input_opened(struct input *input);
void input_closed(struct input *input);
/* Answers a write, now or when all of it was taken. */
void input_write(struct input *input, struct request *request, const void *data, size_t size,
	bool nonblock);

/* Answers a poll of an open file: writable while a write of at least one byte would not wait. Owns
 * poller, which may be NULL. */
void input_poll(struct input *input, const void *file, struct request *request,
	struct poller *poller);

/* The command was given to the shim. */
void input_start(struct input *input, struct shim *shim);
/* The shim passed bytes on; closed: the command wants no more. false: it breaks the protocol. */
bool input_taken(struct input *input, uint32_t bytes, bool closed);
/* The run ended. */
void input_end(struct input *input);

#endif
