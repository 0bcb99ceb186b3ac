/* SPDX-License-Identifier: MIT */
/*
 * One machine's way:
 *
 *   IDLE -> PROBING -> OVERLAY -> LAUNCHED -> BOOTING -> RUNNING -> GONE
 *
 * PROBING and OVERLAY have a child of their own and are left out where nothing is to be
 * found out or made. LAUNCHED begins when QEMU is started and ends when its monitor has
 * told the port of the login; BOOTING ends when the guest's server answers there (knock.h
 * says why it is waited for): then `start` is done. GONE is reached from everywhere: the
 * start failed, or QEMU ended. `stop` ends whatever child there is and is done when it
 * was reaped.
 */
#include "backends/qemu/qemu.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/process/child.h"
#include "backends/qemu/args.h"
#include "backends/qemu/disk.h"
#include "backends/qemu/knock.h"
#include "backends/qemu/peer.h"
#include "backends/qemu/probe.h"
#include "backends/qemu/qmp.h"
#include "backends/qemu/sysrq.h"
#include "backends/qemu/usernet.h"

/* How long QEMU may take to end when asked to, and when its guest has ended. */
#define QUIT_MS 1000
#define SHUTDOWN_MS 5000

enum stage { IDLE, PROBING, OVERLAY, LAUNCHED, BOOTING, RUNNING, GONE };

struct qemu {
	struct poolfs_machine *machine;
	const struct poolfs_values *values;
	struct uv_loop_s *loop;
	enum stage stage;
	struct poolfs_op *start;	/* while it is not done */
	struct poolfs_op *stop;		/* likewise */
	struct probe *probe;
	struct child *child;		/* qemu-img or QEMU */
	struct peer *console;
	struct qmp *qmp;
	struct knock *knock;
	struct sysrq *sysrq;		/* NULL: none was asked for yet */
	bool kvm;
	bool kvm_is_a_guess;		/* accel = auto: without KVM is fine too */
	bool sandbox;
	bool has_ended;			/* the core was told */
	uint16_t port;
	char end[256];			/* why the machine ended, as its monitor told; "" */
	char last[256];			/* last line that the child printed */
	size_t last_size;
	bool last_is_whole;		/* the next byte begins another line */
};

static void boot(struct qemu *qemu);

/* Ends what talks with QEMU. */
static void close_sockets(struct qemu *qemu)
{
	knock_free(qemu->knock);
	qemu->knock = NULL;
	sysrq_free(qemu->sysrq);
	qemu->sysrq = NULL;
	peer_free(qemu->console);
	qmp_free(qemu->qmp);
	qemu->console = NULL;
	qemu->qmp = NULL;
}

/* The start is over without success; whatever runs is ended. */
static void fail(struct qemu *qemu, int code, const char *reason)
{
	struct poolfs_op *op = qemu->start;

	qemu->start = NULL;
	qemu->stage = GONE;
	close_sockets(qemu);
	if (qemu->child)
		child_stop(qemu->child, 0, 0);
	if (qemu->probe)
		probe_stop(qemu->probe);
	if (op)
		poolfs_op_done(op, code, "%s", reason);
}

/* Completes stop when nothing runs any more. */
static void finish_stop(struct qemu *qemu)
{
	struct poolfs_op *op = qemu->stop;

	if (!op || qemu->child || qemu->probe)
		return;
	qemu->stop = NULL;
	close_sockets(qemu);
	unlink(ARGS_OVERLAY);
	poolfs_op_done(op, 0, "%s", "");
}

/* Tells the core, once, that the machine ended by itself. */
__attribute__((format(printf, 3, 4)))
static void ended(struct qemu *qemu, enum poolfs_ending how, const char *format, ...)
{
	char text[512];
	va_list list;

	if (qemu->has_ended || qemu->stop ||
		(qemu->stage != RUNNING && qemu->stage != BOOTING))
		return;
	qemu->has_ended = true;
	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	poolfs_machine_ended(qemu->machine, how, "%s", text);
}

/* Remembers the last line that is not empty. */
static void note_line(struct qemu *qemu, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] == '\n' || bytes[i] == '\r') {
			qemu->last_is_whole = true;
			continue;
		}
		if (qemu->last_is_whole)
			qemu->last_size = 0;
		qemu->last_is_whole = false;
		if (qemu->last_size + 1 < sizeof(qemu->last) && bytes[i])
			qemu->last[qemu->last_size++] = bytes[i];
		qemu->last[qemu->last_size] = '\0';
	}
}

