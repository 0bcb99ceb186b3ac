/* SPDX-License-Identifier: MIT */
/*
 * The protocol between the daemon (poolfs) and the process of one instance
 * (poolfs-shim), over a unix stream socket. Native byte order and alignment: both
 * ends run on one host and are of one build (HELLO checks the version).
 *
 * The instance's directory, WORKDIR/ID/ (mode 0700), holds:
 *
 *   instance.json   what the shim is to run (written by the daemon before it starts the shim):
 *                   {"version":1, "pool":"web", "name":"a", "type":"qemu", "values":{...}},
 *                   and "module", a path, where the kind is of one
 *   shim.sock       the shim's listening socket, bound by the daemon, for a later daemon to connect to
 *   shim.pid        "PID STARTTIME\n" of the shim (start time: field 22 of /proc/PID/stat)
 *   console, log    spools (spool.h) that the shim writes and the daemon reads
 *   run.N.output, run.N.stdout, run.N.stderr, run.N.transcript
 *                   spools of run N; made at the first byte, the transcript when it is needed
 *   crash.N         the N-th report of a crash, a spool that does not grow any more
 *   anything else   belongs to the backend
 *
 * Command line of the shim: poolfs-shim DIRECTORY, with the listening socket as
 * descriptor 3, as descriptor 4 the connection of the daemon that starts it, and as descriptor 5 the
 * memory that it shares with this daemon (slots.h), or /dev/null. It begins to boot at once, serves one
 * connection at a time (a new one replaces the old), and goes on when the daemon goes away. It ends after
 * FRAME_STOP, when the machine is gone; the daemon then removes the directory.
 *
 * Each frame is a header and `size` bytes. Both ends first send FRAME_HELLO; after
 * it the shim tells all it knows: STATE, STATUS, SPOOL of console and log, CRASH, RUN_STATE
 * and SPOOL of each run that was not forgotten, and FORWARD_STATE of each forward; then
 * the changes as they come. Notices of one stream are joined: the newest tells all. The daemon ends a
 * connection, and the shim with it, that breaks a rule of this page; a shim ends the
 * connection of a daemon that does.
 */
#ifndef PROTOCOL_PROTOCOL_H
#define PROTOCOL_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION	1
#define PROTOCOL_LISTENER_FD	3
#define PROTOCOL_DAEMON_FD	4
#define PROTOCOL_SLOTS_FD	5
/* No payload is longer: one megabyte of file data, and what describes it. */
#define PROTOCOL_PAYLOAD_MAX	(1048576u + 65536u)
/* Longest text of a command, as what Linux lets one argument have (MAX_ARG_STRLEN, with its NUL). */
#define PROTOCOL_COMMAND_MAX	131071u
/* Standard input of a run that is sent and not yet told by FRAME_RUN_INPUT_TAKEN. */
#define PROTOCOL_INPUT_WINDOW	262144u
/* Longest environment, and longest directory, of FRAME_RUN_SETUP. */
#define PROTOCOL_ENVIRONMENT_MAX 65536u
#define PROTOCOL_CWD_MAX	4096u
/* The longest line of a transcript is cut into pieces of so many bytes. */
#define PROTOCOL_TRANSCRIPT_LINE 65536u
/* Forwards of an instance; longest name of one, longest path of a unix socket (sun_path, with its
 * NUL, is 108 bytes in Linux), and longest text of FRAME_FORWARD_STATE. */
#define PROTOCOL_FORWARDS_MAX	256u
#define PROTOCOL_FORWARD_NAME_MAX 255u
#define PROTOCOL_FORWARD_PATH_MAX 107u
#define PROTOCOL_FORWARD_TEXT_MAX 1024u

struct frame_header {
	uint32_t size;		/* of the payload that follows, in bytes */
	uint16_t type;		/* enum frame_type */
	uint16_t flags;		/* 0 */
	uint64_t id;		/* the run's number, or the request's; 0 where neither is meant */
};

enum frame_type {
	/* both ways */
	FRAME_HELLO = 1,	/* struct frame_hello */

