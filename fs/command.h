/* SPDX-License-Identifier: MIT */
/*
 * The files that take commands: an instance's cmd and a run's cmd.
 *
 * Programs write a command in many ways: dash in one write(2), bash line by line, and
 * shells close the file once before they write at all. So the text is collected for
 * each open file, and it is whole when the process that wrote it closes a descriptor (the
 * kernel tells who by the lock owner, which a child that merely inherited the descriptor
 * does not share), at fsync, at a read, or at the last close. Refusals come from write(2):
 * shells do not look at what close(2) returns. What was refused is refused until the text's end.
 */
#ifndef FS_COMMAND_H
#define FS_COMMAND_H

#include "fs/control.h"

/* An instance's cmd: each text is a new numbered run; reading what the same open file wrote gives the
 * runs' numbers, one per line. */
extern const struct control_ops command_ops;

/* A named run's cmd: takes one text, then EBUSY; reading gives the text. */
extern const struct control_ops command_run_ops;

#endif
