/* SPDX-License-Identifier: MIT */
#include "backends/ssh/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/bounds.h"
#include "backends/ssh/marker.h"

#define LARGEST "1152921504606846975"	/* MARKER_NUMBER_MAX */

struct control_request {
	TAILQ_ENTRY(control_request) link;
	uint64_t number;
	struct text line;
	bool sent;
	control_done *done;
	void *data;
};

/* Shells of other kinds (csh, fish) do not take this, or "$((1))" for 1. Which option is ulimit's for
 * file locks: -w in dash, -x in bash and busybox. It has to show in /proc. */
static const char login[] =
	"for poolfs_m in x w -; do [ $poolfs_m = - ] || (ulimit -S$poolfs_m " LARGEST " && exec "
	"grep -q '^Max file locks  *" LARGEST " ' /proc/self/limits) >/dev/null 2>&1 && break; done; "
	"echo poolfs-login $$ $((1)) $poolfs_m; exec sh";

/*
 * A command's processes are those whose environment holds its token, or whose limit of file locks is
 * its number (command.c), its shell (whose own environment does not show what it exported later)
 * and the shell's descendants. Its process
 * group gets one signal for all of its members, when it has one of its own: the shell leads it,
 * or a process with the token is in it. Dropbear's shells do not lead one; their group is the
 * server's. Without /proc (BSD), the shell and its group are all that is found.
 *
 * No process gets a signal twice: some programs take the second INT for more than the first.
 */
static const char functions[] =
	/* PID: its state in s, its group in g. The state is that of its first thread: with others, it lives */
	"poolfs_stat() { s= g=; if read -r g <\"/proc/$1/stat\"; then set -- ${g##*) }; s=$1 g=$3; "
	"[ \"${18:-1}\" -lt 2 ] || s=; "
	"elif [ ! -e /proc/self/stat ]; then g=$(ps -o pgid= -p $1) && g=$((g)); fi; }\n"
	/* PID: its descendants */
	"poolfs_below() { for c in $(cat /proc/$1/task/*/children); do echo $c; poolfs_below $c; "
	"done; }\n"
	/* TOKEN MARK: the environments and limits that hold them; busybox' grep looks at nothing behind
	   a NUL */
	"poolfs_lock='Max file locks            '\n"
	"if printf 'a\\0b\\n' | grep -qF b; then\n"
	"poolfs_with() { grep -lsF -e \"POOLFS_RUN=$1\" -e \"$poolfs_lock$2 \" "
	"/proc/[0-9]*/environ /proc/[0-9]*/limits; }\n"
	"else poolfs_with() { head -n 9999 /proc/[0-9]*/environ | tr '\\0' '\\n' | sed -n "
	"-e '/^==> /h' -e \"/^POOLFS_RUN=$1/{g;s/^==> \\(.*\\) <==\\$/\\1/p;}\"; "
	"grep -lsF \"$poolfs_lock$2 \" /proc/[0-9]*/limits; }; fi\n"
	/* TOKEN MARK PID: all, some of them twice; the shell first, or it could still tell of the end of
	   its child as a status of its own */
	"poolfs_find() { [ $3 = 0 ] || { kill -s 0 $3 && echo $3; poolfs_below $3; }; "
	"for f in $(poolfs_with $1 $2); do f=${f#/proc/}; echo ${f%/*}; done; }\n"
	/* TOKEN MARK SHELL PID: the group in l, others in o, how many in n */
	"poolfs_look() { l= o= n=0; [ $4 = 0 ] || { poolfs_stat $4; [ \"$g\" != $4 ] || l=-$4; }; "
	"for p in $(poolfs_find $1 $2 $4); do poolfs_stat $p; case $s in [ZX]) continue;; esac; "
	"case \" $o \" in *\" $p \"*) continue;; esac; n=$((n+1)); "
	"if [ \"$g\" = $3 ]; then l=-$3; else o=\"$o $p\"; fi; done; }\n"
	/* NUMBER SIGNAL TOKEN MARK SHELL PID */
	"poolfs_signal() { i=0; while poolfs_look $3 $4 $5 $6; [ $n != 0 ] && [ $2 != 0 ]; do "
	"kill -s $2 -- $l $o; [ $2 = 9 ] && [ $((i=i+1)) -lt 20 ] || break; done; "
	"echo poolfs-done $1 $n; }\n";

/* Starts without a shell. */
void control_init(struct control *control, struct session *session, struct channels *channels)
{
	*control = (struct control){ .session = session, .channels = channels };
	TAILQ_INIT(&control->requests);
}

/* The first shell. */
void control_begin(struct control *control)
{
	control->settled = control->posix = false;
	control->mark = 0;
	control->failures = 0;
	control->since = control->now;
	control->channels->want_control = CHANNELS_WANTED;
}

