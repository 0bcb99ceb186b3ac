/* SPDX-License-Identifier: MIT */
#include "backends/shim/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/protocol/frame.h"
#include "backends/shim/shim.h"

/* With so much waiting, notices are held back and joined: the newest tells all. */
#define CONGESTED (1024u * 1024u)
#define ACCEPT_AGAIN_MS 1000

/* One row per frame that a daemon may send. */
struct frame_rule {
	int (*take)(struct shim *shim, uint64_t id, const void *payload, size_t size);
	uint32_t least, most;	/* size of the payload */
	bool id;		/* has an id, not 0 */
};

/* The daemon's first frame; the answer is all that is known. */
static int take_hello(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	const struct frame_hello *hello = payload;

	if (shim->daemon.greeted)
		return -EPROTO;
	if (hello->version != PROTOCOL_VERSION) {
		journal_printf(shim, "the daemon speaks version %u of the protocol, not %u",
			hello->version, PROTOCOL_VERSION);
		return -EPROTO;
	}
	shim->daemon.greeted = true;
	life_tell(shim);
	status_tell(shim, true);
	sink_tell(&shim->console.spool, true);
	sink_tell(&shim->journal.spool, true);
	crashes_tell_all(shim);
	if (shim->quiet.is)
		quiet_tell(shim);
	commands_tell_all(shim);
	forwards_tell(shim, true);
	return 0;
}

/* The end of the machine. */
static int take_stop(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	shim_stop(shim);
	return 0;
}

/* Input for the console. */
static int take_console_input(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	console_input(shim, payload, size);
	return 0;
}

/* Whether a key goes with SysRq. */
static bool is_sysrq_key(uint32_t key)
{
	return (key >= 'a' && key <= 'z') || (key >= '0' && key <= '9');
}

/* Something is to be done to the machine. */
static int take_machine(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	const struct frame_machine *frame = payload;

	if (frame->verb >= MACHINE_VERBS ||
		(frame->verb == MACHINE_SYSRQ ? !is_sysrq_key(frame->key) : frame->key != 0))
		return -EPROTO;
	if (frame->verb == MACHINE_SYSRQ)
		life_sysrq(shim, (char)frame->key);
	else
		life_nmi(shim);
	return 0;
}

static const struct frame_rule rules[] = {
	[FRAME_HELLO] = { take_hello, sizeof(struct frame_hello), sizeof(struct frame_hello) },
	[FRAME_STOP] = { take_stop },
	[FRAME_MACHINE] = { take_machine, sizeof(struct frame_machine),
		sizeof(struct frame_machine) },
	[FRAME_VERB] = { verbs_add, sizeof(struct frame_verb) + 1,
		sizeof(struct frame_verb) + PROTOCOL_VERB_MAX + PROTOCOL_ARGUMENT_MAX },
	[FRAME_RUN_SETUP] = { commands_prepare, sizeof(struct frame_run_setup),
		sizeof(struct frame_run_setup) + PROTOCOL_ENVIRONMENT_MAX + PROTOCOL_CWD_MAX, true },
	[FRAME_RUN_INPUT] = { commands_input, 0, PROTOCOL_INPUT_WINDOW, true },
	[FRAME_RUN_EOF] = { commands_eof, 0, 0, true },
	[FRAME_RUN_SIGNAL] = { commands_signal, sizeof(struct frame_run_signal),
		sizeof(struct frame_run_signal), true },
	[FRAME_RUN_RESIZE] = { commands_resize, sizeof(struct frame_run_resize),
		sizeof(struct frame_run_resize), true },
	[FRAME_RUN_KEEP] = { commands_keep, sizeof(struct frame_run_keep),
		sizeof(struct frame_run_keep), true },
	[FRAME_RUN_TRANSCRIPT] = { commands_transcript, 0, 0, true },
	[FRAME_RUN] = { commands_add, 1, PROTOCOL_COMMAND_MAX, true },
	[FRAME_RUN_STOP] = { commands_stop, 0, 0, true },
	[FRAME_RUN_FORGET] = { commands_forget, 0, 0, true },
	[FRAME_CONSOLE_INPUT] = { take_console_input, 0, PROTOCOL_PAYLOAD_MAX },
	[FRAME_FILE] = { requests_add, sizeof(struct file_request), PROTOCOL_PAYLOAD_MAX, true },
	[FRAME_FILE_SLOT] = { requests_add_slot, sizeof(struct frame_slot) + sizeof(struct file_request),
		PROTOCOL_PAYLOAD_MAX, true },
	[FRAME_CANCEL] = { requests_cancel, 0, 0, true },
	[FRAME_FORWARD] = { forwards_add, sizeof(struct frame_forward) + 1,
		sizeof(struct frame_forward) + PROTOCOL_FORWARD_NAME_MAX +
			2 * PROTOCOL_FORWARD_PATH_MAX, true },
	[FRAME_FORWARD_END] = { forwards_remove, 0, 0, true },
};

