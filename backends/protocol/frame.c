/* SPDX-License-Identifier: MIT */
/*
 * The input buffer holds the beginning of a frame at its own beginning, which is aligned, as soon
 * as a frame does not fit whole: the rest of a large one is then read to its place without a copy.
 * Of several frames in one piece the later ones may be unaligned; their payload is copied to
 * `scratch`. So no byte is copied more than once, and mostly not at all.
 *
 * A link is closed by its owner (frame_link_free) or closes itself (link_fail); both end in
 * link_gone, which frees or tells the owner, always from the loop.
 */
#include "backends/protocol/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"

/* What an idle link keeps; enough for the kernel's usual read of 128 KiB. */
#define BUFFER_KEPT (192u * 1024u)
#define PARTS_MAX 8
/* The socket is asked to take so many bytes at once (it doubles that, up to a limit of the kernel's): what it does
 * not take of a large frame is copied once more. */
#define SOCKET_BUFFER 1048576
/* So many bytes of late frames go at once. */
#define LATE_MAX 4096u
/* So many in a row must have been followed soon by another frame before one waits. */
#define LATE_FOLLOWED 4u

enum link_state {
	LINK_OPEN,
	LINK_DRAINING,	/* sending failed: what the peer sent before is still read, to its end */
	LINK_CLOSING,	/* uv_close was called */
	LINK_CLOSED,	/* the owner was told; only frame_link_free is left */
};

struct frame_link {
	uv_pipe_t pipe;
	uv_timer_t resume;	/* delivers, after a pause, what was read before it */
	uv_timer_t hurry;	/* sends late frames that no other one took along */
	unsigned handles;	/* of the three above, those that are not closed */
	bool paused;
	const struct frame_link_events *events;	/* NULL: freed by the owner */
	void *data;
	enum link_state state;
	int reason;		/* for `closed` */
	char *buffer;		/* capacity bytes, of which start..end wait to be taken apart */
	size_t capacity, start, end;
	char *scratch;		/* scratch_size bytes, for unaligned payloads */
	size_t scratch_size;
	size_t queued, writes;	/* bytes and requests that libuv holds for us */
	struct text late;	/* frames that go with the next one */
	uint64_t late_at;	/* when the first was sent that no other frame followed yet, in ms; 0: none */
	unsigned followed;	/* late frames in a row that another one followed soon */
};

/* A piece that the socket did not take at once. */
struct link_write {
	uv_write_t request;
	struct frame_link *link;
	size_t size;
	char bytes[];
};

/* A handle is closed; after the last one frees the link, or tells the owner, who frees it. */
static void link_gone(uv_handle_t *handle)
{
	struct frame_link *link = handle->data;

	if (--link->handles > 0)
		return;
	link->state = LINK_CLOSED;
	free(link->buffer);
	free(link->scratch);
	link->buffer = link->scratch = NULL;
	text_done(&link->late);
	if (link->events)
		link->events->closed(link->data, link->reason);
	else
		free(link);
}

/* Ends the connection from our side; `closed` follows with the first reason there was. */
static void link_fail(struct frame_link *link, int reason)
{
	if (link->state >= LINK_CLOSING)
		return;
	if (link->state == LINK_OPEN)
		link->reason = reason;
	link->state = LINK_CLOSING;
	uv_close((uv_handle_t *)&link->pipe, link_gone);
	uv_close((uv_handle_t *)&link->resume, link_gone);
	uv_close((uv_handle_t *)&link->hurry, link_gone);
}

/* Makes the buffer hold at least size bytes from its start on. */
static void buffer_reserve(struct frame_link *link, size_t size)
{
	size_t used = link->end - link->start;

	if (link->start > 0 && used > 0)
		memmove(link->buffer, link->buffer + link->start, used);
	link->start = 0;
	link->end = used;
	if (link->capacity < size || !link->buffer) {
		link->buffer = memory_grow(link->buffer, size);
		link->capacity = size;
	}
}

/* Gives libuv the place for the next bytes: at least one frame fits behind `start`. */
static void link_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct frame_link *link = container_of(handle, struct frame_link, pipe);
	size_t used = link->end - link->start, want = BUFFER_KEPT;

	if (used >= sizeof(struct frame_header)) {
		struct frame_header header;
		memcpy(&header, link->buffer + link->start, sizeof(header));
		if (sizeof(header) + header.size > want)
			want = sizeof(header) + header.size;
	}
	buffer_reserve(link, want);
	*out = uv_buf_init(link->buffer + link->end, (unsigned)(link->capacity - link->end));
}

/* The payload at an address that is aligned to 8. */
static const void *payload_aligned(struct frame_link *link, const char *payload, size_t size)
{
	if ((uintptr_t)payload % 8 == 0)
		return payload;
	if (size == 0)
		return link->buffer;
	if (link->scratch_size < size) {
		free(link->scratch);
		link->scratch = memory_new(size);
		link->scratch_size = size;
	}
	memcpy(link->scratch, payload, size);
	return link->scratch;
}

