/* SPDX-License-Identifier: MIT */
/*
 * null: machines that are nothing but a timer and a console that says what is typed. They show
 * how a module of poolfs is made, see poolfs-backend(3), and what a thousand instances cost.
 *
 *	make && poolfs --module ./null.so CONFIG MOUNTPOINT
 *
 *	[pool empty]
 *	type = null
 *	count = 1000
 *
 * With the key `address`, each stands for the machine whose SSH server is there, and has commands and
 * files; without, there is nothing in it to run them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <poolfs/backend.h>

static const char *const failures[] = { "never", "start", "end", "stop", NULL };

static const struct poolfs_key keys[] = {
	{ .name = "delay",
	  .type = POOLFS_SECONDS,
	  .fallback = "0",
	  .max = 3600000,
	  .help = "How long a boot takes." },
	{ .name = "address",
	  .type = POOLFS_STRING,
	  .help = "HOST:PORT of an SSH server that takes the instances' commands and files." },
	{ .name = "fail",
	  .type = POOLFS_CHOICE,
	  .choices = failures,
	  .fallback = "never",
	  .help = "What goes wrong: the start fails, the machine ends as soon as it is up, or its stop "
		  "does not end." },
	{ 0 }
};
static const struct poolfs_key *const tables[] = { keys, poolfs_ssh_keys, NULL };

static const struct poolfs_verb verbs[] = {
	{ .name = "say", .argument = "TEXT", .help = "The console says TEXT." },
	{ .name = "each", .argument = "WORD...", .help = "The console says each WORD on a line of its own.",
	  .flags = POOLFS_VERB_OPTIONAL | POOLFS_VERB_WORDS },
	{ .name = "off", .help = "The machine ends by itself." },
	{ 0 }
};

struct null {
	struct poolfs_machine *machine;
	uv_timer_t *timer;		/* NULL: never needed */
	struct poolfs_op *start, *stop;	/* those that are not done yet */
	char host[256];
	uint16_t port;
	const char *fail;
};

/* ---- What the pool's keys say: no machine yet ------------------------------------- */

/* Reads HOST:PORT. */
static int read_address(const char *text, char *host, size_t size, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	char *end;
	long number = colon ? strtol(colon + 1, &end, 10) : 0;

	if (!colon || colon == text || *end || number < 1 || number > 65535 ||
		(size_t)(colon - text) >= size)
		return -EINVAL;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	*port = (uint16_t)number;
	return 0;
}

/* .check */
static int null_check(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *address = poolfs_string(values, "address");
	char host[256];
	uint16_t port;

	if (address && read_address(address, host, sizeof(host), &port) < 0)
		return poolfs_err_set(err, -EINVAL, "address: \"%s\": write HOST:PORT", address);
	return 0;
}

/* .transport_with */
static const char *null_transport_with(const struct poolfs_values *values)
{
	return poolfs_has(values, "address") ? "ssh" : "none";
}

/* .features_with: what is at an address goes on without us, so that commands are to end before. */
static uint32_t null_features_with(const struct poolfs_values *values)
{
	return poolfs_has(values, "address") ? POOLFS_FEATURE_OUTLIVES : 0;
}

static const struct poolfs_kind null_kind = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_kind),
	.name = "null",
	.summary = "machines that need nothing and do nothing",
	.features = POOLFS_FEATURE_CONSOLE,
	.tables = tables,
	.features_with = null_features_with,
	.check = null_check,
	.transport_with = null_transport_with,
	.verbs = verbs,
};

/* ---- One machine -------------------------------------------------------------------- */

/* .open: looks at the values and allocates; nothing is started. */
static int null_open(struct poolfs_machine *machine, void **state, struct poolfs_err *err)
{
	const char *address = poolfs_string(poolfs_machine_values(machine), "address");
	struct null *null = calloc(1, sizeof(*null));

	if (!null)
		return poolfs_err_set(err, -ENOMEM, "no memory");
	null->machine = machine;
	null->fail = poolfs_string(poolfs_machine_values(machine), "fail");
	if (address)
		read_address(address, null->host, sizeof(null->host), &null->port);
	*state = null;
	return 0;
}

/* .close: nothing of it runs any more. */
static void null_close(void *state)
{
	free(state);
}