/* What QEMU or qemu-img printed. */
static void on_child_output(void *data, const void *bytes, size_t size)
{
	struct qemu *qemu = data;

	poolfs_machine_log_bytes(qemu->machine, bytes, size);
	note_line(qemu, bytes, size);
}

/* Writes "PROGRAM ended with status N: LAST LINE". */
static void describe(struct qemu *qemu, const char *program, int status, int signal,
	char *out, size_t size)
{
	char how[128], line[512];

	child_describe(how, sizeof(how), status, signal);
	text_escape(line, sizeof(line), qemu->last);
	snprintf(out, size, "%s %s%s%s", program, how, *line ? ": " : "", line);
}

/* ---- The monitor --------------------------------------------------------- */

/* For commands that may fail: QEMU before 6.0 has no set-action, and ends at a panic instead. */
static void ignore_answer(void *data, int result, const json_t *value, const char *reason)
{
}

/* The reasons of QEMU's SHUTDOWN event (qapi/run-state.json), for people. */
static const struct {
	const char *name;
	const char *text;
} reasons[] = {
	{ "guest-shutdown", "the guest powered off" },
	{ "guest-reset", "the guest reset itself (a reboot, or a panic with panic=-1)" },
	{ "subsystem-reset", "the guest reset itself" },
	{ "guest-panic", "the guest's kernel panicked" },
	{ "host-signal", "QEMU was asked to end by a signal" },
	{ "host-qmp-quit", "QEMU was asked to end through its monitor" },
	{ "host-error", "QEMU met an error on the host" },
};

/* The guest has ended; QEMU ends by itself now, or is ended. */
static void on_shutdown(struct qemu *qemu, const json_t *about)
{
	const char *name = json_string_value(json_object_get(about, "reason"));
	const char *text = "the machine was shut down";

	for (size_t i = 0; name && i < sizeof(reasons) / sizeof(*reasons); i++)
		if (strcmp(name, reasons[i].name) == 0)
			text = reasons[i].text;
	snprintf(qemu->end, sizeof(qemu->end), "%s", text);
	if (qemu->child)
		child_stop(qemu->child, 0, SHUTDOWN_MS);
}

/* The guest's kernel says so itself. What it printed before has arrived, and comes first. */
static void on_panicked(struct qemu *qemu)
{
	if (qemu->console)
		peer_drain(qemu->console);
	ended(qemu, POOLFS_ENDED_CRASHED, "the guest's kernel panicked");
}

/* Why the machine is stopped. */
static void on_status(void *data, int result, const json_t *value, const char *reason)
{
	struct qemu *qemu = data;
	const char *status = json_string_value(json_object_get(value, "status"));
	char text[64];

	if (!status)
		return;
	text_escape(text, sizeof(text), status);
	if (strcmp(status, "internal-error") == 0)
		ended(qemu, POOLFS_ENDED_STOPPED, "QEMU cannot go on with the machine: %s", text);
	else if (strcmp(status, "io-error") == 0)
		poolfs_machine_log(qemu->machine,
			"the machine is stopped by an error of its disk on the host (no space?)");
}

static void on_answered(void *data);

/* The machine begins anew: because we said so, then its server is waited for; or by itself, which it
 * does only where args.c lets it. SeaBIOS, when it finds its memory as it was, resets the machine once
 * more, which looks as if the guest had done so: while a start is under way, all resets are ours. */
static void on_reset(struct qemu *qemu, bool guest)
{
	if (guest && !qemu->start) {
		ended(qemu, POOLFS_ENDED_RESTARTED, "the guest reset itself");
		return;
	}
	if (!qemu->start || qemu->knock || qemu->stage != BOOTING)
		return;
	qmp_call(qemu->qmp, "cont", NULL, ignore_answer, qemu);
	knock_start(qemu->loop, qemu->port, on_answered, qemu, &qemu->knock);
}

/* The monitor tells of something. */
static void on_event(void *data, const char *name, const json_t *about)
{
	struct qemu *qemu = data;

	if (strcmp(name, "SHUTDOWN") == 0)
		on_shutdown(qemu, about);
	else if (strcmp(name, "GUEST_PANICKED") == 0)
		on_panicked(qemu);
	else if (strcmp(name, "RESET") == 0)
		on_reset(qemu, json_is_true(json_object_get(about, "guest")));
	else if (strcmp(name, "STOP") == 0)
		qmp_call(qemu->qmp, "query-status", NULL, on_status, qemu);
}