	/* daemon to shim */
	FRAME_STOP = 16,	/* end the machine and yourself. No payload. */
	FRAME_RUN,		/* id: the run. Payload: the command's text, as it is */
	FRAME_RUN_STOP,		/* id: the run. Stop it; its end comes as RUN_STATE. Harmless when it ended */
	FRAME_RUN_FORGET,	/* id: the run. Stop it if need be, unlink its spools; no more about it */
	FRAME_CONSOLE_INPUT,	/* bytes to type; at most PROTOCOL_CONSOLE_INPUT_MAX are kept waiting */
	FRAME_FILE,		/* id: the request, not 0. struct file_request (files.h), paths, data */
	FRAME_CANCEL,		/* id: of a FRAME_FILE. Its reply may be left out or still come */
	FRAME_RUN_SETUP,	/* id: a run, before its FRAME_RUN. struct frame_run_setup, environment,
				   cwd. Dropped by FRAME_RUN_FORGET when no FRAME_RUN comes */
	FRAME_RUN_INPUT,	/* id: the run. Bytes for its standard input, at most
				   PROTOCOL_INPUT_WINDOW outstanding; more breaks the protocol. They are
				   kept until the run starts, and dropped after its end */
	FRAME_RUN_EOF,		/* id: the run. The end of its standard input. No payload */
	FRAME_RUN_SIGNAL,	/* id: the run. struct frame_run_signal: to all of its processes. Before
				   the start, TERM, KILL and INT end it as RUN_STOPPED, others do nothing */
	FRAME_MACHINE,		/* struct frame_machine: do this to the machine. Harmless when it is gone */
	FRAME_RUN_RESIZE,	/* id: the run. struct frame_run_resize: its terminal's new size */
	FRAME_RUN_KEEP,		/* id: the run. struct frame_run_keep: what its readers did not read yet */
	FRAME_RUN_TRANSCRIPT,	/* id: the run. Somebody reads its transcript: write what is missing
				   (`base` of struct frame_spool). No payload */
	FRAME_FORWARD,		/* id: a new forward, not 0. struct frame_forward, name, paths. At most
				   PROTOCOL_FORWARDS_MAX are there at a time */
	FRAME_FORWARD_END,	/* id: the forward. Ends it and its connections; no more about it. No
				   payload */
	FRAME_VERB,		/* struct frame_verb, the verb, its argument: the backend is to do it. What
				   comes of it is told by VERB_DONE, and stands in the log and, with the key
				   "verb", in STATUS */
	FRAME_FILE_SLOT,	/* as FRAME_FILE, behind a struct frame_slot; READ and WRITE only. The data of
				   the request or of its reply are in the slot, not in the frame; the reply's
				   `count` is how many were read. The shim lets go of the slot with the reply, or
				   when it takes FRAME_CANCEL */

	/* shim to daemon */
	FRAME_STATE = 64,	/* struct frame_state, then the reason as text (may be empty) */
	FRAME_STATUS,		/* "key value\n" lines that replace the earlier ones */
	FRAME_SPOOL,		/* id: the run, or 0. struct frame_spool */
	FRAME_RUN_STATE,	/* id: the run. struct frame_run_state */
	FRAME_FILE_REPLY,	/* id: the request. struct file_reply (files.h), data */
	FRAME_RUN_INPUT_TAKEN,	/* id: the run. struct frame_run_taken */
	FRAME_FORWARD_STATE,	/* id: the forward. struct frame_forward_state, name, text */
	FRAME_QUIET,		/* struct frame_quiet */
	FRAME_CRASH,		/* id: the report's number, from 1 on without a gap. struct
				   frame_crash, then its title: one line, escaped. Sent when the
				   report is complete, and before a state that follows from it */
	FRAME_RETURNED,		/* struct frame_returned, then why not: what was to be done in the machine
				   after FRAME_STOP is done. Before the shim ends */
	FRAME_REMAINS,		/* the reason as text, at most PROTOCOL_REASON_MAX bytes: something of the
				   machine may be left, for it did not end as it should */
	FRAME_VERB_DONE,	/* what came of a FRAME_VERB: one line, "VERB done" or "VERB failed: REASON", at
				   most PROTOCOL_REASON_MAX bytes */
};

#define PROTOCOL_CONSOLE_INPUT_MAX 65536u
/* Longest payload of FRAME_STATUS, and longest reason in FRAME_STATE. */
#define PROTOCOL_STATUS_MAX 4096u
#define PROTOCOL_REASON_MAX 8192u

/* Reports that are kept of one instance; later ones are not looked for. */
#define PROTOCOL_CRASHES_MAX 64u
/* Longest report, with its title, and longest title, in bytes. */
#define PROTOCOL_CRASH_MAX 2097152u
#define PROTOCOL_TITLE_MAX 240u

