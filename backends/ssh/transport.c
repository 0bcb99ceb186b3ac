/* SPDX-License-Identifier: MIT */
/*
 * The SSH transport: puts the parts together and gives each its turn.
 *
 * Everything happens on one idle callback of the loop, the turn: calls from outside and
 * events of the socket only note what they bring and ask for a turn. So many requests
 * that come in one round of the loop leave in one write, and a callback to the user never
 * comes from inside a call of his. What the user does in a callback, up to freeing the
 * transport, is again only noted until the turn is over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/shellfiles/shellfiles.h"
#include "backends/ssh/connection.h"
#include "backends/ssh/control.h"
#include "backends/ssh/files.h"
#include "backends/ssh/forward.h"
#include "backends/ssh/hostkey.h"
#include "backends/ssh/lanes.h"
#include "backends/ssh/sftp.h"
#include "backends/transport.h"

#define CLOCK_MS 500u

enum state { STATE_DOWN, STATE_CONNECTING, STATE_UP };

struct transport {
	uv_loop_t *loop;
	const struct transport_events *events;
	void *data;
	enum state state;
	uv_idle_t turn;
	uv_timer_t clock;
	uv_timer_t retry;		/* of a channel that was refused */
	unsigned open_handles;		/* of the three above */
	bool busy;			/* in a turn */
	bool freed;
	bool ending;			/* runs and requests are being told */
	bool dropped;			/* the end was asked for: `down` is not told */
	bool again;			/* connect was called before the end was over */
	char *user, *key, *directory;
	uint64_t keepalive;		/* milliseconds */
	struct hostkey hostkey;
	struct connection main;
	struct lanes lanes;
	struct control control;
	struct sftp sftp;
	struct files files;
	struct shellfiles *shell;	/* files/ without SFTP; NULL: not to be used */
	bool by_shell;			/* only so */
	struct forwards forwards;
};

static void begin(struct transport *transport);

/* Asks for a turn. */
static void wake(void *data);

/* Passes a message on. */
static void pass_log(void *data, const char *message)
{
	struct transport *transport = data;

	transport->events->log(transport->data, message);
}

/* Passes a line of the status on. */
static void pass_status(void *data, const char *key, const char *value)
{
	struct transport *transport = data;

	transport->events->status(transport->data, key, value);
}

/* Sets all parts' clocks. */
static void set_clocks(struct transport *transport)
{
	uint64_t now = uv_now(transport->loop);

	connection_set_clocks(&transport->main);
	transport->lanes.now = now;
	transport->control.now = now;
	transport->sftp.now = now;
	transport->forwards.now = now;
}

/* Commands work. */
static void go_up(struct transport *transport)
{
	login_enter(&transport->main.login, LOGIN_DONE);
	transport->state = STATE_UP;
	if (transport->shell)
		shellfiles_begin(transport->shell);
	if (transport->by_shell)
		sftp_refuse(&transport->sftp);
	else
		transport->main.channels.want_files = CHANNELS_WANTED;
	lanes_begin(&transport->lanes);
	transport->main.asked = uv_now(transport->loop);
	transport->events->up(transport->data);
}

/* One round: everyone takes what is there. True when anything moved. */
static bool serve_once(void *data)
{
	struct transport *transport = data;
	struct session *session = &transport->main.session;
	bool moved = false;

	connection_take(&transport->main);
	moved |= control_turn(&transport->control);
	if (transport->state == STATE_CONNECTING && transport->main.channels.spare &&
		transport->control.settled)
		go_up(transport);
	if (transport->state == STATE_UP && !session->lost) {
		moved |= sftp_turn(&transport->sftp);
		moved |= exec_turn(&transport->main.exec);
		moved |= forward_turn(&transport->forwards);
	}
	return moved;
}

/* Ends the connection: runs, requests, then `down`. */
static void end(struct transport *transport)
{
	struct session *session = &transport->main.session;
	bool tell = !transport->dropped;

	transport->state = STATE_DOWN;
	transport->dropped = false;
	transport->ending = true;
	uv_timer_stop(&transport->clock);
	uv_timer_stop(&transport->retry);
	if (transport->shell)
		shellfiles_lose(transport->shell, session->error);
	lanes_lose(&transport->lanes);
	exec_lose(&transport->main.exec);
	control_lose(&transport->control);
	files_lose(&transport->files, session->error);
	sftp_done(&transport->sftp);
	forward_lose(&transport->forwards);
	connection_end(&transport->main);
	transport->ending = false;
	if (transport->again && !transport->freed)
		begin(transport);
	else if (tell && !transport->freed)
		transport->events->down(transport->data, session->fatal, session->reason);
}

/* Closes the loop's handles; the last one frees. */
static void handle_closed(uv_handle_t *handle)
{
	struct transport *transport = handle->data;

	if (--transport->open_handles)
		return;
	text_done(&transport->hostkey.pinned);
	free(transport->user);
	free(transport->key);
	free(transport->directory);
	free(transport);
}