/* Takes a request off and frees it; its callback comes last. */
static void request_end(struct control *control, struct control_request *request, int left)
{
	control_done *done = request->done;
	void *data = request->data;

	TAILQ_REMOVE(&control->requests, request, link);
	text_done(&request->line);
	free(request);
	control->since = control->now;
	if (done)
		done(data, left);
}

/* Forgets what was asked for, but not what nobody waits for: the next shell does that. */
void control_lose(struct control *control)
{
	struct control_request *request, *next;

	for (request = TAILQ_FIRST(&control->requests); request; request = next) {
		next = TAILQ_NEXT(request, link);
		if (!request->done && !request->sent)
			continue;
		request->done = NULL;
		request_end(control, request, -1);
	}
	control->step = CONTROL_OFF;
	control->channel = NULL;
	control->line_size = 0;
	text_done(&control->out);
}

/* Closes the channel; a shell that was asked for something has then failed. */
static void control_close(struct control *control)
{
	struct control_request *request, *next;

	control->step = CONTROL_OFF;
	control->line_size = 0;
	control->out.size = 0;
	control->channels->control = false;
	channels_drop(control->channels, control->channel);
	control->channel = NULL;
	for (request = TAILQ_FIRST(&control->requests); request && request->sent; request = next) {
		next = TAILQ_NEXT(request, link);
		request_end(control, request, -1);
	}
}

/* The shell is of no use any more. Before its first line: there is none. */
static void control_fail(struct control *control, const char *reason)
{
	session_log(control->session, "the shell for signals: %s", reason);
	control->failures++;
	control->settled = true;
	if (!control->posix)
		control->failures = CONTROL_FAILURES;
	control_close(control);
}

/* Whether signals can be sent. */
bool control_works(const struct control *control)
{
	return control->posix && control->failures < CONTROL_FAILURES;
}

/* Whether requests wait. */
bool control_busy(const struct control *control)
{
	return !TAILQ_EMPTY(&control->requests);
}

/* The first line: the login's shell knows what a POSIX shell does. */
static void take_login(struct control *control)
{
	unsigned pid;
	char mark;
	int end = 0;

	if (sscanf(control->line, "poolfs-login %u 1 %c%n", &pid, &mark, &end) != 2 || !end ||
		control->line[end] || !strchr("xw-", mark))
		return;
	control->mark = mark == '-' ? 0 : mark;
	control->step = CONTROL_READY;
	control->settled = control->posix = true;
	text_append(&control->out, functions, sizeof(functions) - 1);
}

/* An answer. */
static void take_done(struct control *control)
{
	struct control_request *request = TAILQ_FIRST(&control->requests);
	uint64_t number;
	int left;

	if (sscanf(control->line, "poolfs-done %" SCNu64 " %d", &number, &left) != 2)
		return;
	if (!request || !request->sent || request->number != number || left < 0)
		return;
	control->failures = 0;
	request_end(control, request, left);
}

/* Takes output apart into lines; what is too long for one is cut. */
static void take_output(struct control *control, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size && control->channel; i++) {
		if (bytes[i] != '\n') {
			if (control->line_size < CONTROL_LINE - 1)
				control->line[control->line_size++] = bytes[i];
			continue;
		}
		control->line[control->line_size] = '\0';
		control->line_size = 0;
		if (control->step == CONTROL_GREETING)
			take_login(control);
		else
			take_done(control);
	}
}

/* Reads both streams; what comes on stderr is of no interest. How much came. */
static int read_both(struct control *control)
{
	char bytes[4096];
	int result, total = 0;

	while (control->channel && (result = session_result(control->session,
			libssh2_channel_read(control->channel, bytes, sizeof(bytes)))) > 0) {
		take_output(control, bytes, (size_t)result);
		total += result;
	}
	while (control->channel && (result = session_result(control->session,
			libssh2_channel_read_stderr(control->channel, bytes, sizeof(bytes)))) > 0)
		total += result;
	return total;
}

/* Hands the requests over. */
static void send_requests(struct control *control)
{
	struct control_request *request;

	TAILQ_FOREACH(request, &control->requests, link) {
		if (request->sent)
			continue;
		if (request == TAILQ_FIRST(&control->requests))
			control->since = control->now;
		request->sent = true;
		text_append(&control->out, request->line.data, request->line.size);
	}
}

/* Writes what the channel takes. True when some of it went. */
static bool write_out(struct control *control)
{
	size_t before = control->out.size;

	while (control->out.size && control->channel) {
		int result = session_result(control->session, libssh2_channel_write(control->channel,
			control->out.data, control->out.size));

		if (result == -EIO)
			control_fail(control, "it takes nothing any more");
		if (result <= 0)
			break;
		text_consume(&control->out, (size_t)result);
	}
	return control->out.size != before;
}