/* It is in the instance's directory as long as something of the machine is to be ended when the shim is
 * killed; what for is poolfs-shim --clean. */
#define PROTOCOL_OWES_FILE "shim.owes"

struct frame_hello {
	uint32_t version;	/* PROTOCOL_VERSION */
	int32_t pid;		/* of the sender */
};

/* Stands before a request of FRAME_FILE_SLOT. */
struct frame_slot {
	uint32_t number;	/* 1 to SLOTS_COUNT (slots.h) */
	uint32_t reserved;	/* 0 */
};

/* What FRAME_MACHINE asks for; a kind of machine that cannot do it says so in the log. */
enum machine_verb {
	MACHINE_SYSRQ,		/* key: a digit or a small letter */
	MACHINE_NMI,
	MACHINE_VERBS
};

struct frame_machine {
	uint32_t verb;		/* enum machine_verb */
	uint32_t key;		/* of MACHINE_SYSRQ, else 0 */
};

/* Verbs that wait for the one that is under way; one more is refused. Longest verb and argument. */
#define PROTOCOL_VERBS_MAX 16u
#define PROTOCOL_VERB_MAX 63u
#define PROTOCOL_ARGUMENT_MAX 4096u

/* A verb that the backend has beside those of FRAME_MACHINE. Neither text has a NUL. */
struct frame_verb {
	uint32_t verb_size;
	uint32_t argument_size;
	uint32_t has_argument;	/* 1: there is one, which may be empty */
};

/* How a run is to be made. environment: lines KEY=VALUE, each ended by "\n"; a KEY is
 * [A-Za-z_][A-Za-z0-9_]*; no NUL. cwd: a directory of the guest, absolute or relative to that of
 * files/; no NUL; "" is that directory. */
struct frame_run_setup {
	uint32_t timeout_ms;		/* from the start; 0: none */
	uint16_t columns, rows;		/* of its terminal; both 0: it gets none */
	uint32_t flags;			/* RUN_INPUT or 0 */
	uint32_t environment_size;
	uint32_t cwd_size;
};

/* Standard input stays open until FRAME_RUN_EOF. Without it the command finds it at the end. */
#define RUN_INPUT 1u

struct frame_run_signal {
	int32_t signal;			/* 1 to 31, Linux's numbers */
};

struct frame_run_resize {
	uint16_t columns, rows;		/* not 0 */
};

/*
 * Readers keep up with a spool of the run and still need its bytes from `offset` on. As long as that
 * stands, the shim drops none of them for the command's output: where there is no room for more, it
 * takes no more from the command. (What the console prints cannot wait, in SPOOL_TRANSCRIPT.) The
 * daemon moves the offset as they read, and takes it back when they stop reading; its end of the
 * connection takes back all of them. When stdout gets a spool of its own, the shim keeps that from
 * its base on if it keeps anything of SPOOL_OUTPUT, and the daemon, told of the base, says what is
 * needed.
 */
struct frame_run_keep {
	uint32_t kind;			/* enum spool_kind: OUTPUT, STDOUT, STDERR or TRANSCRIPT */
	uint32_t reserved;		/* 0 */
	uint64_t offset;		/* PROTOCOL_KEEP_NONE: nobody needs any */
};

#define PROTOCOL_KEEP_NONE UINT64_MAX

/* The window of a run's standard input moves. */
struct frame_run_taken {
	uint32_t bytes;			/* so many more were passed on, and may be sent again */
	uint32_t closed;		/* 1: the command ended, or wants no more; further input is dropped */
};

enum forward_direction {
	FORWARD_TO_HOST,	/* `forward`: the guest listens, the target is on the host */
	FORWARD_TO_GUEST,	/* `expose`: the host listens, the target is in the guest */
	FORWARD_DIRECTIONS
};

enum forward_family {
	FORWARD_IPV4,		/* TCP at 127.0.0.1 */
	FORWARD_IPV6,		/* TCP at ::1 */
	FORWARD_UNIX,		/* a unix stream socket */
	FORWARD_FAMILIES
};

/* One end of a forward. */
struct forward_end {
	uint16_t family;		/* enum forward_family */
	uint16_t port;			/* of TCP; 0 where a listener may have any; 0 for FORWARD_UNIX */
	uint32_t path_size;		/* of FORWARD_UNIX, an absolute path; else 0 */
};

/* A forward that is to be kept up until FRAME_FORWARD_END, whenever the machine is connected. The
 * payload goes on with the name, for people (1 to PROTOCOL_FORWARD_NAME_MAX bytes), the target's
 * path and the listener's path, all without NUL. */