/* Frees everything, without callbacks. */
static void destroy(struct transport *transport)
{
	transport->main.session.lost = true;
	lanes_done(&transport->lanes);
	exec_done(&transport->main.exec);
	control_free(&transport->control);
	files_done(&transport->files);
	sftp_done(&transport->sftp);
	forward_done(&transport->forwards);
	connection_end(&transport->main);
	uv_close((uv_handle_t *)&transport->turn, handle_closed);
	uv_close((uv_handle_t *)&transport->clock, handle_closed);
	uv_close((uv_handle_t *)&transport->retry, handle_closed);
}

/* It is time to ask for a channel again. */
static void retry(uv_timer_t *timer)
{
	wake(timer->data);
}

/* Sets the alarm for that. */
static void set_retry(struct transport *transport)
{
	uint64_t now = uv_now(transport->loop), at = transport->main.channels.retry_at;

	if (transport->main.channels.refused)
		uv_timer_start(&transport->retry, retry, at > now ? at - now : 1, 0);
}

/* Moves a connection on. */
static void turn_connection(struct transport *transport)
{
	struct session *session = &transport->main.session;

	set_clocks(transport);
	if (connection_login(&transport->main))
		control_begin(&transport->control);
	if (transport->main.login.step >= LOGIN_SESSION)
		connection_serve(&transport->main, serve_once, transport);
	forward_wait(&transport->forwards);
	if (transport->state == STATE_UP)
		lanes_turn(&transport->lanes);
	set_retry(transport);
	files_turn(&transport->files);
	connection_flush(&transport->main);
	if (session->lost)
		end(transport);
}

/* The turn. */
static void turn(uv_idle_t *idle)
{
	struct transport *transport = idle->data;

	uv_idle_stop(idle);
	transport->busy = true;
	if (transport->state != STATE_DOWN) {
		turn_connection(transport);
	} else {
		exec_lose(&transport->main.exec);
		files_turn(&transport->files);
	}
	transport->busy = false;
	if (transport->freed)
		destroy(transport);
}

/* Asks for a turn. */
static void wake(void *data)
{
	struct transport *transport = data;

	if (!uv_is_closing((uv_handle_t *)&transport->turn))
		uv_idle_start(&transport->turn, turn);
}

/* Asks a silent machine for a sign of life. libssh2's way is used only where neither SFTP nor the
 * control shell can: it keeps every answer in memory, and gives the next forward that one. */
static void keep_alive(struct transport *transport)
{
	struct session *session = &transport->main.session;
	uint64_t now = uv_now(transport->loop), silent = now - wire_heard(session->wire);
	int next;

	if (silent >= 2 * transport->keepalive)
		return session_lose(session, false, "nothing was heard from the machine for %u "
			"seconds", (unsigned)(silent / 1000));
	if (silent < transport->keepalive || now - transport->main.asked < transport->keepalive / 2)
		return;
	transport->main.asked = now;
	if (transport->sftp.state == SFTP_READY && !transport->sftp.outstanding) {
		sftp_ping(&transport->sftp);
	} else if (!control_ping(&transport->control)) {
		session->unclear = true;
		libssh2_keepalive_send(session->ssh, &next);
	}
	wake(transport);
}

/* Looks at the limits. */
static void tick(uv_timer_t *timer)
{
	struct transport *transport = timer->data;

	if (transport->state == STATE_DOWN || transport->main.session.lost)
		return;
	set_clocks(transport);
	login_clock(&transport->main.login);
	if (transport->main.login.step >= LOGIN_SESSION)
		control_clock(&transport->control);
	if (transport->state == STATE_UP) {
		sftp_clock(&transport->sftp);
		exec_clock(&transport->main.exec);
		lanes_clock(&transport->lanes);
		forward_clock(&transport->forwards);
		keep_alive(transport);
	}
}

/* Begins a connection to the address that is set. */
static void begin(struct transport *transport)
{
	transport->again = false;
	transport->state = STATE_CONNECTING;
	transport->files.connected = true;
	uv_timer_start(&transport->clock, tick, CLOCK_MS, CLOCK_MS);
	set_clocks(transport);
	connection_begin(&transport->main);
}

/* .connect */
static void transport_connect(struct transport *transport, const struct poolfs_address *address)
{
	transport->hostkey.host = address->host;
	transport->hostkey.port = address->port;
	transport->hostkey.known_hosts = address->known_hosts;
	transport->main.exec.directory = transport->sftp.directory =
		address->directory ? address->directory : transport->directory;
	transport->hostkey.accept_new = address->accept_new;
	transport->main.proxy = address->proxy;
	transport->main.proxy_environment = address->proxy_environment;
	transport->main.login.user = address->user ? address->user : transport->user;
	if (transport->state == STATE_DOWN && !transport->ending)
		begin(transport);
	else
		transport->again = true;
}

/* .disconnect */
static void transport_disconnect(struct transport *transport)
{
	transport->again = false;
	if (transport->state == STATE_DOWN)
		return;
	transport->dropped = true;
	session_lose(&transport->main.session, false, "disconnected");
}

/* SFTP is there, or known to be absent. */
static void sftp_ready(void *data)
{
	struct transport *transport = data;

	files_ready(&transport->files);
}

