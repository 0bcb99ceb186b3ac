/* SPDX-License-Identifier: MIT */
#include "backends/exec/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/exec/carryparts.h"
#include "backends/shellfiles/shellfiles.h"

/* Logs. */
void carry_say(struct carry *carry, const char *format, ...)
{
	char line[FILES_PATH_MAX + 1024], clean[sizeof(line)];
	va_list list;

	va_start(list, format);
	vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	text_escape(clean, sizeof(clean), line);
	carry->log(carry->data, clean);
}

/* Whether the one is the other, or in it. */
bool carry_is_below(const char *path, const char *at)
{
	size_t length = strlen(at);

	return strncmp(path, at, length) == 0 && (!path[length] || path[length] == '/' || length == 0);
}

/* As the program gets it: it begins with a slash. */
char *carry_absolute(struct carry *carry, const char *path)
{
	const char *root = shellfiles_root(carry->below);

	return memory_format("%s/%s", strcmp(root, "/") == 0 ? "" : root, path);
}

/* In the shim's own directory, from where it is removed at once. */
int carry_file(void)
{
	char name[] = "exec-carry.XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	unlink(name);
	return fd;
}

/* ---- What is open -------------------------------------------------------------- */

/* Makes one. */
struct opened *carry_opened(struct carry *carry, uint32_t flags)
{
	if (carry->opened_count >= CARRY_OPEN_MAX)
		return NULL;
	struct opened *opened = memory_new(sizeof(*opened));
	opened->carry = carry;
	opened->number = CARRY_OWN + ++carry->last_number;
	opened->flags = flags;
	opened->fd = -1;
	TAILQ_INIT(&opened->waiting);
	LIST_INSERT_HEAD(&carry->opened, opened, link);
	carry->opened_count++;
	return opened;
}

/* Finds one. */
static struct opened *find_opened(struct carry *carry, uint64_t number)
{
	struct opened *opened;

	LIST_FOREACH(opened, &carry->opened, link)
		if (opened->number == number)
			return opened;
	return NULL;
}

/* Frees an open file that is closed and that no job needs. */
void carry_opened_free(struct opened *opened)
{
	if (!opened->closed || opened->jobs)
		return;
	if (opened->fd >= 0)
		close(opened->fd);
	if (opened->content)
		content_unref(opened->content);
	free(opened->path);
	free(opened);
}

/* Closes one. */
void carry_close(struct opened *opened)
{
	LIST_REMOVE(opened, link);
	opened->carry->opened_count--;
	opened->closed = true;
	if (!opened->content)
		pull_stop(opened);
	carry_opened_free(opened);
}

static void pump(struct carry *carry);

/* Others wait for it, or not. */
void carry_hold(struct job *job, bool hold)
{
	struct carry *carry = job->carry;

	if (job->holds == hold)
		return;
	job->holds = hold;
	carry->holding += hold ? 1 : -1u;
	pump(carry);
}

/* Gives the job what shellfiles has opened for it, in one way or another. */
static void give_opened(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	if (reply->error || !reply->handle) {
		carry_take(job, reply, bytes, size);
	} else if (!job->done) {
		carry_tell(job->carry, FILE_CLOSE, reply->handle, "");
		carry_end(job, 0);
	} else if (!content_open(job, reply) && !pull_open(job, reply, bytes, size)) {
		carry_take(job, reply, bytes, size);
	}
}

/* shellfiles has opened a file. Those that waited for that go on when it is known what it is. */
static void open_answered(struct job *job, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct carry *carry = job->carry;

	give_opened(job, reply, bytes, size);
	carry->opening--;
	pump(carry);
}

/* Opens. What is to be emptied is emptied here, and in the machine when there is new content. */
static void take_open(struct job *job)
{
	struct file_request request = job->request;

	if (*job->carry->push && (request.flags & O_ACCMODE) != O_RDONLY)
		request.flags &= ~(uint32_t)O_TRUNC;
	if (*job->carry->pull && request.length > job->carry->small)
		request.length = (uint32_t)job->carry->small;
	job->carry->opening++;
	carry_ask(job, &request, job->path, "", NULL, open_answered);
}

/* ---- Requests ------------------------------------------------------------------ */