/* Delivers the frame at `start`: 1, 0 when it is not whole yet, or a negative errno. */
static int link_deliver(struct frame_link *link)
{
	struct frame_header header;
	size_t used = link->end - link->start;

	if (used < sizeof(header))
		return 0;
	memcpy(&header, link->buffer + link->start, sizeof(header));
	if (header.size > PROTOCOL_PAYLOAD_MAX || header.flags != 0)
		return -EPROTO;
	if (used < sizeof(header) + header.size)
		return 0;
	const void *payload = payload_aligned(link,
		link->buffer + link->start + sizeof(header), header.size);
	link->start += sizeof(header) + header.size;
	int result = link->events->frame(link->data, &header, payload);
	return result < 0 ? result : 1;
}

/* Gives back what one large frame needed. */
static void buffer_shrink(struct frame_link *link)
{
	if (link->start == link->end && link->capacity > BUFFER_KEPT) {
		free(link->buffer);
		link->buffer = NULL;
		link->capacity = link->start = link->end = 0;
	}
	if (link->scratch_size > BUFFER_KEPT) {
		free(link->scratch);
		link->scratch = NULL;
		link->scratch_size = 0;
	}
}

/* Delivers all whole frames, until the owner wants no more. */
static void link_deliver_all(struct frame_link *link)
{
	int result = 1;

	while (result > 0 && link->state < LINK_CLOSING && !link->paused)
		result = link_deliver(link);
	if (result < 0)
		link_fail(link, result);
	else if (link->state < LINK_CLOSING)
		buffer_shrink(link);
}

/* Bytes came, or the end. */
static void link_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *piece)
{
	struct frame_link *link = container_of(stream, struct frame_link, pipe);

	if (count == UV_EOF && link->end > link->start)
		count = -ECONNRESET;
	if (count < 0) {
		link_fail(link, count == UV_EOF ? 0 : (int)count);
		return;
	}
	link->end += (size_t)count;
	link_deliver_all(link);
}

/* The pause is over. */
static void link_resume(uv_timer_t *timer)
{
	struct frame_link *link = container_of(timer, struct frame_link, resume);

	link_deliver_all(link);
	if (link->state < LINK_CLOSING && !link->paused)
		uv_read_start((uv_stream_t *)&link->pipe, link_alloc, link_read);
}

/* Sending failed: reads what is left, so that a peer's last words are not lost, then ends. */
static void link_drain(struct frame_link *link, int reason)
{
	uv_os_fd_t fd;

	if (link->state != LINK_OPEN)
		return;
	frame_link_pause(link, false);
	link->state = LINK_DRAINING;
	link->reason = reason == -EPIPE ? 0 : reason;
	if (uv_fileno((uv_handle_t *)&link->pipe, &fd) < 0 || shutdown(fd, SHUT_RDWR) < 0)
		link_fail(link, reason);
}

/* Takes over a socket. */
struct frame_link *frame_link_new(struct uv_loop_s *loop, int fd,
	const struct frame_link_events *events, void *data)
{
	struct frame_link *link = memory_new(sizeof(*link));

	link->events = events;
	link->data = data;
	uv_pipe_init(loop, &link->pipe, 0);
	uv_timer_init(loop, &link->resume);
	uv_timer_init(loop, &link->hurry);
	link->pipe.data = link->resume.data = link->hurry.data = link;
	link->handles = 3;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){ SOCKET_BUFFER }, sizeof(int));
	int result = uv_pipe_open(&link->pipe, fd);
	if (result < 0)
		close(fd);
	else
		result = uv_read_start((uv_stream_t *)&link->pipe, link_alloc, link_read);
	if (result < 0)
		link_fail(link, result);
	return link;
}

/* Ends a link for its owner. */
void frame_link_free(struct frame_link *link)
{
	if (!link)
		return;
	if (link->state == LINK_CLOSED) {
		free(link);
		return;
	}
	link_fail(link, 0);
	link->events = NULL;
}

/* A waiting piece was sent, or never will be. */
static void link_written(uv_write_t *request, int status)
{
	struct link_write *piece = container_of(request, struct link_write, request);
	struct frame_link *link = piece->link;

	link->queued -= piece->size;
	link->writes--;
	free(piece);
	if (status < 0)
		link_drain(link, status);
}

/* Queues a copy of what comes behind the first `sent` bytes of the parts. */
static int link_queue(struct frame_link *link, const uv_buf_t *parts, int count, size_t total,
	size_t sent)
{
	/* Mostly large, and all of it is filled. */
	struct link_write *piece = memory_grow(NULL, sizeof(*piece) + total - sent);

	piece->link = link;
	piece->size = 0;
	for (int i = 0; i < count; i++) {
		size_t skip = sent < parts[i].len ? sent : parts[i].len;
		size_t left = parts[i].len - skip;
		if (left > 0)
			memcpy(piece->bytes + piece->size, parts[i].base + skip, left);
		piece->size += left;
		sent -= skip;
	}
	uv_buf_t whole = uv_buf_init(piece->bytes, (unsigned)piece->size);
	int result = uv_write(&piece->request, (uv_stream_t *)&link->pipe, &whole, 1, link_written);
	if (result < 0) {
		free(piece);
		return result;
	}
	link->queued += piece->size;
	link->writes++;
	return 0;
}

