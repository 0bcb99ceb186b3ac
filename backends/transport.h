/* SPDX-License-Identifier: MIT */
/*
 * A transport carries commands and files to a machine that is up. The shim's core
 * uses this interface alone; SSH (backends/ssh/), poolfs' agent (backends/agent/)
 * and programs of the user's (backends/exec/) implement it, and so does the want of one (shim/nowhere.c).
 *
 * Loop's thread only. Nothing here blocks; every callback comes from the loop, never
 * from inside the call that asked for it. What comes from the machine is hostile: sizes,
 * names, ids and types are checked here before they go on.
 */
#ifndef BACKENDS_TRANSPORT_H
#define BACKENDS_TRANSPORT_H

#include "backends/backend.h"
#include "backends/protocol/files.h"
#include "backends/protocol/protocol.h"
#include "backends/protocol/sockets.h"

struct transport;
struct uv_loop_s;

struct transport_events {
	/* Logged in: commands and files work. Also after a later transport_connect. */
	void (*up)(void *data);
	/* connect failed, or the connection was lost; all runs and file requests ended before this call
	 * (runs as RUN_LOST, requests with -EHOSTDOWN or -EIO). reason is for people. fatal: trying
	 * again cannot help (the key is refused, the host key changed). */
	void (*down)(void *data, bool fatal, const char *reason);
	/* A message for the instance's log. */
	void (*log)(void *data, const char *message);
	/* A line of the instance's `status`. */
	void (*status)(void *data, const char *key, const char *value);
};

struct transport_run;

/* What is to run, and how. */
struct transport_command {
	const char *text;		/* size bytes, no NUL: for the login's shell, as it is */
	size_t size;
	const char *environment;	/* lines KEY=VALUE, each ended by a newline, no NUL; or NULL */
	size_t environment_size;
	const char *cwd;		/* absolute, or relative to the directory of files/; NULL or "": that */
	unsigned columns, rows;		/* of a terminal; 0: none */
	bool input;			/* standard input stays open until run_eof; else it is at its end */
	/* What standard input has before that; without a terminal, and only for "agent". */
	const char *first;
	size_t first_size;
};

struct transport_run_events {
	/* The machine accepted the command: it runs. At most once. */
	void (*started)(void *data);
	/* How many bytes of output may be passed on now. When fewer than there are, run_more follows;
	 * until then the rest is left to the command, which has to wait. NULL: any number. */
	size_t (*room)(void *data);
	/* Output: kind is SPOOL_STDOUT or SPOOL_STDERR. */
	void (*output)(void *data, enum spool_kind kind, const void *bytes, size_t size);
	/* There is room for standard input again. */
	void (*drained)(void *data);
	/* The command's first process has ended, and what it printed was told; what it left behind may
	 * print more, until `ended` says the same. At most once. NULL: not wanted. Only from "agent". */
	void (*exited)(void *data, enum run_state state, int status);
	/* The end, exactly once, last of all; the run's object is gone when this returns. state is
	 * RUN_EXITED, RUN_SIGNALED, RUN_STOPPED or RUN_LOST; status as in struct frame_run_state. */
	void (*ended)(void *data, enum run_state state, int status);
};

/*
 * Forwards: streams between sockets of this host and ports of the machine. They are kept within the
 * connection: when that is lost, when it is dropped, and with the transport, they end with all that
 * they carry, and the object is gone, before `down` is called.
 */
struct transport_forward;

struct transport_forward_events {
	/* The machine listens at this port. Once, after forward_listen. */
	void (*listening)(void *data, uint16_t port);
	/* The machine does not do it: a negative errno, and words for people. At most once; forward_end is
	 * still to be called. */
	void (*failed)(void *data, int error, const char *reason);
	/* Somebody in the machine connected: gives a stream socket, connected or about to be, not
	 * blocking, which becomes the transport's; or a negative errno, which refuses. */
	int (*dial)(void *data);
};

/* The answer to a file request, exactly once, unless it was cancelled. bytes is valid in the call. */
typedef void transport_file_done(void *data, const struct file_reply *reply,
	const void *bytes, size_t size);

struct transport_ops {
	const char *name;
	/* It needs no address: connect gets one that is empty. */
	bool nowhere;
	/* values hold the transport's keys (user, key, ...). 0 or a negative errno with err. */
	int (*new)(struct uv_loop_s *loop, const struct poolfs_values *values,
		const struct transport_events *events, void *data,
		struct transport **transport, struct poolfs_err *err);
	/* Ends everything without further callbacks; memory may go on a later turn of the loop. */
	void (*free)(struct transport *transport);
	/* Begins to connect and log in (each attempt bounded by the transport's own limits);
	 * `up` or `down` follows. Only while neither connected nor connecting. */
	void (*connect)(struct transport *transport, const struct poolfs_address *address);
	/* Drops the connection; `down` does not follow, runs and requests end as there. */
	void (*disconnect)(struct transport *transport);
	/* Starts a command; it is copied. While up; queued inside where the server limits channels. NULL: it
	 * cannot be started at all, and the log says why. */
	struct transport_run *(*run)(struct transport *transport,
		const struct transport_command *command, const struct transport_run_events *events,
		void *data);
	/* Bytes for its standard input. How many were taken; when fewer, `drained` follows. 0 after
	 * run_eof, and for a command without `input`. */
	size_t (*run_input)(struct transport_run *run, const void *bytes, size_t size);
	/* The end of its standard input, after what was taken. */
	void (*run_eof)(struct transport_run *run);
	/* There may be more room for output. */
	void (*run_more)(struct transport_run *run);
	/* Sends a signal (Linux's number) to all processes of the command, its children in other
	 * sessions too, where the machine allows to find them. Not for a command that still waits for
	 * a channel: abandon that one. Where signals cannot be sent, TERM and KILL abandon. */
	void (*run_signal)(struct transport_run *run, int signal);
	/* From now on the command has not ended before all of its processes have: `ended` waits for
	 * those that its first process left behind, and run_signal reaches them. */
	void (*run_await_all)(struct transport_run *run);
	/* The terminal's new size; nothing without terminal. */
	void (*run_resize)(struct transport_run *run, unsigned columns, unsigned rows);
	/* Closes the command's channel, whatever still runs; `ended` with RUN_STOPPED follows soon. */
	void (*run_abandon)(struct transport_run *run);
	/* A file request; call is valid during this call only. key names it for file_cancel. */
	void (*file)(struct transport *transport, uint64_t key, const struct file_call *call,
		transport_file_done *done, void *data);
	/* The answer is no longer wanted: done is not called. What the request opened is closed again. */
	void (*file_cancel)(struct transport *transport, uint64_t key);
	/*
	 * Forwards, while up; all four may be NULL. Listens in the machine, and carries what connects
	 * there to sockets that `dial` gives.
	 */
	struct transport_forward *(*forward_listen)(struct transport *transport,
		const struct sockets_place *place, const struct transport_forward_events *events,
		void *data);
	/* Prepares to carry sockets to a place in the machine; copied. */
	struct transport_forward *(*forward_reach)(struct transport *transport,
		const struct sockets_place *place, const struct transport_forward_events *events,
		void *data);
	/* Carries a connected stream socket there, which becomes the transport's. What cannot be
	 * carried is reset. */
	void (*forward_carry)(struct transport_forward *forward, int fd);
	/* Stops listening and resets what is carried; the object is gone. */
	void (*forward_end)(struct transport_forward *forward);
};

extern const struct transport_ops ssh_transport;
extern const struct transport_ops agent_transport;
extern const struct transport_ops programs_transport;
extern const struct transport_ops none_transport;

#endif
