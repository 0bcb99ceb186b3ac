/* SPDX-License-Identifier: MIT */
/*
 * The interface between poolfs and the kinds of machines that it can show; of the kinds that
 * come with poolfs as of modules, which poolfs-backend(3) tells how to write.
 *
 * A kind is described by a `struct poolfs_kind` (its name, the configuration keys that it takes,
 * what its machines can do) and implemented by a `struct poolfs_backend`, a table of functions
 * that runs in a poolfs-shim process of its own for every instance. A backend
 * brings the life cycle and the console. Commands and files come from the
 * transport that the kind names; for most kinds that is SSH, and the backend only says
 * at which address. Machines that are processes of this host may use poolfs' own agent.
 *
 * Life of a machine, all on the one thread of the shim's loop:
 *
 *   open -> start ...done -> [address, then the transport logs in: ready]
 *        -> (poolfs_machine_ended, when it ends by itself) -> stop ...done -> close
 *
 * No function may block. open and close only allocate, check and free; what may
 * wait takes a `struct poolfs_op` that is completed exactly once. A backend has no
 * file-scope state. Time limits and retries belong to the core.
 *
 * What grows: the structs with a `size` may get further members at their end, whose zero means
 * what was before. Those without never change while POOLFS_ABI stays what it is; what their
 * `reserved` members hold is 0.
 */
#ifndef POOLFS_BACKEND_H
#define POOLFS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Another number, another interface: neither side can use the other. */
#define POOLFS_ABI 1

/* What a module exports and what poolfs-shim offers is seen from outside, whatever -fvisibility says. */
#pragma GCC visibility push(default)

struct uv_loop_s;

/* ---- Errors ------------------------------------------------------------ */

/*
 * The reason of a failure, as text for a person: what, where, how to mend it.
 * Functions return 0 (or more) for success and a negative errno for failure; the
 * text is set on failure only.
 */
struct poolfs_err {
	char text[1024];
};

/* Sets the text and returns code, so that `return poolfs_err_set(err, -EINVAL, ...)` reads well.
 * err may be NULL. */
