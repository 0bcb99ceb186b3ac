/* SPDX-License-Identifier: MIT */
/*
 * The backend of containers: starts poolfs-container (main.c) and talks to it by the socket that is
 * its standard input (boot.h). What it and the container say is checked like any guest's words: the
 * container's first process can send there until it has given up its rights.
 */
#include "backends/container/container.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "backends/agent/keys.h"
#include "backends/agent/watch.h"
#include "backends/agent/talk.h"
#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/container/boot.h"
#include "backends/container/groups.h"
#include "backends/process/child.h"

/* The program ends by itself when its socket is closed; if not, it is killed after so long. */
#define STOP_MS 2500
/* The console's terminal is read again after nothing had it open, in milliseconds. */
#define CONSOLE_MS 100
/* What poolfs-container, when it was killed, left behind goes with the container's last process,
 * which the kernel kills: looked for so often, in milliseconds, and so many times. With
 * STOP_MS this stays below LIFE_STOP_MS (shim/life.h): else the shim would leave before it says what remains. */
#define SWEEP_MS 10
#define SWEEPS 150
/* As root: where the ids of containers begin, and how many ranges of 65536 there are. All below what
 * systemd gives to containers too (its UIDS-GIDS.md), above those of people. */
#define FIRST_ID 0x20000000u
#define RANGES 8192u

enum stage { IDLE, STARTING, RUNNING, GONE };

struct container {
	struct poolfs_machine *machine;
	const struct poolfs_values *values;
	struct uv_loop_s *loop;
	enum stage stage;
	struct poolfs_op *start, *stop;	/* while they are not done */
	struct child *child;		/* poolfs-container */
	struct watch *boot;		/* our end of its standard input */
	struct watch *console;
	uv_timer_t *again;		/* reads the console again; NULL: never needed */
	struct groups groups;
	uv_timer_t *sweep;		/* removes the groups; NULL: nothing to remove */
	unsigned sweeps;		/* how often it has tried */
	int control;			/* our end of the control socket; -1: none */
	char last[512];			/* why it ended or failed, as it told; "" */
};

/* ---- The end -------------------------------------------------------------- */

/* libuv is done with the timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Closes what leads to the container; it ends of that. */
static void close_all(struct container *container)
{
	watch_free(container->boot);
	watch_free(container->console);
	container->boot = container->console = NULL;
	if (container->again)
		uv_close((uv_handle_t *)container->again, timer_closed);
	container->again = NULL;
	if (container->control >= 0)
		close(container->control);
	container->control = -1;
}

/* The start is over without success; the program is to end. */
static void fail(struct container *container, int code, const char *reason)
{
	struct poolfs_op *op = container->start;

	container->start = NULL;
	container->stage = GONE;
	close_all(container);
	if (container->child)
		child_stop(container->child, 0, STOP_MS);
	if (op)
		poolfs_op_done(op, code, "%s", reason);
}

/* Completes stop when nothing runs any more. */
static void finish_stop(struct container *container)
{
	struct poolfs_op *op = container->stop;

	if (!op || container->child || container->sweep)
		return;
	container->stop = NULL;
	close_all(container);
	poolfs_op_done(op, 0, "%s", "");
}

/* Tries again. */
static void on_sweep(uv_timer_t *timer)
{
	struct container *container = timer->data;

	if (!groups_remove(&container->groups) && ++container->sweeps < SWEEPS)
		return;
	if (container->groups.count > 0)
		poolfs_machine_log(container->machine, "the control group %s cannot be removed",
			container->groups.paths[0]);
	container->sweep = NULL;
	uv_close((uv_handle_t *)timer, timer_closed);
	finish_stop(container);
}

