/* SPDX-License-Identifier: MIT */
/*
 * For the tests of the shim's core: a backend and a transport that do what the test
 * says, and the daemon's end of the connection, which keeps all frames that came.
 * Everything runs on one loop in one thread.
 */
#ifndef TESTS_SHIM_FAKE_H
#define TESTS_SHIM_FAKE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/base/values.h"
#include "backends/crash/patterns.h"
#include "backends/protocol/frame.h"
#include "backends/protocol/spool.h"
#include "backends/shim/shim.h"

#define RUNS 16
#define FILES 8192
#define DEADLINE_MS 10000

/* What the next connect of the transport comes to. */
enum plan { PLAN_UP, PLAN_DOWN, PLAN_FATAL, PLAN_HANG };

struct transport_run {
	const struct transport_run_events *events;
	void *data;
	char *text, *environment, *cwd;
	unsigned columns, rows;
	bool input, eof, all, abandoned, over;
	int signals[32];		/* how often each was sent */
	int last_signal;
	int more;			/* how often it was told of room for output */
	struct text in;
	size_t room;			/* what run_input takes */
};

struct fake_file {
	uint64_t key, handle;
	uint32_t op;
	const void *bytes;		/* that it carries, which only counts where they are in a slot */
	transport_file_done *done;
	void *data;
	bool cancelled;
};

/* The backend, the transport, and what the test wants of them. */
struct fake {
	struct poolfs_machine *machine;
	struct poolfs_op *start, *stop;	/* not completed yet */
	bool open_fails, start_hangs, ignores_cancel, stop_hangs;
	int opens, closes, starts, stops, cancels;
	const char *quiet;		/* the key quiet_timeout; NULL: unset */
	const char *sysrq;		/* the key on_crash_sysrq; NULL: unset */
	char keys[64];			/* of SysRq that came */
	int nmis, reset_count;
	bool resets;			/* on_crash = reset */
	struct poolfs_op *verb;		/* not completed yet */
	char verbs[512];		/* "NAME(ARGUMENT)" of those that came */
	int verb_cancels;
	const char *limit;		/* the key output_limit; NULL: 64K */
	const char *crash_on;		/* the key; NULL: any */
	char typed[100000];
	int typed_size, room;		/* room: what the console still takes */

	uv_timer_t turn;
	const struct transport_events *events;
	void *data;
	enum plan plans[8];
	int connects, frees;
	struct transport_run runs[RUNS];
	int run_count;
	char *slots;			/* as of struct shim_setup */
	struct fake_file files[FILES];
	int file_count;
};

/* The daemon's end. */
struct peer {
	struct frame_link *link;
	uint32_t count;			/* of the last reply */
	bool closed;
	int reason;
	struct text log;		/* one line for each frame */
	enum instance_state state;
	unsigned boot_ms;
	char text[65536];		/* of the state */
	struct frame_spool spools[RUNS][SPOOL_KINDS];	/* of run N, or 0 */
	struct frame_run_state runs[RUNS];
	int notices;
	unsigned crashes;		/* the last one's number */
};

static uv_loop_t loop;
static struct fake fake;
static struct peer peer;
static struct shim *shim;
static struct poolfs_values *values;
static struct patterns *patterns;
static char directory[64];
static int dir;
static bool done, done_clean;

/* Turns the loop until the condition holds. */
#define AWAIT(condition) do { \
	uint64_t deadline_ = uv_hrtime() + DEADLINE_MS * 1000000ull; \
	uv_timer_t tick_; \
	uv_timer_init(&loop, &tick_); \
	uv_timer_start(&tick_, fake_tick, 50, 50); \
	while (!(condition) && uv_hrtime() < deadline_) \
		uv_run(&loop, UV_RUN_ONCE); \
	bool held_ = (condition); \
	uv_close((uv_handle_t *)&tick_, NULL); \
	uv_run(&loop, UV_RUN_NOWAIT); \
	if (!held_) \
		fail_msg("in vain: %s; the frames were:\n%s", #condition, \
			peer.log.data ? peer.log.data : ""); \
} while (0)

static inline void fake_tick(uv_timer_t *timer)
{
}

/* ---- The backend ---- */