/* The guest's server answers. */
static void on_answered(void *data)
{
	struct qemu *qemu = data;
	struct poolfs_op *op = qemu->start;

	knock_free(qemu->knock);
	qemu->knock = NULL;
	if (!op)
		return;
	qemu->stage = RUNNING;
	qemu->start = NULL;
	poolfs_op_done(op, 0, "%s", "");
}

/* QEMU runs, and all is known of it. */
static void launched(struct qemu *qemu)
{
	qemu->stage = BOOTING;
	poolfs_machine_status(qemu->machine, "pid", "%d", (int)child_pid(qemu->child));
	poolfs_machine_status(qemu->machine, "accelerator", "%s", qemu->kvm ? "kvm" : "tcg");
	poolfs_machine_status(qemu->machine, "address", "127.0.0.1:%u", qemu->port);
	knock_start(qemu->loop, qemu->port, on_answered, qemu, &qemu->knock);
}

/* The answer to `info usernet`. */
static void on_usernet(void *data, int result, const json_t *value, const char *reason)
{
	struct qemu *qemu = data;
	const char *text = json_string_value(value);

	if (!qemu->start)
		return;
	if (text)
		qemu->port = usernet_port(text, (uint16_t)poolfs_number(qemu->values, "ssh_port"));
	if (qemu->port)
		launched(qemu);
	else
		fail(qemu, -EPROTO, result < 0 ? reason : "QEMU does not show the forwarded port");
}

/* The monitor takes commands. */
static void on_ready(void *data)
{
	struct qemu *qemu = data;

	if (!qemu->start)
		return;
	/* A panicked kernel would turn in a loop for ever. */
	qmp_call(qemu->qmp, "set-action", json_pack("{s:s}", "panic", "pause"), ignore_answer,
		qemu);
	if (qmp_call(qemu->qmp, "human-monitor-command",
		    json_pack("{s:s}", "command-line", "info usernet"), on_usernet, qemu) < 0)
		fail(qemu, -EPROTO, "QEMU's monitor takes no commands");
}

/* Without its monitor the machine goes on; QEMU's end is still seen. */
static void on_monitor_closed(void *data, int code, const char *reason)
{
	struct qemu *qemu = data;

	if (code < 0)
		poolfs_machine_log(qemu->machine, "monitor: %s", reason);
	if (code < 0 && qemu->stage == LAUNCHED)
		fail(qemu, code, reason);
}

static const struct qmp_events qmp_events = {
	.ready = on_ready,
	.event = on_event,
	.closed = on_monitor_closed,
};

/* ---- The console --------------------------------------------------------- */

static void on_console(void *data, const void *bytes, size_t size)
{
	struct qemu *qemu = data;

	poolfs_machine_console(qemu->machine, bytes, size);
	sysrq_heard(qemu->sysrq);
}

/* QEMU's end is seen by its exit. */
static void on_console_closed(void *data, int code)
{
}

static const struct peer_events console_events = {
	.bytes = on_console,
	.closed = on_console_closed,
};

/* ---- QEMU itself --------------------------------------------------------- */

/* Whether QEMU's early end is no wonder, and another attempt is worth it. */
static bool may_retry(struct qemu *qemu)
{
	if (qemu->stage != LAUNCHED || qemu->stop)
		return false;
	if (qemu->sandbox && strstr(qemu->last, "sandbox")) {
		poolfs_machine_log(qemu->machine, "this QEMU has no sandbox; going on without");
		qemu->sandbox = false;
		return true;
	}
	if (qemu->kvm && qemu->kvm_is_a_guess) {
		poolfs_machine_log(qemu->machine, "QEMU does not start with KVM; going on without");
		qemu->kvm = false;
		return true;
	}
	return false;
}

/* QEMU ended. What its sockets still hold comes first. */
static void on_qemu_exited(void *data, int status, int signal)
{
	struct qemu *qemu = data;
	char text[1024];

	if (qemu->console)
		peer_drain(qemu->console);
	qmp_drain(qemu->qmp);
	child_free(qemu->child);
	qemu->child = NULL;
	close_sockets(qemu);
	if (may_retry(qemu))
		return boot(qemu);
	describe(qemu, "qemu", status, signal, text, sizeof(text));
	if (*qemu->end && qemu->stage != LAUNCHED)
		snprintf(text, sizeof(text), "%s", qemu->end);
	ended(qemu, POOLFS_ENDED_STOPPED, "%s", text);
	fail(qemu, -EIO, text);
	finish_stop(qemu);
}