/* Does what a request says about an open file of ours. */
void carry_go(struct job *job)
{
	static void (*const contents[FILE_OPS])(struct job *job) = {
		[FILE_GETATTR] = content_getattr, [FILE_SETATTR] = content_setattr,
		[FILE_READ] = content_read, [FILE_WRITE] = content_write, [FILE_FSYNC] = content_sync,
		[FILE_CLOSE] = content_close,
	};
	struct file_request request = job->request;
	struct opened *opened = job->opened;

	if (opened->content)
		contents[request.op] ? contents[request.op](job) : carry_end(job, -EOPNOTSUPP);
	else if (request.op == FILE_CLOSE)
		pull_close(job);
	else if (!opened->below)
		carry_wait(job, &opened->waiting, carry_go);
	else if (request.op == FILE_READ)
		pull_read(job);
	else if (request.op == FILE_FSYNC && request.flags & FILES_FLUSH)
		carry_end(job, 0);
	else {
		request.handle = opened->below;
		carry_ask(job, &request, job->path, job->path2, job->bytes, carry_take);
	}
}

/* The same for one that has come. */
static void take_handle(struct job *job)
{
	struct opened *opened = find_opened(job->carry, job->request.handle);

	if (!opened) {
		carry_end(job, -EBADF);
		return;
	}
	job->opened = opened;
	opened->jobs++;
	carry_go(job);
}

/* A copy: from and to what shellfiles has open. */
static void take_copy(struct job *job)
{
	struct opened *from = find_opened(job->carry, job->request.handle);
	struct opened *to = find_opened(job->carry, job->request.handle2);
	struct file_request request = job->request;

	if ((to && !to->below) || (from && !from->below)) {
		carry_end(job, -EOPNOTSUPP);
		return;
	}
	if (from)
		request.handle = from->below;
	if (to)
		request.handle2 = to->below;
	carry_ask(job, &request, "", "", NULL, carry_take);
}

/* What is to be done with a request; NULL: nothing but what shellfiles does. */
static void (*rule_of(struct carry *carry, const struct file_request *request, const char *path))(struct job *)
{
	bool names = request->op == FILE_UNLINK || request->op == FILE_RENAME || request->op == FILE_LINK;

	if (request->op == FILE_OPEN)
		return take_open;
	if (LIST_EMPTY(&carry->opened))
		return NULL;
	if (request->op == FILE_COPY)
		return request->handle >= CARRY_OWN || request->handle2 >= CARRY_OWN ? take_copy : NULL;
	if (request->handle >= CARRY_OWN)
		return take_handle;
	if (names)
		return content_names;
	if (request->handle || !content_find(carry, path))
		return NULL;
	return request->op == FILE_GETATTR ? content_getattr : request->op == FILE_SETATTR ? content_setattr : NULL;
}

/* Does what a request says. */
static void dispatch(struct job *job)
{
	void (*rule)(struct job *job) = rule_of(job->carry, &job->request, job->path);

	if (rule)
		rule(job);
	else if (job->request.op == FILE_FSYNC && job->request.flags & FILES_FLUSH)
		carry_end(job, 0);
	else
		carry_ask(job, &job->request, job->path, job->path2, job->bytes, carry_take);
}

/* Whether a request has to wait for others that came before it. */
static bool is_late(const struct carry *carry, const struct file_request *request)
{
	bool changes = request->op == FILE_UNLINK || request->op == FILE_RENAME ||
		request->op == FILE_LINK || request->op == FILE_SETATTR;

	return !request->handle && (carry->holding || (carry->opening && changes));
}

/* Does those whose time has come. */
static void pump(struct carry *carry)
{
	struct job *job;

	while (!carry->lost && (job = TAILQ_FIRST(&carry->later)) && !is_late(carry, &job->request)) {
		carry_move(job, NULL);
		dispatch(job);
	}
}

/* Takes a request. */
void carry_add(struct carry *carry, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	const struct file_request *request = call->request;
	bool late = !request->handle && (is_late(carry, request) || !TAILQ_EMPTY(&carry->later));
	bool flush = request->op == FILE_FSYNC && request->flags & FILES_FLUSH;

	if (!late && !flush && !rule_of(carry, request, call->path)) {
		shellfiles_add(carry->below, key, call, done, data);
		return;
	}
	struct job *job = carry_job(carry);
	job->key = key;
	job->done = done;
	job->data = data;
	job->request = *request;
	free(job->path);
	free(job->path2);
	job->path = memory_string(call->path);
	job->path2 = memory_string(call->path2);
	if (request->data_size)
		job->bytes = memcpy(memory_grow(NULL, request->data_size), call->data, request->data_size);
	if (late)
		carry_move(job, &carry->later);
	else
		dispatch(job);
}

/* Cancels in one queue. */
static bool cancel(struct job_queue *queue, uint64_t key)
{
	struct job *job;

	TAILQ_FOREACH(job, queue, link) {
		if (job->key != key || !job->done)
			continue;
		job->done = NULL;
		return true;
	}
	return false;
}