/* Completes start, once. */
static void booted(struct null *null, int result, const char *reason)
{
	struct poolfs_op *op = null->start;

	null->start = NULL;
	if (op)
		poolfs_op_done(op, result, "%s", reason);
}

/* The boot's time is over. */
static void on_timer(uv_timer_t *timer)
{
	struct null *null = timer->data;

	if (strcmp(null->fail, "start") == 0) {
		booted(null, -EIO, "fail = start says so");
		return;
	}
	poolfs_machine_console(null->machine, "null: up\r\n", 10);
	poolfs_machine_log(null->machine, "the boot is over");
	booted(null, 0, "");
	if (strcmp(null->fail, "end") == 0)
		poolfs_machine_ended(null->machine, POOLFS_ENDED_STOPPED, "fail = end says so");
}

/* Nobody waits for the boot any more: it ends at once, stop follows. */
static void null_cancel(void *state)
{
	booted(state, -ECANCELED, "cancelled");
}

/* .start: returns at once; the timer completes it. */
static void null_start(void *state, struct poolfs_op *op)
{
	struct null *null = state;
	const struct poolfs_values *values = poolfs_machine_values(null->machine);

	null->timer = malloc(sizeof(*null->timer));
	if (!null->timer) {
		poolfs_op_done(op, -ENOMEM, "no memory");
		return;
	}
	uv_timer_init(poolfs_machine_loop(null->machine), null->timer);
	null->timer->data = null;
	null->start = op;
	poolfs_op_on_cancel(op, null_cancel, null);
	if (null->port)
		poolfs_machine_status(null->machine, "address", "%s:%u", null->host, null->port);
	uv_timer_start(null->timer, on_timer, (uint64_t)poolfs_number(values, "delay"), 0);
}

/* libuv is done with the timer: only now is the machine gone. */
static void on_closed(uv_handle_t *handle)
{
	struct null *null = handle->data;

	free(handle);
	poolfs_op_done(null->stop, 0, "%s", "");
}

/* .stop: also of a machine that never started, or whose start failed. */
static void null_stop(void *state, struct poolfs_op *op)
{
	struct null *null = state;

	null->stop = op;
	if (strcmp(null->fail, "stop") == 0)
		return; /* what nobody should do: the process is killed */
	if (null->timer)
		uv_close((uv_handle_t *)null->timer, on_closed);
	else
		poolfs_op_done(op, 0, "%s", "");
}

/* .address: for the transport "ssh" only. */
static int null_address(void *state, struct poolfs_address *address, struct poolfs_err *err)
{
	struct null *null = state;

	address->host = null->host;
	address->port = null->port;
	return 0;
}

/* .console_write: says it again. */
static int null_console_write(void *state, const void *data, size_t size)
{
	struct null *null = state;

	poolfs_machine_console(null->machine, data, size);
	return (int)size;
}

/* Says each word of a text. */
static void say_each(struct null *null, const char *text)
{
	char **words = NULL;

	if (!text || poolfs_split(text, &words, NULL) < 0)
		return;
	for (size_t i = 0; words[i]; i++) {
		poolfs_machine_console(null->machine, words[i], strlen(words[i]));
		poolfs_machine_console(null->machine, "\r\n", 2);
	}
	poolfs_split_free(words);
}

/* .verb */
static void null_verb(void *state, const char *verb, const char *argument, struct poolfs_op *op)
{
	struct null *null = state;

	if (strcmp(verb, "say") == 0) {
		poolfs_machine_console(null->machine, argument, strlen(argument));
		poolfs_machine_console(null->machine, "\r\n", 2);
	} else if (strcmp(verb, "each") == 0) {
		say_each(null, argument);
	} else {
		poolfs_machine_ended(null->machine, POOLFS_ENDED_STOPPED, "somebody turned it off");
	}
	poolfs_op_done(op, 0, "%s", "");
}

static const struct poolfs_backend null_backend = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_backend),
	.kind = &null_kind,
	.open = null_open,
	.close = null_close,
	.start = null_start,
	.stop = null_stop,
	.address = null_address,
	.console_write = null_console_write,
	.verb = null_verb,
};

const struct poolfs_module poolfs_module = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_module),
	.kind = &null_kind,
	.backend = &null_backend,
};