/* Starts QEMU, after the sockets that it connects to are there. */
static int launch(struct qemu *qemu, struct poolfs_err *err)
{
	struct args args = {
		.values = qemu->values,
		.name = poolfs_machine_name(qemu->machine),
		.purpose = ARGS_RUN,
		.kvm = qemu->kvm,
		.sandbox = qemu->sandbox,
		/* It may do so after a crash. */
		.resets = strcmp(poolfs_string(qemu->values, "on_crash"), "reset") == 0,
	};
	int result = peer_listen(qemu->loop, ARGS_CONSOLE, &console_events, qemu, &qemu->console,
		err);

	if (result < 0)
		return result;
	result = qmp_listen(qemu->loop, ARGS_QMP, 0, &qmp_events, qemu, &qemu->qmp, err);
	if (result < 0)
		return result;
	char **words = args_make(&args);
	struct child_options options = {
		.argv = (const char *const *)words,
		.output = on_child_output,
		.exited = on_qemu_exited,
		.data = qemu,
	};
	result = child_start(qemu->loop, &options, &qemu->child, err);
	args_free(words);
	return result;
}

/* Starts QEMU, again where a retry is worth it. */
static void boot(struct qemu *qemu)
{
	struct poolfs_err err = { "" };

	qemu->stage = LAUNCHED;
	qemu->last[0] = '\0';
	qemu->last_size = 0;
	int result = launch(qemu, &err);
	if (result < 0)
		fail(qemu, result, err.text);
}

/* The overlay is made, or not. */
static void on_disk_exited(void *data, int status, int signal)
{
	struct qemu *qemu = data;
	char text[1024];

	child_free(qemu->child);
	qemu->child = NULL;
	if (qemu->stop || qemu->stage != OVERLAY)
		return finish_stop(qemu);
	if (status == 0 && signal == 0)
		return boot(qemu);
	describe(qemu, "disk: qemu-img", status, signal, text, sizeof(text));
	fail(qemu, -EIO, text);
}

/* Makes the overlay, where there is a disk, then boots. */
static void begin(struct qemu *qemu)
{
	struct child_options options = {
		.output = on_child_output,
		.exited = on_disk_exited,
		.data = qemu,
	};
	struct poolfs_err err = { "" };

	if (!poolfs_has(qemu->values, "disk"))
		return boot(qemu);
	qemu->stage = OVERLAY;
	int result = disk_start(qemu->loop, qemu->values, &options, &qemu->child, &err);
	if (result < 0)
		fail(qemu, result, err.text);
}

/* It is known whether KVM works. */
static void on_probed(void *data, bool works, const char *why)
{
	struct qemu *qemu = data;

	probe_free(qemu->probe);
	qemu->probe = NULL;
	if (qemu->stop || qemu->stage != PROBING)
		return finish_stop(qemu);
	poolfs_machine_log(qemu->machine, "%s KVM: %s", works ? "with" : "without", why);
	qemu->kvm = works;
	begin(qemu);
}

static const struct probe_events probe_events = {
	.done = on_probed,
};

/* ---- The table ------------------------------------------------------------ */

static int qemu_open(struct poolfs_machine *machine, void **state, struct poolfs_err *err)
{
	struct qemu *qemu = memory_new(sizeof(*qemu));

	qemu->machine = machine;
	qemu->values = poolfs_machine_values(machine);
	qemu->loop = poolfs_machine_loop(machine);
	qemu->sandbox = poolfs_number(qemu->values, "sandbox");
	*state = qemu;
	return 0;
}

/* Frees; stop has ended all else. */
static void qemu_close(void *state)
{
	free(state);
}

/* The core no longer waits for the start. */
static void on_cancel(void *data)
{
	struct qemu *qemu = data;
	char text[128] = "cancelled";

	if (qemu->stage == BOOTING)
		snprintf(text, sizeof(text), "no SSH server answers in the guest (port %d)",
			(int)poolfs_number(qemu->values, "ssh_port"));
	fail(qemu, -ECANCELED, text);
}