static int fake_open(struct poolfs_machine *machine, void **state, struct poolfs_err *err)
{
	fake.opens++;
	fake.machine = machine;
	*state = &fake;
	return fake.open_fails ? poolfs_err_set(err, -EINVAL, "no such disk") : 0;
}

static void fake_close(void *state)
{
	fake.closes++;
}

static void fake_cancel(void *data)
{
	fake.cancels++;
	if (fake.ignores_cancel)
		return;
	poolfs_op_done(fake.start, -ECANCELED, "cancelled");
	fake.start = NULL;
}

static void fake_start(void *state, struct poolfs_op *op)
{
	fake.starts++;
	poolfs_machine_status(fake.machine, "backend", "fake");
	poolfs_machine_status(fake.machine, "place", "a\nb");
	poolfs_op_on_cancel(op, fake_cancel, &fake);
	if (fake.start_hangs)
		fake.start = op;
	else
		poolfs_op_done(op, 0, NULL);
}

static void fake_stop(void *state, struct poolfs_op *op)
{
	fake.stops++;
	if (fake.stop_hangs)
		fake.stop = op;
	else
		poolfs_op_done(op, 0, NULL);
}

static int fake_address(void *state, struct poolfs_address *address, struct poolfs_err *err)
{
	*address = (struct poolfs_address){ .host = "localhost", .port = 22 };
	return 0;
}

static int fake_console_write(void *state, const void *data, size_t size)
{
	int count = (int)size < fake.room ? (int)size : fake.room;

	memcpy(fake.typed + fake.typed_size, data, (size_t)count);
	fake.typed_size += count;
	fake.room -= count;
	return count;
}

static int fake_sysrq(void *state, char key)
{
	fake.keys[strlen(fake.keys)] = key;
	return key == '9' ? -EAGAIN : 0;
}

static int fake_nmi(void *state)
{
	fake.nmis++;
	return 0;
}

static void fake_reset(void *state, struct poolfs_op *op)
{
	fake.reset_count++;
	poolfs_op_on_cancel(op, fake_cancel, &fake);
	if (fake.start_hangs)
		fake.start = op;
	else
		poolfs_op_done(op, 0, NULL);
}

static void fake_verb_cancel(void *data)
{
	fake.verb_cancels++;
	poolfs_op_done(fake.verb, -ECANCELED, "cancelled");
	fake.verb = NULL;
}

static void fake_verb(void *state, const char *verb, const char *argument, struct poolfs_op *op)
{
	size_t length = strlen(fake.verbs);

	assert_null(fake.verb);
	snprintf(fake.verbs + length, sizeof(fake.verbs) - length, "%s(%s)", verb,
		argument ? argument : "-");
	fake.verb = op;
	poolfs_op_on_cancel(op, fake_verb_cancel, NULL);
}

static const struct poolfs_kind fake_kind = { .abi = POOLFS_ABI, .size = sizeof(fake_kind),
	.name = "fake" };
static const struct poolfs_backend fake_backend = {
	.abi = POOLFS_ABI,
	.size = sizeof(fake_backend),
	.kind = &fake_kind,
	.open = fake_open,
	.close = fake_close,
	.start = fake_start,
	.stop = fake_stop,
	.address = fake_address,
	.console_write = fake_console_write,
	.sysrq = fake_sysrq,
	.nmi = fake_nmi,
	.reset = fake_reset,
	.verb = fake_verb,
};

#include "tests/unit/shim_fake_transport.h"

/* ---- The daemon's end ---- */