/* Cancels. What was begun goes on. */
void carry_cancel(struct carry *carry, uint64_t key)
{
	struct content *content;
	struct opened *opened;

	if (cancel(&carry->asking, key) || cancel(&carry->ended, key) || cancel(&carry->later, key))
		return;
	LIST_FOREACH(content, &carry->contents, link)
		if (cancel(&content->waiting, key))
			return;
	LIST_FOREACH(opened, &carry->opened, link)
		if (cancel(&opened->waiting, key))
			return;
	shellfiles_cancel(carry->below, key);
}

/* ---- All of it ------------------------------------------------------------------ */

/* Makes it. */
struct carry *carry_new(struct uv_loop_s *loop, const struct poolfs_values *values,
	struct transport *agent, struct shellfiles *below, carry_log *log, void *data)
{
	struct carry *carry = memory_new(sizeof(*carry));
	uint64_t token = 0;

	carry->loop = loop;
	carry->values = values;
	carry->push = poolfs_words(values, "push");
	carry->pull = poolfs_words(values, "pull");
	carry->small = (uint64_t)poolfs_number(values, "carry_from");
	carry->agent = agent;
	carry->below = below;
	carry->log = log;
	carry->data = data;
	TAILQ_INIT(&carry->asking);
	TAILQ_INIT(&carry->ended);
	TAILQ_INIT(&carry->later);
	LIST_INIT(&carry->contents);
	LIST_INIT(&carry->opened);
	LIST_INIT(&carry->carriers);
	uv_idle_init(loop, &carry->idle);
	carry->idle.data = carry;
	/* Without random bytes the names are those of this process. */
	if (getrandom(&token, sizeof(token), 0) != sizeof(token))
		token = (uint64_t)getpid();
	snprintf(carry->token, sizeof(carry->token), "%016llx", (unsigned long long)token);
	return carry;
}

/* Ends the jobs of a queue. */
static void end_all(struct job_queue *queue, int error)
{
	struct job *job;

	while ((job = TAILQ_FIRST(queue)))
		carry_end(job, error);
}

/* Closes all that is open: contents go with the last of those who have them. */
static void close_all(struct carry *carry)
{
	struct content *content;
	struct opened *opened;

	while ((content = LIST_FIRST(&carry->contents))) {
		LIST_REMOVE(content, link);
		content->gone = true;
		content->bringing = NULL;
	}
	while ((opened = LIST_FIRST(&carry->opened)))
		carry_close(opened);
}

/* Forgets what is open; the jobs that wait for it end. */
static void forget_all(struct carry *carry, int error)
{
	struct content *content;
	struct opened *opened;
	LIST_FOREACH(content, &carry->contents, link) {
		if (content->bringing)
			carry_end(content->bringing, error);
		end_all(&content->waiting, error);
	}
	LIST_FOREACH(opened, &carry->opened, link)
		end_all(&opened->waiting, error);
	end_all(&carry->later, error);
	close_all(carry);
}

/* Loses all. */
void carry_lose(struct carry *carry, int error)
{
	struct job *job;

	carry->lost = true;
	carrier_stop_all(&carry->carriers);
	shellfiles_lose(carry->below, error);
	forget_all(carry, error);
	while (!carry->freed && (job = TAILQ_FIRST(&carry->ended))) {
		if (!job->reply.error)
			job->reply.error = error;
		carry_answer(job);
	}
	carry->holding = carry->opening = 0;
	carry->lost = false;
}

/* libuv is done with the handle. */
static void handle_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Frees the jobs of a queue. */
static void free_all(struct job_queue *queue)
{
	struct job *job;

	while ((job = TAILQ_FIRST(queue)))
		carry_job_free(job);
}

/* Frees. */
void carry_free(struct carry *carry)
{
	struct content *content;
	struct opened *opened;

	if (!carry || carry->freed)
		return;
	carry->freed = true;
	LIST_FOREACH(content, &carry->contents, link) {
		free_all(&content->waiting);
		if (content->bringing)
			carry_job_free(content->bringing);
	}
	free_all(&carry->asking);
	free_all(&carry->ended);
	free_all(&carry->later);
	LIST_FOREACH(opened, &carry->opened, link)
		free_all(&opened->waiting);
	carrier_free_all(&carry->carriers);
	LIST_FOREACH(opened, &carry->opened, link)
		opened->pull = NULL;
	close_all(carry);
	uv_close((uv_handle_t *)&carry->idle, handle_closed);
}
