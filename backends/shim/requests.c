/* SPDX-License-Identifier: MIT */
#include "backends/shim/requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/protocol/slots.h"
#include "backends/shim/shim.h"

struct request {
	struct shim *shim;
	uint64_t id;		/* the daemon's; 0: nobody waits for the answer */
	uint64_t key;		/* the transport's: unlike id it never comes twice */
	uint32_t op;
	size_t bytes;		/* that its data takes, or its answer */
	char *slot;		/* for its data, or its answer; NULL: these are in the frame */
	TAILQ_ENTRY(request) all;
};

/* Prepares an empty set. */
void requests_init(struct shim *shim)
{
	TAILQ_INIT(&shim->requests.all);
}

/* Keeps account of what is under way; the daemon waits while that is too much. */
static void account(struct shim *shim)
{
	if (shim->requests.bytes > REQUESTS_BYTES_MAX)
		daemon_pause(shim, true);
	else if (shim->requests.bytes <= REQUESTS_BYTES_MAX / 2)
		daemon_pause(shim, false);
}

/* Frees a request. */
static void request_free(struct request *request)
{
	struct shim *shim = request->shim;

	TAILQ_REMOVE(&shim->requests.all, request, all);
	shim->requests.count--;
	shim->requests.bytes -= request->bytes;
	free(request);
	account(shim);
}

/* Sends an answer; one that is too long becomes an error. */
static void answer(struct shim *shim, uint64_t id, const struct file_reply *reply,
	const void *bytes, size_t size)
{
	struct file_reply error = { .error = -EIO };

	if (id == 0)
		return;
	if (daemon_send(shim, FRAME_FILE_REPLY, id, reply, sizeof(*reply), bytes, size) < 0)
		daemon_send(shim, FRAME_FILE_REPLY, id, &error, sizeof(error), NULL, 0);
}

/* Sends an error. */
static void answer_error(struct shim *shim, uint64_t id, int error)
{
	struct file_reply reply = { .error = error };

	answer(shim, id, &reply, NULL, 0);
}

/* Remembers an open handle. */
static void handle_add(struct requests *requests, uint64_t handle)
{
	if (requests->handle_count == requests->handle_room) {
		requests->handle_room = requests->handle_room ? 2 * requests->handle_room : 64;
		requests->handles = memory_grow(requests->handles,
			requests->handle_room * sizeof(*requests->handles));
	}
	requests->handles[requests->handle_count++] = handle;
}

/* Forgets a handle that is being closed. */
static void handle_remove(struct requests *requests, uint64_t handle)
{
	for (size_t i = 0; i < requests->handle_count; i++) {
		if (requests->handles[i] == handle) {
			requests->handles[i] = requests->handles[--requests->handle_count];
			return;
		}
	}
}

/* Answers a read whose data have a slot; more than there is room for becomes an error. */
static void answer_apart(struct request *request, const struct file_reply *reply, const void *bytes,
	size_t size)
{
	struct file_reply copy = *reply;

	if (size > FILES_DATA_MAX) {
		answer_error(request->shim, request->id, -EIO);
		return;
	}
	if (size)
		memcpy(request->slot, bytes, size);
	copy.count = (uint32_t)size;
	answer(request->shim, request->id, &copy, NULL, 0);
}

/* The transport answers. */
static void request_done(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct request *request = data;

	if (reply->error == 0 && reply->handle)
		handle_add(&request->shim->requests, reply->handle);
	if (request->slot && request->op == FILE_READ && reply->error == 0)
		answer_apart(request, reply, bytes, size);
	else
		answer(request->shim, request->id, reply, bytes, size);
	request_free(request);
}