/* What the work by shell commands tells. */
static const struct shellfiles_events shell_events = { .log = pass_log, .status = pass_status };

/* Copies the settings. */
static int read_values(struct transport *transport, const struct poolfs_values *values,
	struct poolfs_err *err)
{
	transport->user = memory_string(poolfs_string(values, "ssh_user"));
	transport->key = memory_string(poolfs_string(values, "ssh_key"));
	transport->directory = memory_string(poolfs_string(values, "files"));
	transport->keepalive = (uint64_t)poolfs_number(values, "ssh_keepalive");
	if (transport->directory && !*transport->directory) {
		free(transport->directory);
		transport->directory = NULL;
	}
	if (!transport->user || !*transport->user)
		return poolfs_err_set(err, -EINVAL, "ssh_user is empty");
	if (transport->directory && strpbrk(transport->directory, "\n\r"))
		return poolfs_err_set(err, -EINVAL, "files: a directory on one line is needed");
	return 0;
}

/* Makes the parts. */
static void init_parts(struct transport *transport)
{
	struct session *session = &transport->main.session;

	session->wake = wake;
	session->log = pass_log;
	session->status = pass_status;
	session->data = transport;
	connection_init(&transport->main, transport->loop);
	transport->main.login.hostkey = &transport->hostkey;
	transport->main.login.user = transport->user;
	transport->main.login.key = transport->key;
	sftp_init(&transport->sftp, session, &transport->main.channels, transport->directory);
	transport->sftp.ready = sftp_ready;
	transport->sftp.data = transport;
	files_init(&transport->files, session, &transport->sftp);
	transport->files.instead = transport->shell;
	control_init(&transport->control, session, &transport->main.channels);
	transport->main.exec.control = &transport->control;
	transport->main.exec.directory = transport->directory;
	lanes_init(&transport->lanes, &transport->main, transport->keepalive);
	forward_init(&transport->forwards, transport->loop, session, &transport->main.channels);
}

/* .new */
static int transport_new(struct uv_loop_s *loop, const struct poolfs_values *values,
	const struct transport_events *events, void *data, struct transport **result,
	struct poolfs_err *err)
{
	struct transport *transport = memory_new(sizeof(*transport));
	int error = libssh2_init(0) ? poolfs_err_set(err, -ENOMEM, "libssh2 does not start") :
				      read_values(transport, values, err);

	if (error) {
		free(transport->user);
		free(transport->key);
		free(transport->directory);
		free(transport);
		return error;
	}
	transport->loop = loop;
	transport->events = events;
	transport->data = data;
	const char *by = poolfs_string(values, "files_by");
	transport->by_shell = by && !strcmp(by, "shell");
	if (!by || strcmp(by, "sftp") != 0)
		transport->shell = shellfiles_new(loop, &ssh_transport, transport, &shell_events, transport);
	transport->open_handles = 3;
	uv_idle_init(loop, &transport->turn);
	uv_timer_init(loop, &transport->clock);
	uv_timer_init(loop, &transport->retry);
	transport->turn.data = transport;
	transport->clock.data = transport;
	transport->retry.data = transport;
	init_parts(transport);
	*result = transport;
	return 0;
}

/* .free */
static void transport_free(struct transport *transport)
{
	if (!transport || transport->freed)
		return;
	transport->freed = true;
	transport->main.session.muted = true;
	shellfiles_free(transport->shell);
	transport->files.instead = transport->shell = NULL;
	lanes_mute(&transport->lanes);
	session_lose(&transport->main.session, false, "freed");
	if (!transport->busy)
		destroy(transport);
}

/* .run */
static struct transport_run *transport_run(struct transport *transport,
	const struct transport_command *command, const struct transport_run_events *events, void *data)
{
	return exec_add(&transport->main.exec, command, events, data);
}

/* .file */
static void transport_file(struct transport *transport, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	files_add(&transport->files, key, call, done, data);
}

/* .file_cancel */
static void transport_file_cancel(struct transport *transport, uint64_t key)
{
	files_cancel(&transport->files, key);
	if (transport->shell)
		shellfiles_cancel(transport->shell, key);
}

/* .forward_listen */
static struct transport_forward *transport_listen(struct transport *transport,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	return forward_listen(&transport->forwards, place, events, data);
}

/* .forward_reach */
static struct transport_forward *transport_reach(struct transport *transport,
	const struct sockets_place *place, const struct transport_forward_events *events, void *data)
{
	return forward_reach(&transport->forwards, place, events, data);
}

const struct transport_ops ssh_transport = {
	.name = "ssh",
	.new = transport_new,
	.free = transport_free,
	.connect = transport_connect,
	.disconnect = transport_disconnect,
	.run = transport_run,
	.run_input = exec_input,
	.run_eof = exec_eof,
	.run_more = exec_more,
	.run_signal = exec_signal,
	.run_await_all = exec_await_all,
	.run_resize = exec_resize,
	.run_abandon = exec_abandon,
	.file = transport_file,
	.file_cancel = transport_file_cancel,
	.forward_listen = transport_listen,
	.forward_reach = transport_reach,
	.forward_carry = forward_carry,
	.forward_end = forward_end,
};