/* A frame came. */
static int daemon_frame(void *data, const struct frame_header *header, const void *payload)
{
	struct shim *shim = data;

	if (header->type >= sizeof(rules) / sizeof(*rules) || !rules[header->type].take)
		return -EPROTO;
	const struct frame_rule *rule = &rules[header->type];
	if (header->size < rule->least || header->size > rule->most)
		return -EPROTO;
	if (rule->id != (header->id != 0))
		return -EPROTO;
	if (!shim->daemon.greeted && header->type != FRAME_HELLO)
		return -EPROTO;
	return rule->take(shim, header->id, payload, header->size);
}

/* Nobody is connected any more. */
static void daemon_drop(struct shim *shim)
{
	frame_link_free(shim->daemon.link);
	shim->daemon.link = NULL;
	shim->daemon.greeted = shim->daemon.paused = false;
	requests_drop(shim);
	commands_drop(shim);
}

/* The daemon went, or broke the protocol. */
static void daemon_closed(void *data, int reason)
{
	struct shim *shim = data;

	if (reason < 0)
		journal_printf(shim, "the connection to the daemon ended: %s", strerror(-reason));
	daemon_drop(shim);
}

static const struct frame_link_events daemon_events = {
	.frame = daemon_frame,
	.closed = daemon_closed,
};

/* Waits a moment where accept would only fail again. */
static void daemon_again(uv_timer_t *timer);

/* Serves a daemon that has connected. */
static void daemon_serve(struct shim *shim, int fd)
{
	struct frame_hello hello = { .version = PROTOCOL_VERSION, .pid = getpid() };
	struct iovec part = { &hello, sizeof(hello) };

	shim->daemon.link = frame_link_new(shim->loop, fd, &daemon_events, shim);
	frame_link_send(shim->daemon.link, FRAME_HELLO, 0, &part, 1);
}

/* A daemon connects: the one before is out. */
static void daemon_accept(uv_poll_t *poll, int status, int events)
{
	struct shim *shim = poll->data;
	int fd = accept4(shim->daemon.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		journal_printf(shim, "cannot accept a daemon: %s", strerror(errno));
		uv_poll_stop(poll);
		uv_timer_start(&shim->daemon.again, daemon_again, ACCEPT_AGAIN_MS, 0);
		return;
	}
	if (shim->daemon.link)
		daemon_drop(shim);
	daemon_serve(shim, fd);
}

/* Accepts again. */
static void daemon_again(uv_timer_t *timer)
{
	struct daemon *daemon = &((struct shim *)timer->data)->daemon;

	uv_poll_start(&daemon->listener, UV_READABLE, daemon_accept);
}

/* Listens, and serves the first. */
void daemon_init(struct shim *shim, int listener, int connection)
{
	struct daemon *daemon = &shim->daemon;

	if (connection >= 0)
		daemon_serve(shim, connection);
	daemon->fd = listener;
	daemon->listener.data = daemon->again.data = shim;
	uv_timer_init(shim->loop, &daemon->again);
	fcntl(listener, F_SETFD, FD_CLOEXEC);
	int result = uv_poll_init(shim->loop, &daemon->listener, listener);
	if (result == 0) {
		uv_poll_start(&daemon->listener, UV_READABLE, daemon_accept);
		return;
	}
	journal_printf(shim, "the listening socket cannot be used: %s", uv_strerror(result));
	daemon->fd = -1;
}

/* Sends. */
int daemon_send(struct shim *shim, enum frame_type type, uint64_t id, const void *head,
	size_t head_size, const void *rest, size_t rest_size)
{
	struct iovec parts[] = { { (void *)head, head_size }, { (void *)rest, rest_size } };

	if (!shim->daemon.greeted)
		return 0;
	int result = frame_link_send(shim->daemon.link, type, id, parts, rest_size > 0 ? 2 : 1);
	return result == -EMSGSIZE ? result : 0;
}

/* Pauses. */
void daemon_pause(struct shim *shim, bool pause)
{
	if (!shim->daemon.link || shim->daemon.paused == pause)
		return;
	shim->daemon.paused = pause;
	frame_link_pause(shim->daemon.link, pause);
}

/* Whether notices go out. */
bool daemon_listens(const struct shim *shim)
{
	return shim->daemon.greeted && frame_link_queued(shim->daemon.link) < CONGESTED;
}

/* The listening socket may be closed when libuv no longer looks at it. */
static void daemon_listener_closed(uv_handle_t *handle)
{
	close(((struct shim *)handle->data)->daemon.fd);
}

/* Ends the connection, and accepts no other. */
void daemon_close(struct shim *shim)
{
	struct daemon *daemon = &shim->daemon;

	frame_link_free(daemon->link);
	daemon->link = NULL;
	daemon->greeted = false;
	uv_close((uv_handle_t *)&daemon->again, NULL);
	if (daemon->fd >= 0)
		uv_close((uv_handle_t *)&daemon->listener, daemon_listener_closed);
}