/* The shape of each frame is checked here, whatever the test is about. */
static int peer_frame(void *data, const struct frame_header *header, const void *payload)
{
	const struct frame_state *state = payload;
	const struct frame_spool *spool = payload;
	const struct frame_run_state *run = payload;

	text_printf(&peer.log, "%u %u", header->type, (unsigned)header->id);
	if (header->type == FRAME_STATE) {
		assert_true(header->size >= sizeof(*state) && state->state < INSTANCE_CLOSING);
		peer.state = state->state;
		peer.boot_ms = state->boot_ms;
		snprintf(peer.text, sizeof(peer.text), "%.*s", (int)(header->size - sizeof(*state)),
			(const char *)(state + 1));
		text_printf(&peer.log, " state %u", state->state);
	} else if (header->type == FRAME_SPOOL) {
		assert_int_equal(header->size, sizeof(*spool));
		assert_true(spool->kind < SPOOL_KINDS && header->id < RUNS);
		assert_true(spool->start <= spool->end && spool->base <= spool->end);
		/* All notices of a run come before its end, but that a transcript's file is complete. */
		if (header->id && peer.runs[header->id].state > RUN_RUNNING) {
			assert_int_equal(spool->kind, SPOOL_TRANSCRIPT);
			assert_int_equal(spool->end, peer.spools[header->id][spool->kind].end);
			assert_int_equal(spool->base, 0);
		}
		peer.spools[header->id][spool->kind] = *spool;
		peer.notices++;
		text_printf(&peer.log, " spool %u %u..%u base %u", spool->kind,
			(unsigned)spool->start, (unsigned)spool->end, (unsigned)spool->base);
	} else if (header->type == FRAME_RUN_STATE) {
		assert_int_equal(header->size, sizeof(*run));
		if (header->id < RUNS)
			peer.runs[header->id] = *run;
		text_printf(&peer.log, " run %u %d", run->state, run->status);
	} else if (header->type == FRAME_FILE_REPLY) {
		const struct file_reply *reply = payload;
		assert_true(header->size >= sizeof(*reply));
		text_printf(&peer.log, " reply %d %.*s", reply->error,
			(int)(header->size - sizeof(*reply)), (const char *)(reply + 1));
		peer.count = reply->count;
	} else if (header->type == FRAME_RUN_INPUT_TAKEN) {
		const struct frame_run_taken *taken = payload;
		assert_int_equal(header->size, sizeof(*taken));
		text_printf(&peer.log, " taken %u %u", taken->bytes, taken->closed);
	} else if (header->type == FRAME_CRASH) {
		const struct frame_crash *crash = payload;
		assert_true(header->size > sizeof(*crash) && header->id > 0);
		peer.crashes = (unsigned)header->id;
		text_printf(&peer.log, " crash %u %u %.*s", (unsigned)crash->size, crash->fatal,
			(int)(header->size - sizeof(*crash)), (const char *)(crash + 1));
	} else if (header->type == FRAME_QUIET) {
		const struct frame_quiet *quiet = payload;
		assert_int_equal(header->size, sizeof(*quiet));
		text_printf(&peer.log, " quiet %u %u", (unsigned)quiet->limit_ms, quiet->quiet);
	} else if (header->type == FRAME_REMAINS) {
		text_printf(&peer.log, " remains %.*s", (int)header->size, (const char *)payload);
	} else if (header->type == FRAME_VERB_DONE) {
		text_printf(&peer.log, " verb %.*s", (int)header->size, (const char *)payload);
	} else if (header->type == FRAME_STATUS) {
		text_printf(&peer.log, " status ");
		text_append(&peer.log, payload, header->size);
	}
	text_printf(&peer.log, "\n");
	return 0;
}

static void peer_closed(void *data, int reason)
{
	peer.closed = true;
	peer.reason = reason;
}

static const struct frame_link_events peer_events = { .frame = peer_frame, .closed = peer_closed };

static inline void send_frame(enum frame_type type, uint64_t id, const void *data, size_t size)
{
	struct iovec part = { (void *)data, size };

	assert_int_equal(frame_link_send(peer.link, type, id, &part, 1), 0);
}

/* Forgets the connection, if there is one, and what came through it. */
static inline void peer_done(void)
{
	frame_link_free(peer.link);
	text_done(&peer.log);
	memset(&peer, 0, sizeof(peer));
}

/* Connects without saying hello. */
static inline void peer_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/shim.sock", directory);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	peer_done();
	peer.state = INSTANCE_STATES;
	peer.link = frame_link_new(&loop, fd, &peer_events, NULL);
}

/* Connects as a new daemon; the frames of an earlier one are forgotten. */
static inline void peer_open(void)
{
	struct frame_hello hello = { .version = PROTOCOL_VERSION, .pid = getpid() };

	peer_connect();
	send_frame(FRAME_HELLO, 0, &hello, sizeof(hello));
	AWAIT(peer.state != INSTANCE_STATES);
}

static inline bool peer_saw(const char *text)
{
	return peer.log.data && strstr(peer.log.data, text);
}

/* ---- The instance ---- */

static void instance_done(void *data, bool clean)
{
	assert_false(done);
	done = true;
	done_clean = clean;
}

