/* SPDX-License-Identifier: MIT */
/*
 * Whatever it is, it ends in a descriptor that is polled: the master of a terminal whose other end a
 * command has, a serial device, or a socket. tap_lost closes it and sets the clock for the next attempt;
 * each attempt that does not last doubles the pause.
 */
#include "backends/remote/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/process/child.h"
#include "backends/remote/tap_text.h"

#define RETRY_MS	200u	/* the first pause; it doubles */
#define RETRY_MAX_MS	10000u
#define LASTING_MS	5000u	/* what was open for so long starts anew with the first pause */
#define RESOLVE_MS	10000u
#define CONNECT_MS	10000u
#define STOP_MS		1000u	/* a command gets so long to end */
#define READ_SIZE	65536u

enum tap_step {
	TAP_WAITING,	/* for the next attempt */
	TAP_RESOLVING,
	TAP_CONNECTING,
	TAP_OPEN,
	TAP_STOPPED,
};

struct tap {
	struct poolfs_machine *machine;
	uv_loop_t *loop;
	struct tap_text text;
	const char *const *environment;
	enum tap_step step;
	int fd;				/* -1: none */
	uv_poll_t *poll;		/* of fd; freed by its close callback */
	uv_timer_t timer;		/* the next attempt, or the limit of this one */
	uv_getaddrinfo_t resolve;
	struct child *child;		/* of TAP_EXEC, until it ended */
	uint64_t delay;			/* the next pause */
	uint64_t since;			/* uv_now when it was opened */
	char reason[256];		/* why it was lost last; "": it never was */
	void (*stopped)(void *data);
	void *data;
	unsigned pending;		/* callbacks of libuv that need this object */
	bool freed;
	char buffer[READ_SIZE];
};

static void tap_open(uv_timer_t *timer);

/* The last callback after tap_free frees. */
static void settle(struct tap *tap)
{
	tap->pending--;
	if (tap->freed && tap->pending == 0)
		free(tap);
}

/* libuv is done with a poll. */
static void poll_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Closes the descriptor. */
static void drop(struct tap *tap)
{
	if (tap->poll) {
		uv_poll_stop(tap->poll);
		uv_close((uv_handle_t *)tap->poll, poll_closed);
		tap->poll = NULL;
	}
	if (tap->fd >= 0)
		close(tap->fd);
	tap->fd = -1;
}

/* It is not there, or no longer: says why, unless that was said already, and tries again later. */
static void tap_lost(struct tap *tap, const char *what, const char *why)
{
	char reason[sizeof(tap->reason)];

	if (tap->step == TAP_STOPPED)
		return;
	if (tap->step == TAP_OPEN && uv_now(tap->loop) - tap->since >= LASTING_MS) {
		tap->delay = RETRY_MS;
		tap->reason[0] = '\0';
	}
	drop(tap);
	child_free(tap->child);
	tap->child = NULL;
	snprintf(reason, sizeof(reason), "%s%s%s", what, *why ? ": " : "", why);
	if (strcmp(reason, tap->reason) != 0)
		poolfs_machine_log(tap->machine, "console: %s; it is tried again", reason);
	memcpy(tap->reason, reason, sizeof(reason));
	poolfs_machine_status(tap->machine, "console", "lost");
	tap->step = TAP_WAITING;
	uv_timer_start(&tap->timer, tap_open, tap->delay, 0);
	tap->delay = 2 * tap->delay < RETRY_MAX_MS ? 2 * tap->delay : RETRY_MAX_MS;
}

/* Nothing more comes. A command that closed its terminal is to end, and then says how. */
static void at_end(struct tap *tap, const char *why)
{
	if (!tap->child) {
		tap_lost(tap, "it was closed", why);
		return;
	}
	uv_poll_stop(tap->poll);
	child_stop(tap->child, SIGTERM, STOP_MS);
}

/* Bytes came, or the end. One piece for each turn of the loop: others want theirs. */
static void take(struct tap *tap)
{
	ssize_t size = read(tap->fd, tap->buffer, sizeof(tap->buffer));

	if (size > 0)
		poolfs_machine_console(tap->machine, tap->buffer, (size_t)size);
	else if (size == 0)
		at_end(tap, "");
	else if (errno != EAGAIN && errno != EINTR)
		/* EIO is how a terminal says that nobody has its other end any more. */
		at_end(tap, errno == EIO ? "" : strerror(errno));
}

/* The descriptor is ready. */
static void ready(uv_poll_t *poll, int status, int events)
{
	struct tap *tap = poll->data;

	take(tap);
}