/* Removes the groups, after the program's end. */
static void begin_sweep(struct container *container)
{
	if (groups_remove(&container->groups))
		return;
	container->sweep = memory_new(sizeof(*container->sweep));
	uv_timer_init(container->loop, container->sweep);
	container->sweep->data = container;
	uv_timer_start(container->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

/* ---- The console ------------------------------------------------------------ */

static void on_console(void *data);

/* Time to look again. */
static void on_again(uv_timer_t *timer)
{
	struct container *container = timer->data;

	if (container->console)
		watch_for(container->console, UV_READABLE);
}

/* Nothing has the terminal open, for a moment: its program is started again soon. */
static void look_again(struct container *container)
{
	watch_for(container->console, 0);
	if (!container->again) {
		container->again = memory_new(sizeof(*container->again));
		uv_timer_init(container->loop, container->again);
		container->again->data = container;
	}
	uv_timer_start(container->again, on_again, CONSOLE_MS, 0);
}

/* The console has something. */
static void on_console(void *data)
{
	struct container *container = data;
	char bytes[16384];
	ssize_t size = read(watch_fd(container->console), bytes, sizeof(bytes));

	if (size > 0)
		poolfs_machine_console(container->machine, bytes, (size_t)size);
	else if (size == 0 || (errno != EAGAIN && errno != EINTR))
		look_again(container);
	if (size > 0)
		watch_for(container->console, UV_READABLE);
}

/* The console's terminal came. */
static void take_console(struct container *container, int fd)
{
	if (container->console || !talk_terminal(fd))
		return;
	container->console = watch_new(container->loop, fd, on_console, container);
	if (container->console)
		watch_for(container->console, UV_READABLE);
}

/* ---- What the program says --------------------------------------------------- */

/* A "key value" line. */
static void take_status(struct container *container, char *text)
{
	char *space = strchr(text, ' ');

	if (!space)
		return;
	*space = '\0';
	poolfs_machine_status(container->machine, text, "%s", space + 1);
}

/* The agent listens. */
static void started(struct container *container)
{
	struct poolfs_op *op = container->start;

	if (!op)
		return;
	container->start = NULL;
	container->stage = RUNNING;
	poolfs_op_done(op, 0, "%s", "");
}

/* One message. fd is to be used or closed, -1: none. */
static void take(struct container *container, struct boot_message *message, int fd)
{
	message->text[sizeof(message->text) - 1] = '\0';
	switch (message->type) {
	case BOOT_LOG:
		poolfs_machine_log(container->machine, "%s", message->text);
		break;
	case BOOT_STATUS:
		take_status(container, message->text);
		break;
	case BOOT_CONSOLE:
		if (fd >= 0)
			take_console(container, fd);
		fd = -1;
		break;
	case BOOT_GROUP:
		if (container->child)
			groups_add(&container->groups, message->text, child_pid(container->child));
		break;
	case BOOT_READY:
		started(container);
		break;
	case BOOT_FAILED:
	case BOOT_ENDED:
		if (!*container->last)
			memcpy(container->last, message->text, sizeof(message->text));
		break;
	}
	if (fd >= 0)
		close(fd);
}

/* Takes what the program has sent. */
static void on_boot(void *data)
{
	struct container *container = data;
	struct boot_message message;
	int fds[TALK_FDS_MAX];
	unsigned count = 0;

	while (container->boot && talk_receive_packet(watch_fd(container->boot), &message,
					  sizeof(message), fds, &count) > 0) {
		while (count > 1)
			close(fds[--count]);
		take(container, &message, count ? fds[0] : -1);
		count = 0;
	}
}

/* What it printed: complaints of tar, or of the C library. */
static void on_output(void *data, const void *bytes, size_t size)
{
	struct container *container = data;

	poolfs_machine_log_bytes(container->machine, bytes, size);
}

/* The program has ended. What its socket and the console still hold comes first. */
static void on_exited(void *data, int status, int signal)
{
	struct container *container = data;
	bool running = container->stage == RUNNING && !container->stop;
	char how[128], text[512];

	if (container->boot)
		on_boot(container);
	if (container->console)
		on_console(container);
	child_free(container->child);
	container->child = NULL;
	begin_sweep(container);
	child_describe(how, sizeof(how), status, signal);
	if (*container->last)
		text_escape(text, sizeof(text), container->last);
	else
		snprintf(text, sizeof(text), "poolfs-container %s", how);
	if (running)
		poolfs_machine_ended(container->machine, POOLFS_ENDED_STOPPED, "%s", text);
	fail(container, -EIO, text);
	finish_stop(container);
}

/* ---- The start ---------------------------------------------------------------- */

/* The words of a command line. */
struct words {
	char **list;
	size_t count;
};

/* Appends one word, which becomes the list's. */
static void add(struct words *words, char *word)
{
	words->list = memory_grow(words->list, (words->count + 2) * sizeof(*words->list));
	words->list[words->count++] = word;
	words->list[words->count] = NULL;
}

/* Appends an option, if the key is set. */
static void add_number(struct words *words, const struct poolfs_values *values, const char *option,
	const char *key)
{
	if (poolfs_has(values, key))
		add(words, memory_format("--%s=%lld", option, (long long)poolfs_number(values, key)));
}

/* As root: the first of the ids of this instance alone. Its directory is a number that no other
 * instance of this mount has. */
static unsigned first_id(const struct container *container)
{
	const char *directory = poolfs_machine_directory(container->machine);
	const char *name = strrchr(directory, '/');

	return FIRST_ID + (unsigned)(strtoul(name ? name + 1 : "0", NULL, 10) % RANGES) * 65536u;
}

/* Makes the command line. */
static struct words make_words(struct container *container)
{
	const struct poolfs_values *values = container->values;
	const char *name = strrchr(poolfs_machine_name(container->machine), '/');
	const char *const *more;
	char *files = agent_keys_directory(values), *home = agent_keys_home(values);
	struct words words = { 0 };

	add(&words, child_beside("poolfs-container"));
	add(&words, memory_format("--hostname=%s", name ? name + 1 : "container"));
	add(&words, memory_format("--files=%s", files));
	add(&words, memory_format("--shell=%s", poolfs_string(values, "shell")));
	add(&words, memory_format("--user=%s", poolfs_string(values, "user")));
	add(&words, memory_format("--home=%s", home));
	if (poolfs_string(values, "root"))
		add(&words, memory_format("--root=%s", poolfs_string(values, "root")));
	for (more = poolfs_words(values, "bind"); *more; more++)
		add(&words, memory_format("--bind=%s", *more));
	if (strcmp(poolfs_string(values, "network"), "host") == 0)
		add(&words, memory_string("--network"));
	add_number(&words, values, "disk", "space");
	add_number(&words, values, "memory", "memory_limit");
	add_number(&words, values, "pids", "pids_limit");
	add_number(&words, values, "cpus", "cpus_limit");
	if (geteuid() == 0)
		add(&words, memory_format("--first-id=%u", first_id(container)));
	add(&words, memory_string("--"));
	for (more = poolfs_words(values, "init"); *more; more++)
		add(&words, memory_string(*more));
	free(files);
	free(home);
	return words;
}

/* Starts the program, with its end of the socket. */
static int start_program(struct container *container, int input, struct poolfs_err *err)
{
	struct words words = make_words(container);
	struct child_options options = {
		.argv = (const char *const *)words.list,
		.input = input,
		.output = on_output,
		.exited = on_exited,
		.data = container,
	};
	int result = child_start(container->loop, &options, &container->child, err);

	for (size_t i = 0; i < words.count; i++)
		free(words.list[i]);
	free(words.list);
	return result;
}

/* Makes the sockets and starts. */
static int launch(struct container *container, struct poolfs_err *err)
{
	struct boot_message begin = { .type = BOOT_BEGIN };
	int boot[2], control[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, boot) < 0)
		return poolfs_err_set(err, -errno, "socketpair: %s", strerror(errno));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0) {
		int error = -errno;
		close(boot[0]);
		close(boot[1]);
		return poolfs_err_set(err, error, "socketpair: %s", strerror(-error));
	}
	container->boot = watch_new(container->loop, boot[0], on_boot, container);
	container->control = control[0];
	int result = container->boot ? talk_send_packet(boot[0], &begin, sizeof(begin),
					       &control[1], 1)
				     : -EIO;
	if (result == 0)
		result = start_program(container, boot[1], err);
	if (result == 0)
		watch_for(container->boot, UV_READABLE);
	close(boot[1]);
	close(control[1]);
	return result;
}

