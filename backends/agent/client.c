/* SPDX-License-Identifier: MIT */
#include "backends/agent/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/agent/reply.h"
#include "backends/base/memory.h"
#include "backends/protocol/frame.h"
#include "backends/protocol/sockets.h"

struct client_job {
	TAILQ_ENTRY(client_job) link;
	struct client_jobs *list;
	uint64_t key, id;
	uint64_t since;			/* loop time */
	uint32_t op, length;
	uint64_t handle;
	char *path;
	transport_file_done *done;	/* NULL: cancelled */
	void *data;
	int error;
};

/* Starts empty. */
void client_init(struct client *client)
{
	TAILQ_INIT(&client->sent);
	TAILQ_INIT(&client->ended);
	client->limit = CLIENT_LIMIT_MS;
}

/* Puts a job onto a list. */
static void move(struct client_job *job, struct client_jobs *list)
{
	if (job->list)
		TAILQ_REMOVE(job->list, job, link);
	job->list = list;
	if (list)
		TAILQ_INSERT_TAIL(list, job, link);
}

/* Frees a job. */
static void job_free(struct client_job *job)
{
	move(job, NULL);
	free(job->path);
	free(job);
}

/* Answers and frees. */
static void job_end(struct client_job *job, const struct file_reply *reply, const struct text *data)
{
	transport_file_done *done = job->done;
	void *to = job->data;

	job_free(job);
	if (done)
		done(to, reply, data ? data->data : NULL, data ? data->size : 0);
}

/* Answers with an error. */
static void job_fail(struct client_job *job, int error)
{
	struct file_reply reply = { .error = error };

	job_end(job, &reply, NULL);
}

/* Sends one request. */
static int send_call(struct client *client, uint64_t id, const struct file_request *request,
	const struct file_call *call)
{
	struct iovec parts[] = {
		{ (void *)request, sizeof(*request) },
		{ (void *)call->path, request->path_size },
		{ (void *)call->path2, request->path2_size },
		{ (void *)call->data, request->data_size },
	};

	return client->link ? frame_link_send(client->link, FRAME_FILE, id, parts, 4) : -EIO;
}

/* Closes what nobody wants any more. Its answer belongs to no job. */
static void close_handle(struct client *client, uint64_t handle)
{
	struct file_request request = { .op = FILE_CLOSE, .handle = handle };
	struct file_call call = { .path = "", .path2 = "" };

	send_call(client, 0, &request, &call);
}

/* An answer came. The agent takes one request after the other, so it is the oldest's. */
static int on_frame(void *data, const struct frame_header *header, const void *payload)
{
	struct client *client = data;
	struct client_job *job = TAILQ_FIRST(&client->sent);
	struct file_reply reply;
	struct text bytes = { 0 };

	if (header->type != FRAME_FILE_REPLY)
		return -EPROTO;
	if (header->id == 0)
		return 0;
	if (!job || job->id != header->id)
		return -EPROTO;
	client->heard = uv_now(client->loop);
	struct reply_to to = { .op = job->op, .length = job->length, .handle = job->handle,
		.path = job->path, .root = client->root };
	reply_check(&to, payload, header->size, &reply, &bytes);
	if (!job->done && !reply.error && reply.handle)
		close_handle(client, reply.handle);
	job_end(job, &reply, &bytes);
	text_done(&bytes);
	return 0;
}

/* Ends what was sent; its answers do not come any more. */
static void fail_sent(struct client *client, int error)
{
	struct client_job *job;

	while ((job = TAILQ_FIRST(&client->sent))) {
		job->error = error;
		move(job, &client->ended);
	}
	client->wake(client->data);
}

/* The connection ended. */
static void on_closed(void *data, int reason)
{
	struct client *client = data;

	frame_link_free(client->link);
	client->link = NULL;
	if (reason < 0)
		client->log(client->data, "files: the agent's answers are malformed");
	fail_sent(client, -EIO);
}

static const struct frame_link_events link_events = {
	.frame = on_frame,
	.closed = on_closed,
};

/* Drops the connection. */
void client_disconnect(struct client *client)
{
	frame_link_free(client->link);
	client->link = NULL;
	fail_sent(client, -EIO);
}

/* Takes a socket. */
void client_connect(struct client *client, int fd)
{
	client_disconnect(client);
	client->stale = client->last_handle;
	if (sockets_is_stream(fd, FORWARD_UNIX))
		client->link = frame_link_new(client->loop, fd, &link_events, client);
	else
		close(fd);
}

/* Whether a request is about what was open on another connection. Then nothing has to be closed. */
static bool is_stale(const struct client *client, const struct file_request *request)
{
	return (request->handle && request->handle <= client->stale) ||
		(request->handle2 && request->handle2 <= client->stale);
}

/* Takes a request. */
void client_file(struct client *client, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	struct file_request request = *call->request;
	struct client_job *job = memory_new(sizeof(*job));

	if (request.op == FILE_OPEN || request.op == FILE_OPENDIR)
		request.handle = ++client->last_handle;
	job->key = key;
	job->id = ++client->last_id;
	job->since = uv_now(client->loop);
	job->op = request.op;
	job->length = request.op == FILE_WRITE ? request.data_size : request.length;
	job->handle = request.handle;
	job->path = memory_string(call->path);
	job->done = done;
	job->data = data;
	bool stale = is_stale(client, &request);
	if (stale)
		job->error = request.op == FILE_CLOSE ? 0 : -ESTALE;
	else
		job->error = send_call(client, job->id, &request, call) < 0 ? -EIO : 0;
	move(job, stale || job->error ? &client->ended : &client->sent);
	client->wake(client->data);
}

/* Cancels. */
void client_cancel(struct client *client, uint64_t key)
{
	struct client_jobs *lists[] = { &client->sent, &client->ended };
	struct client_job *job;

	for (size_t i = 0; i < 2; i++)
		TAILQ_FOREACH(job, lists[i], link)
			if (job->key == key)
				job->done = NULL;
}

/* Tells what was put off; not what comes of that. */
void client_turn(struct client *client)
{
	struct client_jobs now = TAILQ_HEAD_INITIALIZER(now);
	struct client_job *job;

	while ((job = TAILQ_FIRST(&client->ended)))
		move(job, &now);
	while ((job = TAILQ_FIRST(&now)))
		job_fail(job, job->error);
}

/* Whether the oldest waits too long, from when its turn came: somebody stopped the process that should
 * answer. */
bool client_clock(struct client *client)
{
	struct client_job *job = TAILQ_FIRST(&client->sent);
	uint64_t turn = job && job->since > client->heard ? job->since : client->heard;

	if (!job || uv_now(client->loop) - turn < client->limit)
		return false;
	client->log(client->data, "files: no answer in time");
	frame_link_free(client->link);
	client->link = NULL;
	fail_sent(client, -ETIMEDOUT);
	return true;
}

/* Ends all. */
void client_lose(struct client *client, int error)
{
	struct client_job *job;

	frame_link_free(client->link);
	client->link = NULL;
	while ((job = TAILQ_FIRST(&client->sent)) || (job = TAILQ_FIRST(&client->ended)))
		job_fail(job, error);
}

/* Frees all. */
void client_done(struct client *client)
{
	struct client_job *job;

	frame_link_free(client->link);
	client->link = NULL;
	while ((job = TAILQ_FIRST(&client->sent)) || (job = TAILQ_FIRST(&client->ended)))
		job_free(job);
}