/* It is open. */
static void opened(struct tap *tap)
{
	uv_timer_stop(&tap->timer);
	tap->step = TAP_OPEN;
	tap->since = uv_now(tap->loop);
	poolfs_machine_status(tap->machine, "console", "connected");
	uv_poll_start(tap->poll, UV_READABLE, ready);
}

/* Takes a descriptor over, to be polled. */
static int watch(struct tap *tap, int fd)
{
	uv_poll_t *poll = memory_new(sizeof(*poll));
	int result = uv_poll_init(tap->loop, poll, fd);

	if (result < 0) {
		free(poll);
		close(fd);
		return result;
	}
	tap->fd = fd;
	tap->poll = poll;
	poll->data = tap;
	return 0;
}

/* Makes a terminal pass every byte as it is. speed B0: as it is. */
static int make_raw(int fd, speed_t speed)
{
	struct termios mode;

	if (tcgetattr(fd, &mode) < 0)
		return -errno;
	cfmakeraw(&mode);
	mode.c_cflag |= CLOCAL | CREAD;
	mode.c_cflag &= ~(tcflag_t)(HUPCL | CRTSCTS);
	if (speed != B0 && cfsetspeed(&mode, speed) < 0)
		return -errno;
	return tcsetattr(fd, TCSANOW, &mode) < 0 ? -errno : 0;
}

/* Opens a serial device. */
static void open_device(struct tap *tap)
{
	int fd = open(tap->text.path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	int result = fd < 0 ? -errno : make_raw(fd, tap->text.speed);

	if (result < 0) {
		if (fd >= 0)
			close(fd);
		tap_lost(tap, tap->text.path, strerror(-result));
		return;
	}
	/* Two readers would share its bytes. */
	ioctl(fd, TIOCEXCL);
	result = watch(tap, fd);
	if (result < 0)
		tap_lost(tap, tap->text.path, uv_strerror(result));
	else
		opened(tap);
}

/* The command's messages go to the log. */
static void command_says(void *data, const void *bytes, size_t size)
{
	struct tap *tap = data;

	poolfs_machine_log_bytes(tap->machine, bytes, size);
}

/* The command ended; what it had written is taken first. */
static void command_ended(void *data, int status, int signal)
{
	struct tap *tap = data;
	char how[64];
	ssize_t size;

	child_free(tap->child);
	tap->child = NULL;
	if (tap->step == TAP_STOPPED) {
		tap->stopped(tap->data);
		return;
	}
	for (int i = 0; i < 16 && (size = read(tap->fd, tap->buffer, sizeof(tap->buffer))) > 0; i++)
		poolfs_machine_console(tap->machine, tap->buffer, (size_t)size);
	child_describe(how, sizeof(how), status, signal);
	tap_lost(tap, "its command", how);
}

/* Makes a terminal: its master, not blocking, and in *other its other end. */
static int make_terminal(int *other)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	char name[64];
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), result;

	if (fd < 0)
		return -errno;
	*other = -1;
	if (grantpt(fd) == 0 && unlockpt(fd) == 0 && ptsname_r(fd, name, sizeof(name)) == 0 &&
		fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
		*other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	result = *other < 0 ? -errno : make_raw(*other, B0);
	if (result == 0) {
		ioctl(fd, TIOCSWINSZ, &size);
		return fd;
	}
	if (*other >= 0)
		close(*other);
	close(fd);
	return result;
}

/* Starts the command. */
static void open_command(struct tap *tap)
{
	const char *const words[] = { "/bin/sh", "-c", tap->text.command, NULL };
	struct child_options options = { .argv = words,
		.environment = tap->environment, .output = command_says,
		.exited = command_ended, .data = tap };
	struct poolfs_err err = { "" };
	int fd = make_terminal(&options.stream);

	if (fd < 0) {
		tap_lost(tap, "there is no terminal for its command", strerror(-fd));
		return;
	}
	int result = child_start(tap->loop, &options, &tap->child, &err);
	close(options.stream);
	if (result < 0) {
		close(fd);
		tap_lost(tap, err.text, "");
		return;
	}
	result = watch(tap, fd);
	if (result < 0)
		tap_lost(tap, "its terminal", uv_strerror(result));
	else
		opened(tap);
}

/* The server answered, or did not. */
static void connected(uv_poll_t *poll, int status, int events)
{
	struct tap *tap = poll->data;
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(tap->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error)
		tap_lost(tap, "cannot connect", strerror(error));
	else
		opened(tap);
}

/* Connecting takes too long. */
static void connect_limit(uv_timer_t *timer)
{
	tap_lost(timer->data, "cannot connect", strerror(ETIMEDOUT));
}

