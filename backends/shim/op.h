/* SPDX-License-Identifier: MIT */
/*
 * The core's side of `struct poolfs_op`: one operation of a backend that may wait. It
 * frees itself after its completion was delivered, which is on a later turn of the
 * loop than poolfs_op_done, exactly once. An op that a backend never completes stays.
 */
#ifndef SHIM_OP_H
#define SHIM_OP_H

#include "backends/backend.h"

typedef void op_done(void *data, int result, const char *text);

struct poolfs_op *op_new(struct uv_loop_s *loop, op_done *done, void *data);

/* Asks the backend to hurry; done is still called. Calls the backend's cancel function at once
 * (or as soon as it names one), the first time. */
void op_cancel(struct poolfs_op *op);

/* Nobody waits any more: done is not called. The op still frees itself when it is completed. */
void op_detach(struct poolfs_op *op);

#endif
