/* SPDX-License-Identifier: MIT */
/*
 * The contents of files by the programs push and pull, for a machine whose files are else carried by
 * shell commands. It stands before shellfiles/: what is about attributes, names and directories goes
 * on to there, and so does content of at most so many bytes as the key carry_from says, which a command carries sooner than a
 * program is started.
 *
 * What is written into a new or emptied file is kept on this host, and brought to the machine at once
 * when the file is closed, synced, renamed, linked or given other attributes: `push` writes it under a
 * name of its own in the same directory, which then takes the place of the file. So whoever looks in
 * the machine finds the old content or all of the new one, whatever becomes of the push. What changes a part of
 * a file that is there is done by commands.
 *
 * What is read from its beginning on is fetched by `pull` into a file of this host, and read from that
 * as it comes; what is far ahead of it is read by commands.
 *
 * Loop's thread only. `done` comes from the loop, never from inside a call of these functions, but for
 * carry_lose.
 */
#ifndef EXEC_CARRY_H
#define EXEC_CARRY_H

#include "backends/transport.h"

struct carry;
struct shellfiles;

/* A log message. */
typedef void carry_log(void *data, const char *message);

/* values have push or pull, or both. agent: the transport that runs programs on this host; below: what
 * carries all else. Both must stay longer. */
struct carry *carry_new(struct uv_loop_s *loop, const struct poolfs_values *values,
	struct transport *agent, struct shellfiles *below, carry_log *log, void *data);
/* Frees all without callbacks; no event of the two may come from here on. NULL is allowed. */
void carry_free(struct carry *carry);
/* Every request ends with error within this call, those of shellfiles too; what is open is forgotten. */
void carry_lose(struct carry *carry, int error);
/* As the slots `file` and `file_cancel` of struct transport_ops. */
void carry_add(struct carry *carry, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data);
void carry_cancel(struct carry *carry, uint64_t key);

#endif