/* Connects to an address. */
static int connect_to(struct tap *tap, const struct addrinfo *address)
{
	int on = 1;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* A server that went away without a word is noticed. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS) {
		int result = -errno;
		close(fd);
		return result;
	}
	int result = watch(tap, fd);
	if (result < 0)
		return result;
	tap->step = TAP_CONNECTING;
	uv_timer_start(&tap->timer, connect_limit, CONNECT_MS, 0);
	return uv_poll_start(tap->poll, UV_WRITABLE, connected);
}

/* The name is known, or not. */
static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
	struct tap *tap = request->data;

	if (tap->step == TAP_RESOLVING) {
		int result = status < 0 ? status : UV_EAI_NONAME;

		for (struct addrinfo *at = addresses; at && result < 0; at = at->ai_next)
			result = connect_to(tap, at);
		if (result < 0)
			tap_lost(tap, tap->text.target.host, uv_strerror(result));
	}
	uv_freeaddrinfo(addresses);
	settle(tap);
}

/* The look-up takes too long. */
static void resolve_limit(uv_timer_t *timer)
{
	struct tap *tap = timer->data;

	tap_lost(tap, tap->text.target.host, "the name is looked up for too long");
}

/* Looks the server up. A look-up that is under way cannot be stopped: one that outlasted its attempt
 * answers a later one. */
static void open_socket(struct tap *tap)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	char service[8];

	tap->step = TAP_RESOLVING;
	uv_timer_start(&tap->timer, resolve_limit, RESOLVE_MS, 0);
	if (tap->pending > 1)
		return;
	snprintf(service, sizeof(service), "%u", tap->text.target.port);
	tap->resolve.data = tap;
	int result = uv_getaddrinfo(tap->loop, &tap->resolve, resolved, tap->text.target.host,
		service, &hints);
	if (result < 0)
		tap_lost(tap, tap->text.target.host, uv_strerror(result));
	else
		tap->pending++;
}

/* Time for an attempt. */
static void tap_open(uv_timer_t *timer)
{
	static void (*const kinds[])(struct tap *tap) = {
		[TAP_EXEC] = open_command,
		[TAP_DEVICE] = open_device,
		[TAP_TCP] = open_socket,
	};
	struct tap *tap = timer->data;

	kinds[tap->text.kind](tap);
}

/* Begins. */
struct tap *tap_new(struct poolfs_machine *machine, const char *text,
	const char *const *environment)
{
	struct tap *tap = memory_new(sizeof(*tap));

	tap->machine = machine;
	tap->loop = poolfs_machine_loop(machine);
	tap->environment = environment;
	tap->fd = -1;
	tap->delay = RETRY_MS;
	tap_text_read(text, &tap->text, NULL);
	tap->pending = 1;
	uv_timer_init(tap->loop, &tap->timer);
	tap->timer.data = tap;
	uv_timer_start(&tap->timer, tap_open, 0, 0);
	return tap;
}

/* Types. */
int tap_write(struct tap *tap, const void *data, size_t size)
{
	if (tap->step != TAP_OPEN)
		return *tap->reason ? -ENOTCONN : 0;
	ssize_t count = write(tap->fd, data, size);
	if (count >= 0)
		return (int)count;
	/* The end of the other side is for the next read to find. */
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* Stops without a command to wait for. */
static void tell_stopped(uv_timer_t *timer)
{
	struct tap *tap = timer->data;

	tap->stopped(tap->data);
}

/* Stops. */
void tap_stop(struct tap *tap, void (*stopped)(void *data), void *data)
{
	tap->step = TAP_STOPPED;
	tap->stopped = stopped;
	tap->data = data;
	uv_timer_stop(&tap->timer);
	if (tap->child) {
		/* It keeps its terminal until it has ended: the signal comes first. */
		uv_poll_stop(tap->poll);
		child_stop(tap->child, SIGTERM, STOP_MS);
		return;
	}
	drop(tap);
	uv_timer_start(&tap->timer, tell_stopped, 0, 0);
}

/* The timer is closed. */
static void timer_closed(uv_handle_t *handle)
{
	settle(handle->data);
}

/* Frees. */
void tap_free(struct tap *tap)
{
	if (!tap)
		return;
	tap->step = TAP_STOPPED;
	tap->freed = true;
	drop(tap);
	child_free(tap->child);
	tap->child = NULL;
	if (tap->pending > 1)
		uv_cancel((uv_req_t *)&tap->resolve);
	uv_close((uv_handle_t *)&tap->timer, timer_closed);
}