struct frame_forward {
	uint32_t direction;		/* enum forward_direction */
	uint32_t name_size;
	struct forward_end target, listen;
};

enum forward_state {
	FORWARD_PENDING,	/* it waits for the machine; text may say why */
	FORWARD_ACTIVE,		/* it works; text is the address: "127.0.0.1:39211", "[::1]:80", a path */
	FORWARD_FAILED,		/* it does not; text says why. The machine's return may change that */
	FORWARD_STATES
};

struct frame_forward_state {
	uint32_t direction;		/* enum forward_direction */
	uint32_t state;			/* enum forward_state */
	int32_t error;			/* of FORWARD_FAILED: a negative errno; else 0 */
	uint32_t name_size;		/* then the text, at most PROTOCOL_FORWARD_TEXT_MAX bytes */
};

/* What is the matter with an instance; the words that `state` shows. */
enum instance_state {
	INSTANCE_BOOTING,
	INSTANCE_READY,
	INSTANCE_PAUSED,
	INSTANCE_CRASHED,	/* the guest's kernel reported a crash */
	INSTANCE_STOPPED,	/* the machine ended: powered off, emulator gone */
	INSTANCE_LOST,		/* it runs, but the connection is gone; it is being rebuilt */
	INSTANCE_FAILED,	/* the boot failed */
	INSTANCE_CLOSING,	/* being destroyed */
	INSTANCE_STATES
};

/* Whether neither console nor runs have printed anything for the pool's quiet_timeout. */
struct frame_quiet {
	uint64_t limit_ms;	/* that time */
	uint32_t quiet;		/* 1: so it is; 0: no more */
	uint32_t reserved;	/* 0 */
};

/* A report of a crash, in the spool crash.N: its title, an empty line, and lines of the console, all
 * escaped. */
struct frame_crash {
	uint64_t size;		/* bytes of the spool, from 0 on; 0: it could not be written */
	uint32_t fatal;		/* 1: the kernel does not go on; 0: it found something wrong */
	uint32_t reserved;	/* 0 */
};

struct frame_returned {
	int32_t result;		/* 0, or a negative errno */
	uint32_t reserved;	/* 0 */
};

struct frame_state {
	uint32_t state;		/* enum instance_state; never CLOSING */
	uint32_t boot_ms;	/* how long the boot took; 0 until it is known */
};

enum run_state {
	RUN_QUEUED,
	RUN_RUNNING,
	RUN_EXITED,		/* status is the exit status, 0 to 255 */
	RUN_SIGNALED,		/* status is 128 + the signal */
	RUN_TIMEOUT,		/* status is 124 */
	RUN_STOPPED,		/* by ctl or rmdir; status is 128 + the signal that ended it, or 255 */
	RUN_LOST,		/* connection or machine gone; status is 255 */
	RUN_STATES
};

struct frame_run_state {
	uint32_t state;		/* enum run_state. After an end nothing changes any more, and every
				   SPOOL notice of the run has been sent before. */
	int32_t status;		/* what `exit` shows; 0 before the end */
	uint64_t bytes_dropped;	/* of output, beyond the limit */
};

enum spool_kind {
	SPOOL_CONSOLE,
	SPOOL_LOG,
	SPOOL_OUTPUT,		/* stdout and stderr as they came */
	SPOOL_STDOUT,
	SPOOL_STDERR,
	SPOOL_TRANSCRIPT,	/* whole lines of output and console, each after "[stdout] ", "[stderr] "
				   or "[console] "; see shim/transcript.h */
	SPOOL_KINDS
};

/*
 * A spool now holds the bytes start..end of its stream. For SPOOL_STDOUT: a run's standard output
 * is the same as SPOOL_OUTPUT, byte for byte at the same offsets, below `base`; it is its own
 * spool from `base` on. As long as no notice for SPOOL_STDOUT came, all of SPOOL_OUTPUT is
 * standard output. For SPOOL_TRANSCRIPT: the bytes below `base` are part of the stream, but not in the
 * file, which may not be there at all, until a notice says 0: that comes after
 * FRAME_RUN_TRANSCRIPT. 0 elsewhere.
 */
struct frame_spool {
	uint32_t kind;		/* enum spool_kind */
	uint32_t reserved;	/* 0 */
	uint64_t start;
	uint64_t end;
	uint64_t base;
};

#endif