/* Begins with what has to be found out first. */
static void qemu_start(void *state, struct poolfs_op *op)
{
	struct qemu *qemu = state;
	const char *accel = poolfs_string(qemu->values, "accel");

	qemu->start = op;
	qemu->kvm = strcmp(accel, "kvm") == 0;
	qemu->kvm_is_a_guess = strcmp(accel, "auto") == 0;
	poolfs_op_on_cancel(op, on_cancel, qemu);
	if (!qemu->start)
		return;
	if (!qemu->kvm_is_a_guess)
		return begin(qemu);
	qemu->stage = PROBING;
	probe_start(qemu->loop, qemu->values, "..", &probe_events, qemu, &qemu->probe);
}

/* QEMU resets the machine, or not. */
static void on_system_reset(void *data, int result, const json_t *value, const char *reason)
{
	struct qemu *qemu = data;

	if (result < 0 && qemu->start)
		fail(qemu, result, reason);
}

/* The reset button. on_reset goes on. */
static void qemu_reset(void *state, struct poolfs_op *op)
{
	struct qemu *qemu = state;

	qemu->start = op;
	qemu->has_ended = false;
	poolfs_op_on_cancel(op, on_cancel, qemu);
	if (!qemu->start)
		return;
	if (qemu->stage != RUNNING || !qemu->qmp) {
		fail(qemu, -EHOSTDOWN, "QEMU has ended");
		return;
	}
	qemu->stage = BOOTING;
	int result = qmp_call(qemu->qmp, "system_reset", NULL, on_system_reset, qemu);
	if (result < 0)
		fail(qemu, result, "QEMU's monitor takes no commands");
}

/* QEMU is asked through its monitor, else by a signal. */
static void qemu_stop(void *state, struct poolfs_op *op)
{
	struct qemu *qemu = state;
	struct poolfs_op *start = qemu->start;

	qemu->stop = op;
	qemu->start = NULL;
	if (start)
		poolfs_op_done(start, -ECANCELED, "stopped during the start");
	if (qemu->probe)
		probe_stop(qemu->probe);
	if (qemu->child) {
		bool asked = qemu->qmp &&
			qmp_call(qemu->qmp, "quit", NULL, ignore_answer, qemu) == 0;
		child_stop(qemu->child, asked ? 0 : SIGTERM, QUIT_MS);
	}
	finish_stop(qemu);
}

/* The forwarded port on the host. */
static int qemu_address(void *state, struct poolfs_address *address, struct poolfs_err *err)
{
	struct qemu *qemu = state;

	if (!qemu->port)
		return poolfs_err_set(err, -EHOSTDOWN, "the machine is not up");
	*address = (struct poolfs_address){ .host = "127.0.0.1", .port = qemu->port };
	return 0;
}

/* Types into the serial port. */
static int qemu_console_write(void *state, const void *data, size_t size)
{
	struct qemu *qemu = state;

	return qemu->console ? peer_write(qemu->console, data, size) : -EHOSTDOWN;
}

/* SysRq on the serial line. */
static int qemu_sysrq(void *state, char key)
{
	struct qemu *qemu = state;

	if (!qemu->qmp || !qemu->console)
		return -EHOSTDOWN;
	if (!qemu->sysrq)
		qemu->sysrq = sysrq_new(qemu->machine, qemu->qmp, qemu->console);
	return sysrq_add(qemu->sysrq, key);
}

/* The monitor's answer to an interrupt. */
static void on_nmi(void *data, int result, const json_t *value, const char *reason)
{
	struct qemu *qemu = data;

	if (result < 0)
		poolfs_machine_log(qemu->machine, "nmi: %s", reason);
}

/* A non-maskable interrupt. */
static int qemu_nmi(void *state)
{
	struct qemu *qemu = state;

	return qemu->qmp ? qmp_call(qemu->qmp, "inject-nmi", NULL, on_nmi, qemu) : -EHOSTDOWN;
}

const struct poolfs_backend qemu_backend = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_backend),
	.kind = &qemu_kind,
	.open = qemu_open,
	.close = qemu_close,
	.start = qemu_start,
	.stop = qemu_stop,
	.address = qemu_address,
	.console_write = qemu_console_write,
	.sysrq = qemu_sysrq,
	.nmi = qemu_nmi,
	.reset = qemu_reset,
};