int poolfs_err_set(struct poolfs_err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text, as an error passes a layer on its way up. */
void poolfs_err_prefix(struct poolfs_err *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- Configuration keys ------------------------------------------------- */

enum poolfs_key_type {
	POOLFS_STRING,	/* any text */
	POOLFS_BOOL,	/* yes, no, true, false, on, off, 1, 0 */
	POOLFS_INT,	/* decimal, min..max */
	POOLFS_SIZE,	/* bytes; K, M, G, T are powers of 1024 */
	POOLFS_SECONDS,	/* a number (fractions allowed) of seconds, or with s, m, h; kept in milliseconds */
	POOLFS_CHOICE,	/* one of choices */
	POOLFS_PATH,	/* a file or directory, relative to the configuration file; ~/ is the home */
	POOLFS_PROGRAM,	/* a program: a path, or a name that is looked up in PATH */
	POOLFS_WORDS,	/* words as in a shell ('..', "..", \ quote); nothing is expanded */
	POOLFS_COMMAND,	/* POOLFS_WORDS, the first of which is a program as in POOLFS_PROGRAM */
};

#define POOLFS_KEY_REQUIRED 1u	/* no default, must be there */
#define POOLFS_KEY_EXISTS   2u	/* POOLFS_PATH: must be a readable file; POOLFS_PROGRAM and
				   POOLFS_COMMAND: must be found */
#define POOLFS_KEY_SECRET   4u	/* never shown; the configuration file must then have mode 0600 */
/* The name is "PREFIX.WORD", and stands for any number of keys of the user's: "PREFIX.anything". No
 * default, never required. poolfs_member finds those that are set. */
#define POOLFS_KEY_FAMILY   8u

/* One key. A table of keys ends with an entry without name. */
struct poolfs_key {
	const char *name;
	enum poolfs_key_type type;
	unsigned flags;			/* POOLFS_KEY_... */
	const char *fallback;		/* the default in the notation of the file, NULL: unset */
	int64_t min, max;		/* for POOLFS_INT, SIZE (bytes), SECONDS (ms); both 0: no bounds */
	const char *const *choices;	/* for POOLFS_CHOICE, ended by NULL */
	const char *help;		/* one or two sentences for --help-backend and the manual */
	uint64_t reserved[2];
};

/* The keys of the login, for kinds whose transport is or may be "ssh": to be one of their tables. */
extern const struct poolfs_key poolfs_ssh_keys[];

/*
 * The checked values of one pool's section. The getters assert that the key is in
 * one of the tables and has the fitting type.
 */
struct poolfs_values;

bool poolfs_has(const struct poolfs_values *values, const char *key);
/* STRING, CHOICE, PATH (absolute), PROGRAM (absolute): the text, NULL where unset; owned by values. */
const char *poolfs_string(const struct poolfs_values *values, const char *key);
/* BOOL (0 or 1), INT, SIZE (bytes), SECONDS (milliseconds); 0 where unset. */
int64_t poolfs_number(const struct poolfs_values *values, const char *key);
/* WORDS, COMMAND (the program absolute, if it has a slash): an array ended by NULL, owned by values;
 * empty where unset. */
const char *const *poolfs_words(const struct poolfs_values *values, const char *key);

/* The name of the index-th key that is set of a family ("PREFIX.WORD", as its table has it), in the
 * order of the file; NULL beyond the last. Owned by values. */
const char *poolfs_member(const struct poolfs_values *values, const char *family, size_t index);

/* A machine that exists already, and is lent to one instance at a time. */
struct poolfs_target {
	char name[64];		/* mkdir of this name takes it; "": it has none */
	char machine[264];	/* the same text wherever the same machine is meant: "host:port" */
	uint64_t reserved[8];
};

/* ---- A kind of machine --------------------------------------------------- */

#define POOLFS_FEATURE_CONSOLE 1u	/* `console`: poolfs_machine_console is called */
#define POOLFS_FEATURE_OUTLIVES 2u	/* the machine goes on without the instance: commands that still
					   run are killed before the instance goes */
#define POOLFS_FEATURE_FORWARD 4u	/* `forward` and `expose`: the core's, by the transport */
#define POOLFS_FEATURE_SYSRQ 8u		/* verb `sysrq` of ctl, and on_crash_sysrq: .sysrq is there */
#define POOLFS_FEATURE_NMI 16u		/* verb `nmi` of ctl: .nmi is there */
#define POOLFS_FEATURE_RESET 32u	/* on_crash = reset: .reset is there */
#define POOLFS_FEATURE_COMMANDS 64u	/* `cmd`, `runs` and what goes with them: likewise */
#define POOLFS_FEATURE_FILES 128u	/* `files`: likewise */

#define POOLFS_VERB_OPTIONAL 1u	/* the argument may be left out: .verb gets NULL then */
#define POOLFS_VERB_WORDS 2u	/* the argument is words, quoted as in a shell: poolfs_split takes it apart,
				   without failing, as this was tried before the write to `ctl` was taken */

/* A word that `ctl` takes for the backend. */
struct poolfs_verb {
	const char *name;	/* a letter, then letters, digits, "-", "_"; not stop, sysrq or nmi */
	const char *argument;	/* the name of what has to follow it, as in "sysrq KEY"; NULL: nothing may */
	const char *help;	/* one sentence */
	uint64_t flags;		/* POOLFS_VERB_... */
	uint64_t reserved[1];
};

/* Takes a text apart as a shell does ('..', "..", \ quote; nothing is expanded). *words is an array ended by
 * NULL, for poolfs_split_free. -EINVAL with err: a quote is not closed, or there is a newline outside of
 * quotes. Any thread. */
int poolfs_split(const char *text, char ***words, struct poolfs_err *err);
/* NULL is allowed. */
void poolfs_split_free(char **words);

struct poolfs_kind {
	uint32_t abi;			/* POOLFS_ABI */
	uint32_t size;			/* sizeof(struct poolfs_kind) */
	const char *name;		/* as in `type = NAME` */
	const char *summary;		/* one line for --backends */
	uint32_t features;		/* POOLFS_FEATURE_... */
	const struct poolfs_key *const *tables; /* key tables, ended by NULL */
	/* Further features, which hang on the values of a pool's keys; NULL: none. */
	uint32_t (*features_with)(const struct poolfs_values *values);
	/*
	 * What no single key can tell (two keys exclude each other, a file has the wrong
	 * format). May read files, never runs anything, never waits for a network. May
	 * be NULL. The error names the key.
	 */
	int (*check)(const struct poolfs_values *values, struct poolfs_err *err);
	/*
	 * For machines that are lent: the key (WORDS) whose words are the pool's machines, and what a
	 * word says. An instance's shim finds one word in that key, the one of its own machine. A pool
	 * that leaves the key empty lends nothing. NULL: this kind makes its machines.
	 */
	const char *targets;
	/* 0 with *target (checked before: after `check`, every word is right), or a negative errno. */
	int (*target)(const struct poolfs_values *values, const char *word,
		struct poolfs_target *target, struct poolfs_err *err);
	/* The key (SECONDS) that says how long stop may take, and a few seconds more; NULL: just these. */
	const char *stop_limit;
	/*
	 * How commands and files get to the machine: "ssh" (NULL means that too), "none", or, for kinds
	 * that come with poolfs only, "agent" or "programs". What the transport cannot do, or "none" at all, is not
	 * listed in the directory of an instance.
	 */
	const char *transport;
	/* Where that hangs on the values of a pool's keys; NULL: it is always `transport`. */
	const char *(*transport_with)(const struct poolfs_values *values);
	/* Words for `ctl`, ended by one without name, and those that hang on the values of a pool's keys:
	 * calls add(data, verb) for each, which copies it. May be NULL. With any, .verb must be there. */
	const struct poolfs_verb *verbs;
	void (*verbs_with)(const struct poolfs_values *values,
		void (*add)(void *data, const struct poolfs_verb *verb), void *data);
};

/* ---- What the shim offers to a backend ----------------------------------- */

/* One instance's machine, as the shim sees it. Lives from before open to after close. */
struct poolfs_machine;

const struct poolfs_values *poolfs_machine_values(const struct poolfs_machine *machine);
struct uv_loop_s *poolfs_machine_loop(struct poolfs_machine *machine);
/* "POOL/NAME", for messages. */
const char *poolfs_machine_name(const struct poolfs_machine *machine);
/* The instance's private directory (absolute, mode 0700), which is also the shim's current
 * directory: "name" is enough for files and sockets. Removed after close with all that is in it.
 * File names starting with "qemu", "disk" or the kind's own name are the backend's. */
const char *poolfs_machine_directory(const struct poolfs_machine *machine);

/* Bytes that the machine wrote to its console, as they come; kept and shown, never fails. */
void poolfs_machine_console(struct poolfs_machine *machine, const void *data, size_t size);
/* One message about the machine, or what a tool of the backend printed, for the `log` file. */
void poolfs_machine_log(struct poolfs_machine *machine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void poolfs_machine_log_bytes(struct poolfs_machine *machine, const void *data, size_t size);
/* One "key value" line of the instance's `status`; replaces an earlier value of key. */
void poolfs_machine_status(struct poolfs_machine *machine, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Whether something of the machine will be left when this process is killed: from the call with true to the
 * one with false, .clean is called then. 0 or a negative errno: it could not be noted. */
int poolfs_machine_owes(struct poolfs_machine *machine, bool owes);

enum poolfs_ending {
	POOLFS_ENDED_STOPPED,	/* powered off, or its emulator went away */
	POOLFS_ENDED_CRASHED,	/* its kernel panicked; .reset and .stop are still possible */
	POOLFS_ENDED_RESTARTED,	/* it began anew by itself; likewise. Only with on_crash = reset */
};

/* The machine ended without being asked to; once per machine, after start began (also before
 * start's op is done: the op is then still to be completed). */
void poolfs_machine_ended(struct poolfs_machine *machine, enum poolfs_ending how,
	const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- Operations that may wait -------------------------------------------- */

struct poolfs_op;

/* Completes op, exactly once: 0, or a negative errno with the reason. The core hears of it on the
 * loop's next turn; op must not be used afterwards. */
void poolfs_op_done(struct poolfs_op *op, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* cancel(data) is called when the core no longer wants the result (time limit, rmdir). The backend
 * then hurries; it still completes op. */
void poolfs_op_on_cancel(struct poolfs_op *op, void (*cancel)(void *data), void *data);

/* ---- The backend ----------------------------------------------------------- */

/* Where and how the transport reaches the machine. Strings and descriptors are owned by the backend
 * and live until close. */
struct poolfs_address {
	/* For "ssh": */
	const char *host;	/* a name or a numeric address */
	uint16_t port;
	/* A known_hosts file that must hold the host's key (machines that existed before). NULL for a
	 * machine that this instance made: its key is pinned at the first connection. */
	const char *known_hosts;
	const char *user;	/* the login's name; NULL: the key ssh_user */
	/* known_hosts: the key of a host that the file does not have is trusted and added to it. */
	bool accept_new;
	/* A program, with its arguments and a NULL, and more NAME=VALUE for its environment (may be
	 * NULL): its standard input and output are the connection. NULL: a TCP connection. */
	const char *const *proxy;
	const char *const *proxy_environment;
	/* The directory of files/, absolute; NULL: the key files. Set by the core. */
	const char *directory;
	/* For "agent": a connected socket to the agent in the machine (agent/talk.h). */
	int agent;
	uint64_t reserved[8];
};

struct poolfs_backend {
	uint32_t abi;		/* POOLFS_ABI */
	uint32_t size;		/* sizeof(struct poolfs_backend) */
	const struct poolfs_kind *kind;

	/* Allocates; *state is the backend's own from here to close. */
	int (*open)(struct poolfs_machine *machine, void **state, struct poolfs_err *err);
	/* Frees; also a machine that never started. Nothing of it runs any more (stop was done). */
	void (*close)(void *state);
	/* Boots. Done when the address is known and the console is being read. */
	void (*start)(void *state, struct poolfs_op *op);
	/* Ends the machine and everything that belongs to it; also half-started, also one that has
	 * ended. After it is done, no callback comes any more. */
	void (*stop)(void *state, struct poolfs_op *op);
	/* The address for the transport; after start is done. NULL: for transport "none". */
	int (*address)(void *state, struct poolfs_address *address, struct poolfs_err *err);
	/* Types into the console. Returns how many bytes were taken (fewer when it is not reading;
	 * 0 is possible), or a negative errno. NULL: `console` is read-only. */
	int (*console_write)(void *state, const void *data, size_t size);
	/* Gives the guest's kernel the magic SysRq key (Linux, admin-guide/sysrq.rst): key is a digit or
	 * a small letter. 0, or a negative errno when it cannot be given; what turns out later goes to
	 * the log. NULL: there is no way. */
	int (*sysrq)(void *state, char key);
	/* A non-maskable interrupt for the guest, likewise. */
	int (*nmi)(void *state);
	/* Begins the machine anew, as its reset button does; after start was done, and possibly after
	 * poolfs_machine_ended with CRASHED or RESTARTED, which may then be called again. Done as start
	 * is. NULL: there is no way. */
	void (*reset)(void *state, struct poolfs_op *op);
	/*
	 * Does what a verb of `ctl` says; after start was done, at most one at a time. argument is NULL
	 * where the verb has none, or it was left out. verb and argument are valid in this call only. The core cancels it
	 * when it takes too long, and before stop, which may be called while it is not done yet: it is
	 * done before stop is. The reason of a failure goes to `log`.
	 */
	void (*verb)(void *state, const char *verb, const char *argument, struct poolfs_op *op);
	/*
	 * Ends what is left of a machine that owed something (poolfs_machine_owes) when its process was
	 * killed. Called in another process, after open and instead of all else but close; files that the
	 * first process had in the instance's directory are there, and its children may just be ending.
	 * The reason of a failure goes to `events`. NULL: nothing is done.
	 */
	void (*clean)(void *state, struct poolfs_op *op);
};

/* ---- A module ---------------------------------------------------------------- */

/* What `poolfs --module FILE` looks for in FILE. */
struct poolfs_module {
	uint32_t abi;		/* POOLFS_ABI */
	uint32_t size;		/* sizeof(struct poolfs_module) */
	const struct poolfs_kind *kind;
	const struct poolfs_backend *backend;	/* whose kind is the same */
};

/* Every module defines this. */
extern const struct poolfs_module poolfs_module;

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