static const struct poolfs_key fake_keys[] = {
	{ .name = "boot_timeout", .type = POOLFS_SECONDS },
	{ .name = "console_limit", .type = POOLFS_SIZE },
	{ .name = "console_filter", .type = POOLFS_BOOL },
	{ .name = "output_limit", .type = POOLFS_SIZE },
	{ .name = "crash_on", .type = POOLFS_STRING },
	{ .name = "on_crash_sysrq", .type = POOLFS_STRING },
	{ .name = "on_crash", .type = POOLFS_STRING },
	{ .name = "quiet_timeout", .type = POOLFS_SECONDS },
	{ 0 }
};

/* Makes the directory and the listening socket. */
static inline int instance_listen(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(directory, sizeof(directory), "/tmp/test_shim.XXXXXX");
	assert_non_null(mkdtemp(directory));
	dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/shim.sock", directory);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

/* Prepares; `fake` may be changed before instance_begin. */
static inline int instance_set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	memset(&fake, 0, sizeof(fake));
	fake.room = 1 << 30;
	done = done_clean = false;
	uv_timer_init(&loop, &fake.turn);
	return 0;
}

/* Begins to boot, and connects as the daemon. */
static inline void instance_begin(const char *boot_timeout)
{
	static const struct poolfs_key *const tables[] = { fake_keys, NULL };
	struct shim_setup setup = { .backend = &fake_backend, .transport = &fake_transport,
		.name = "pool/a", .directory = directory, .stop_limit = 50, .grace = 50, .done = instance_done };

	values = values_new(tables);
	values_set(values, "boot_timeout", boot_timeout, "/", NULL);
	values_set(values, "console_limit", "64K", "/", NULL);
	values_set(values, "console_filter", "no", "/", NULL);
	values_set(values, "output_limit", fake.limit ? fake.limit : "64K", "/", NULL);
	values_set(values, "crash_on", fake.crash_on ? fake.crash_on : "any", "/", NULL);
	assert_int_equal(patterns_load(TEST_PATTERNS, NULL, &patterns, NULL), 0);
	setup.patterns = patterns;
	if (fake.quiet)
		values_set(values, "quiet_timeout", fake.quiet, "/", NULL);
	if (fake.resets)
		values_set(values, "on_crash", "reset", "/", NULL);
	if (fake.sysrq)
		values_set(values, "on_crash_sysrq", fake.sysrq, "/", NULL);
	setup.listener = instance_listen();
	setup.connection = -1;
	setup.slots = fake.slots;
	setup.dirfd = dir;
	setup.values = values;
	shim = shim_new(&loop, &setup);
	peer_open();
}

/* Begins, and waits until it is ready. */
static inline void instance_ready(void)
{
	instance_begin("10");
	AWAIT(peer.state == INSTANCE_READY);
}

/* Ends the instance if the test has not, and checks that all of it is gone. */
static inline int instance_tear_down(void **state)
{
	char command[128];

	if (!done)
		shim_stop(shim);
	AWAIT(done);
	if (fake.stop)
		poolfs_op_done(fake.stop, 0, NULL);
	if (fake.start)
		poolfs_op_done(fake.start, 0, NULL);
	shim_close(shim);
	peer_done();
	uv_close((uv_handle_t *)&fake.turn, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	shim_free(shim);
	values_free(values);
	patterns_free(patterns);
	patterns = NULL;
	for (int i = 0; i < fake.run_count; i++) {
		free(fake.runs[i].text);
		free(fake.runs[i].environment);
		free(fake.runs[i].cwd);
		text_done(&fake.runs[i].in);
	}
	close(dir);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
	return uv_loop_alive(&loop);
}

/* The bytes of a spool's file, as text; offset is where the first one stands. */
static inline const char *spool_text(const char *name, uint64_t *offset)
{
	static char bytes[1 << 20];
	struct spool_reader *reader;
	uint64_t at = 0;

	if (spool_reader_new(dir, name, &reader) < 0)
		return "(none)";
	ssize_t count = spool_read(reader, &at, bytes, sizeof(bytes) - 1);
	spool_reader_free(reader);
	assert_true(count >= 0);
	bytes[count] = '\0';
	if (offset)
		*offset = at;
	return bytes;
}

#endif