/* Hands a request to the transport. */
static void request_send(struct shim *shim, uint64_t id, const struct file_call *call, char *slot)
{
	struct request *request = memory_new(sizeof(*request));

	request->shim = shim;
	request->id = id;
	request->key = ++shim->requests.key;
	request->op = call->request->op;
	request->slot = slot;
	request->bytes = call->request->data_size + call->request->length;
	TAILQ_INSERT_TAIL(&shim->requests.all, request, all);
	shim->requests.count++;
	shim->requests.bytes += request->bytes;
	account(shim);
	if (request->op == FILE_CLOSE)
		handle_remove(&shim->requests, call->request->handle);
	life_file(shim, request->key, call, request_done, request);
}

/* Finds a request by the daemon's number. */
static struct request *request_find(struct shim *shim, uint64_t id)
{
	struct request *request;

	TAILQ_FOREACH(request, &shim->requests.all, all)
		if (request->id == id)
			return request;
	return NULL;
}

/* Takes a request that is well-formed, or refuses it. */
static int take(struct shim *shim, uint64_t id, const struct file_call *call, char *slot)
{
	const struct requests *requests = &shim->requests;
	bool opens = call->request->op == FILE_OPEN || call->request->op == FILE_OPENDIR;
	bool closes = call->request->op == FILE_CLOSE;

	if (request_find(shim, id))
		return -EPROTO;
	if (closes && call->request->flags & FILES_QUIET)
		id = 0;
	if (!life_is_up(shim))
		answer_error(shim, id, -EHOSTDOWN);
	else if (requests->count >= REQUESTS_MAX && !closes)
		answer_error(shim, id, -EAGAIN);
	else if (opens && requests->handle_count >= REQUESTS_HANDLES_MAX)
		answer_error(shim, id, -EMFILE);
	else
		request_send(shim, id, call, slot);
	return 0;
}

/* FRAME_FILE. */
int requests_add(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	struct file_call call;

	if (files_decode(payload, size, shim->requests.strings, &call) < 0)
		return -EPROTO;
	return take(shim, id, &call, NULL);
}

/* FRAME_FILE_SLOT. */
int requests_add_slot(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	const struct frame_slot *head = payload;
	struct file_call call;

	if (!shim->setup.slots || head->number < 1 || head->number > SLOTS_COUNT)
		return -EPROTO;
	char *slot = slots_at(shim->setup.slots, head->number);
	if (files_decode_apart(head + 1, size - sizeof(*head), shim->requests.strings, slot, &call) < 0)
		return -EPROTO;
	return take(shim, id, &call, slot);
}

/* FRAME_CANCEL. */
int requests_cancel(struct shim *shim, uint64_t id, const void *payload, size_t size)
{
	struct request *request = request_find(shim, id);

	if (request) {
		life_file_cancel(shim, request->key);
		request_free(request);
	}
	return 0;
}

/* Cancels what a gone daemon asked for, and closes what it left open. */
void requests_drop(struct shim *shim)
{
	struct requests *requests = &shim->requests;
	struct request *request, *next;

	for (request = TAILQ_FIRST(&requests->all); request; request = next) {
		next = TAILQ_NEXT(request, all);
		if (request->id == 0)
			continue;
		if (request->op == FILE_CLOSE) {
			request->id = 0;
			continue;
		}
		life_file_cancel(shim, request->key);
		request_free(request);
	}
	/* The first one is found at once, and there may be many. */
	while (requests->handle_count > 0 && life_is_up(shim)) {
		struct file_request close_request = { .op = FILE_CLOSE, .handle = requests->handles[0] };
		struct file_call call = { &close_request, "", "", NULL };
		request_send(shim, 0, &call, NULL);
	}
	requests_disconnected(shim);
}

/* Forgets all handles. */
void requests_disconnected(struct shim *shim)
{
	free(shim->requests.handles);
	shim->requests.handles = NULL;
	shim->requests.handle_count = shim->requests.handle_room = 0;
}

/* Answers what the transport can not answer any more. */
void requests_cut(struct shim *shim)
{
	struct request *request;

	while ((request = TAILQ_FIRST(&shim->requests.all))) {
		answer_error(shim, request->id, -EHOSTDOWN);
		request_free(request);
	}
	requests_disconnected(shim);
}
