/* SPDX-License-Identifier: MIT */
/* The requests of carry.c on their way: what they wait for, what they ask shellfiles, and their answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/exec/carryparts.h"
#include "backends/shellfiles/shellfiles.h"

static void turn(uv_idle_t *idle);

/* Puts a job into another queue, or none. */
void carry_move(struct job *job, struct job_queue *queue)
{
	if (job->queue)
		TAILQ_REMOVE(job->queue, job, link);
	job->queue = queue;
	if (queue)
		TAILQ_INSERT_TAIL(queue, job, link);
}

/* Frees a job. */
void carry_job_free(struct job *job)
{
	struct opened *opened = job->opened;

	carry_move(job, NULL);
	push_free(job->push);
	text_done(&job->content);
	free(job->path);
	free(job->path2);
	free(job->bytes);
	free(job);
	if (opened) {
		opened->jobs--;
		carry_opened_free(opened);
	}
}

/* It is over. */
void carry_end(struct job *job, int error)
{
	job->reply.error = error;
	carry_move(job, &job->carry->ended);
	uv_idle_start(&job->carry->idle, turn);
}

/* Tells an answer. */
void carry_answer(struct job *job)
{
	int error = job->reply.error;

	carry_move(job, NULL);
	if (job->done)
		job->done(job->data, &job->reply, error ? NULL : job->content.data, error ? 0 : job->content.size);
	carry_job_free(job);
}

/* Tells those answers that there are, but not what comes of that. */
static void turn(uv_idle_t *idle)
{
	struct carry *carry = idle->data;
	unsigned count = 0;
	struct job *job;

	uv_idle_stop(idle);
	TAILQ_FOREACH(job, &carry->ended, link)
		count++;
	for (; count && !carry->freed && (job = TAILQ_FIRST(&carry->ended)); count--)
		carry_answer(job);
	if (!carry->freed && !TAILQ_EMPTY(&carry->ended))
		uv_idle_start(&carry->idle, turn);
}

/* Waits. */
void carry_wait(struct job *job, struct job_queue *queue, void (*next)(struct job *job))
{
	job->next = next;
	carry_move(job, queue);
}

/* Goes on. */
void carry_wake(struct job_queue *queue)
{
	struct job *job;

	TAILQ_FOREACH(job, queue, link)
		job->queue = queue;
	while ((job = TAILQ_FIRST(queue))) {
		carry_move(job, NULL);
		job->next(job);
	}
}

/* shellfiles answered. */
static void answered(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct job *job = data;

	carry_move(job, NULL);
	if (job->carry->lost)
		carry_end(job, -EHOSTDOWN);
	else
		job->then(job, reply, bytes, size);
}

/* Asks. */
void carry_ask(struct job *job, const struct file_request *request, const char *path, const char *path2,
	const void *bytes, job_answer *then)
{
	struct file_request copy = *request;
	struct file_call call = { .request = &copy, .path = path, .path2 = path2, .data = bytes };

	copy.path_size = (uint32_t)strlen(path);
	copy.path2_size = (uint32_t)strlen(path2);
	copy.data_size = bytes ? copy.data_size : 0;
	job->then = then;
	carry_move(job, &job->carry->asking);
	shellfiles_add(job->carry->below, CARRY_OWN + ++job->carry->last_key, &call, answered, job);
}

/* The job's own question, about a path. */
void carry_ask_path(struct job *job, const char *path, job_answer *then)
{
	struct file_request request = job->request;

	request.handle = 0;
	carry_ask(job, &request, path, job->path2, NULL, then);
}

/* As it is. */
void carry_take(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	job->reply = *reply;
	if (size)
		text_append(&job->content, bytes, size);
	carry_end(job, reply->error);
}

/* Makes one that nobody waits for. */
struct job *carry_job(struct carry *carry)
{
	struct job *job = memory_new(sizeof(*job));

	job->carry = carry;
	job->path = memory_string("");
	job->path2 = memory_string("");
	return job;
}

/* Tells. */
void carry_tell(struct carry *carry, enum file_op op, uint64_t handle, const char *path)
{
	struct file_request request = { .op = op, .handle = handle };

	carry_ask(carry_job(carry), &request, path, "", NULL, carry_take);
}