/* ---- The table ------------------------------------------------------------------ */

static int container_open(struct poolfs_machine *machine, void **state, struct poolfs_err *err)
{
	struct container *container = memory_new(sizeof(*container));

	container->machine = machine;
	container->values = poolfs_machine_values(machine);
	container->loop = poolfs_machine_loop(machine);
	container->control = -1;
	*state = container;
	return 0;
}

/* Frees; stop has ended all else. */
static void container_close(void *state)
{
	struct container *container = state;

	groups_done(&container->groups);
	free(container);
}

/* The core no longer waits for the start. */
static void on_cancel(void *data)
{
	fail(data, -ECANCELED, "cancelled");
}

/* Starts the program. */
static void container_start(void *state, struct poolfs_op *op)
{
	struct container *container = state;
	struct poolfs_err err = { "" };

	container->start = op;
	container->stage = STARTING;
	poolfs_op_on_cancel(op, on_cancel, container);
	if (!container->start)
		return;
	int result = launch(container, &err);
	if (result < 0)
		fail(container, result, err.text);
}

/* Closing the socket is what ends the program. */
static void container_stop(void *state, struct poolfs_op *op)
{
	struct container *container = state;
	struct poolfs_op *start = container->start;

	container->stop = op;
	container->start = NULL;
	if (start)
		poolfs_op_done(start, -ECANCELED, "stopped during the start");
	close_all(container);
	if (container->child)
		child_stop(container->child, 0, STOP_MS);
	finish_stop(container);
}

/* The agent's socket. */
static int container_address(void *state, struct poolfs_address *address, struct poolfs_err *err)
{
	struct container *container = state;

	if (container->control < 0)
		return poolfs_err_set(err, -EHOSTDOWN, "the container is not up");
	*address = (struct poolfs_address){ .agent = container->control };
	return 0;
}

/* Types into the terminal. */
static int container_console_write(void *state, const void *data, size_t size)
{
	struct container *container = state;

	if (!container->console)
		return container->stage == GONE ? -EHOSTDOWN : 0;
	ssize_t count = write(watch_fd(container->console), data, size);
	return count < 0 ? -errno : (int)count;
}

const struct poolfs_backend container_backend = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_backend),
	.kind = &container_kind,
	.open = container_open,
	.close = container_close,
	.start = container_start,
	.stop = container_stop,
	.address = container_address,
	.console_write = container_console_write,
};
