/* SPDX-License-Identifier: MIT */
/*
 * For tests of the SSH transport against a real server: starts a server of its own,
 * connects, and waits for what is to happen, with a deadline.
 */
#ifndef SSH_HARNESS_H
#define SSH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "backends/base/text.h"
#include "backends/base/values.h"
#include "backends/transport.h"

/* One transport and the server that it talks to. */
struct fixture {
	uv_loop_t loop;
	uv_timer_t alarm;
	struct transport *transport;
	struct poolfs_values *values;
	char directory[64];	/* of the server: host_key, id, ... */
	char home[80];		/* that files/ shows */
	char known_hosts[96];
	int port;
	pid_t server;
	bool up, down, fatal;
	unsigned downs;
	char reason[512];
	struct text log;
};

/* What became of a command. */
struct result {
	struct text out, err, both;
	size_t total;		/* bytes of both streams; counted only, when `count` is set */
	bool count;
	bool started, ended, drained;
	enum run_state state;
	int status;
	struct transport_run *run;
};

/* What became of a file request. */
struct answer {
	bool done;
	struct file_reply reply;
	struct text bytes;
};

/* Starts a server with extra configuration lines (ended by NULL) and makes a transport; keys are
 * further "key", "value" pairs ended by NULL, or NULL. Skips the test when there is no server. */
void fixture_start(struct fixture *fixture, const char *const *lines, const char *const *keys);
/* The same, connected. */
void fixture_open(struct fixture *fixture, const char *const *lines, const char *const *keys);
void fixture_close(struct fixture *fixture);
/* Starts and stops the server alone; the port stays. */
void server_start(struct fixture *fixture, const char *const *lines);
void server_stop(struct fixture *fixture);
/* Makes another transport in place of the present one. */
void transport_again(struct fixture *fixture, const char *const *keys);

void connect_to(struct fixture *fixture, const char *known_hosts);
/* Runs the loop until *flag; fails the test after 20 seconds. */
void await(struct fixture *fixture, const bool *flag);
/* Runs the loop until the condition holds. */
void await_that(struct fixture *fixture, bool (*holds)(void *data), void *data);

void run_start(struct fixture *fixture, const char *text, struct result *result);
/* The same, with everything that a command may have. */
void run_start_as(struct fixture *fixture, const struct transport_command *command,
	struct result *result);
/* Runs and waits; NULL-terminated outputs are in result. */
void run(struct fixture *fixture, const char *text, struct result *result);
void result_done(struct result *result);

/* A request of any kind; data may be NULL. */
void ask_start(struct fixture *fixture, struct file_request *request, const char *path,
	const char *path2, const void *data, struct answer *answer);
/* Sends it and waits; the result is the error. */
int ask(struct fixture *fixture, struct file_request *request, const char *path, const char *path2,
	const void *data, struct answer *answer);
/* The most common kinds. */
int ask_path(struct fixture *fixture, enum file_op op, const char *path, struct answer *answer);
int ask_handle(struct fixture *fixture, enum file_op op, uint64_t handle, struct answer *answer);
int ask_open(struct fixture *fixture, const char *path, uint32_t flags, uint64_t *handle);
void answer_done(struct answer *answer);

#endif