/* Sends header and payload, at once as far as the socket takes them. */
static int link_send(struct frame_link *link, const uv_buf_t *parts, int count, size_t total)
{
	int sent = 0;

	if (link->queued + link->writes * sizeof(struct link_write) > FRAME_QUEUE_MAX) {
		link_fail(link, -ENOBUFS);
		return -ENOBUFS;
	}
	if (link->writes == 0) {
		sent = uv_try_write((uv_stream_t *)&link->pipe, parts, (unsigned)count);
		if (sent == UV_EAGAIN)
			sent = 0;
	}
	if (sent >= 0 && (size_t)sent == total)
		return 0;
	int result = sent < 0 ? sent : link_queue(link, parts, count, total, (size_t)sent);
	if (result < 0) {
		link_drain(link, result);
		return -EPIPE;
	}
	return 0;
}

/* Sends the late frames, and behind them the parts. */
static int send_all(struct frame_link *link, uv_buf_t *parts, int count, size_t size)
{
	size_t late = link->late.size;
	int result;

	/* parts[-1] is kept free for them. */
	if (!late)
		return link_send(link, parts, count, size);
	parts[-1] = uv_buf_init(link->late.data, (unsigned)late);
	result = link_send(link, parts - 1, count + 1, size + late);
	text_consume(&link->late, late);
	uv_timer_stop(&link->hurry);
	return result;
}

/* A moment has passed. */
static void hurry(uv_timer_t *timer)
{
	struct frame_link *link = container_of(timer, struct frame_link, hurry);
	uv_buf_t late[1];

	link->followed = 0;
	if (link->state == LINK_OPEN && link->late.size)
		send_all(link, late + 1, 0, 0);
}

/* A frame is sent that somebody waits for. */
static void follow(struct frame_link *link)
{
	if (!link->late_at)
		return;
	bool soon = uv_now(link->pipe.loop) - link->late_at <= FRAME_LATE_MS;
	link->followed = soon ? link->followed + 1 : 0;
	link->late_at = 0;
}

/* Fills in header and buffers; the size of all of them, or a negative errno. */
static ssize_t make_frame(const struct frame_link *link, struct frame_header *header,
	const struct iovec *parts, int count, uv_buf_t *all)
{
	size_t size = 0;

	if (link->state != LINK_OPEN)
		return -EPIPE;
	if (count < 0 || count > PARTS_MAX)
		return -EMSGSIZE;
	all[0] = uv_buf_init((char *)header, sizeof(*header));
	for (int i = 0; i < count; i++) {
		if (parts[i].iov_len > PROTOCOL_PAYLOAD_MAX - size)
			return -EMSGSIZE;
		all[i + 1] = uv_buf_init(parts[i].iov_base, (unsigned)parts[i].iov_len);
		size += parts[i].iov_len;
	}
	header->size = (uint32_t)size;
	return (ssize_t)(sizeof(*header) + size);
}

/* Sends one frame. */
int frame_link_send(struct frame_link *link, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count)
{
	struct frame_header header = { .type = (uint16_t)type, .id = id };
	uv_buf_t all[PARTS_MAX + 2];
	ssize_t size = make_frame(link, &header, parts, count, all + 1);

	if (size < 0)
		return (int)size;
	follow(link);
	return send_all(link, all + 1, count + 1, (size_t)size);
}

/* Sends one that has time. */
int frame_link_send_late(struct frame_link *link, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count)
{
	struct frame_header header = { .type = (uint16_t)type, .id = id };
	uv_buf_t all[PARTS_MAX + 2];
	ssize_t size = make_frame(link, &header, parts, count, all + 1);

	if (size < 0)
		return (int)size;
	if (!link->late_at)
		link->late_at = uv_now(link->pipe.loop);
	if (link->followed < LATE_FOLLOWED || link->late.size + (size_t)size > LATE_MAX)
		return send_all(link, all + 1, count + 1, (size_t)size);
	for (int i = 1; i <= count + 1; i++)
		text_append(&link->late, all[i].base, all[i].len);
	if (!uv_is_active((uv_handle_t *)&link->hurry))
		uv_timer_start(&link->hurry, hurry, FRAME_LATE_MS, 0);
	return 0;
}

/* Stops reading, or goes on. */
void frame_link_pause(struct frame_link *link, bool pause)
{
	if (link->state != LINK_OPEN || link->paused == pause)
		return;
	link->paused = pause;
	if (pause) {
		uv_timer_stop(&link->resume);
		uv_read_stop((uv_stream_t *)&link->pipe);
	} else {
		uv_timer_start(&link->resume, link_resume, 0, 0);
	}
}

/* How much waits. */
size_t frame_link_queued(const struct frame_link *link)
{
	return link->queued;
}