/* Takes the channel when it is open; asks for it when something is to be done. */
static bool take_channel(struct control *control)
{
	struct channels *channels = control->channels;

	if (!TAILQ_EMPTY(&control->requests) && control_works(control))
		channels->want_control = CHANNELS_WANTED;
	control->channel = channels_take_control(channels);
	if (!control->channel)
		return false;
	control->step = CONTROL_STARTING;
	control->since = control->now;
	return true;
}

/* Starts the shell. */
static bool start(struct control *control)
{
	int result = session_result(control->session, libssh2_channel_process_startup(control->channel,
		"exec", 4, login, sizeof(login) - 1));

	if (result == -EIO)
		control_fail(control, "the server refused to start it");
	else if (result == 0)
		control->step = CONTROL_GREETING;
	return result == 0 || result == -EIO;
}

/* Moves on. */
bool control_turn(struct control *control)
{
	struct session *session = control->session;
	bool moved = false;

	while (control->settled && !control_works(control) && !TAILQ_EMPTY(&control->requests))
		request_end(control, TAILQ_FIRST(&control->requests), -1);
	if (control->step == CONTROL_OFF)
		moved |= take_channel(control);
	if (control->step == CONTROL_STARTING)
		moved |= start(control);
	if (control->step < CONTROL_GREETING || session->lost)
		return moved;
	moved |= read_both(control) > 0;
	if (control->channel && !session->lost && libssh2_channel_eof(control->channel))
		control_fail(control, control->posix ? "it ended" :
			"the login's shell is not of POSIX's kind");
	if (control->step == CONTROL_READY && !session->lost) {
		send_requests(control);
		moved |= write_out(control);
	}
	if (control->step == CONTROL_READY && control->channels->crowded && !control->out.size &&
		TAILQ_EMPTY(&control->requests) && !session->lost) {
		control_close(control);
		moved = true;
	}
	return moved;
}

/* Frees all. */
void control_free(struct control *control)
{
	struct control_request *request;

	TAILQ_FOREACH(request, &control->requests, link)
		request->sent = true;
	control_lose(control);
}

/*
 * Whether a command that was given up still has the server's only channel: OpenSSH counts its
 * session until its process ends, even though the channel is closed. It can be killed through
 * a new connection only.
 */
static bool is_shut_out(struct control *control)
{
	struct control_request *request = TAILQ_FIRST(&control->requests);

	return request && !request->done && control->step == CONTROL_OFF &&
		control->channels->crowded && control->channels->used == 0;
}

/* Ends a shell that takes too long. */
void control_clock(struct control *control)
{
	bool waits = control->step == CONTROL_STARTING || control->step == CONTROL_GREETING ||
		(control->step == CONTROL_READY && !TAILQ_EMPTY(&control->requests));

	if (control->session->lost || control->now - control->since <= LIMIT_CONTROL)
		return;
	if (waits)
		control_fail(control, "it does not answer");
	else if (!control->settled)
		control->settled = true;
	else if (is_shut_out(control))
		session_lose(control->session, false,
			"a command that does not end has the only channel");
	session_wake(control->session);
}

/* Adds a request, whose line is to be made. */
static struct control_request *request_add(struct control *control, control_done *done, void *data)
{
	struct control_request *request = memory_new(sizeof(*request));

	request->number = ++control->counter;
	request->done = done;
	request->data = data;
	if (TAILQ_EMPTY(&control->requests))
		control->since = control->now;
	TAILQ_INSERT_TAIL(&control->requests, request, link);
	session_wake(control->session);
	return request;
}

/* Asks the shell for a line. */
bool control_ping(struct control *control)
{
	if (control->step != CONTROL_READY || !control_works(control))
		return false;
	struct control_request *request = request_add(control, NULL, NULL);
	text_printf(&request->line, "echo poolfs-done %" PRIu64 " 0\n", request->number);
	return true;
}

/* Queues a request. */
void control_signal(struct control *control, const struct control_target *target, int signal,
	control_done *done, void *data)
{
	struct control_request *request = request_add(control, done, data);

	text_printf(&request->line,
		"poolfs_signal %" PRIu64 " %d %s %" PRIu64 " %u %u </dev/null 2>/dev/null\n",
		request->number, signal, target->token, marker_number(target->token), target->shell,
		target->alive ? target->shell : 0);
}

/* Takes the callbacks away. */
void control_forget(struct control *control, const void *data)
{
	struct control_request *request;

	TAILQ_FOREACH(request, &control->requests, link)
		if (request->data == data)
			request->done = NULL;
}
