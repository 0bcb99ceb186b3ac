/* SPDX-License-Identifier: MIT */
/*
 * The user's programs that make, describe and end a machine: each is a run of the agent's kind,
 * whose standard error goes to the log, and which ends with all that it started, when it is to
 * end. Loop's thread only.
 */
#ifndef EXEC_PROGRAMS_H
#define EXEC_PROGRAMS_H

#include "backends/backend.h"

struct program;
struct programs;
struct text;

struct programs_events {
	/* Programs can be started. Once. */
	void (*up)(void *data);
	/* Not any more: poolfs-programs has gone. All programs have ended. */
	void (*down)(void *data, const char *reason);
};

struct program_options {
	const char *name;		/* POOLFS_PROGRAM, and for messages: a constant, or as long as it */
	const char *const *words;	/* ended by NULL */
	uint64_t limit_ms;		/* 0: none */
	const char *limit_name;		/* where limit_ms comes from, for the message */
	/* What it printed on standard output; NULL: it goes to the log. */
	void (*output)(void *data, const void *bytes, size_t size);
	/*
	 * It ended; once. status: its exit status, 128 + the signal that ended it, or -1: the
	 * limit came, or program_stop. text: how, for people, with the last it printed on
	 * standard error; "" for status 0 when there is none. The program is not to be used from
	 * then on. What it left behind in silence, or with its output, which goes to the log,
	 * belongs to the machine.
	 */
	void (*ended)(void *data, int status, const char *text);
	void *data;
};

/* socket: to poolfs-programs; it stays the caller's. up follows. */
struct programs *programs_new(struct poolfs_machine *machine, int socket,
	const struct programs_events *events, void *data);
/* Frees all without callbacks. NULL is allowed. */
void programs_free(struct programs *programs);

/* Starts one, after up; options are copied, but for their strings. The words are not needed afterwards. */
struct program *programs_start(struct programs *programs, const struct program_options *options);
/* As in its options. */
const char *program_name(const struct program *program);
/* Ends it, with all that it started: TERM, a grace, KILL. ended follows. */
void program_stop(struct program *program);
/* The same without a grace. */
void program_kill(struct program *program);

/* The last line, which is not empty, of what a program printed; what is behind it goes. "":
 * there is none. In the text, or constant. */
const char *program_last_line(struct text *text);

#endif
