/* SPDX-License-Identifier: MIT */
/*
 * The queue. Requests wait, are sent to the shell ahead of its answers as far as that is safe, and end in
 * their order. What needs no question (a page of a listing, most closes) takes its place in that order,
 * too.
 *
 * Some are sent when everything before them is answered, or let nothing follow before they are: those
 * that change which paths the open files have, as the others' commands name these paths.
 */
#include "backends/shellfiles/shellfiles.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/shellfiles/job.h"

#define CLOCK_MS 500u
/* After a shell that did not even start, the next one is tried so much later. */
#define RETRY_MS 2000u
#define READ_MORE 65536u	/* whole blocks beyond what was asked for */

static const struct job_op *const ops[FILE_OPS] = {
	[FILE_GETATTR] = &shellpath_getattr,
	[FILE_SETATTR] = &shellpath_setattr,
	[FILE_READLINK] = &shellpath_readlink,
	[FILE_SYMLINK] = &shellpath_symlink,
	[FILE_LINK] = &shellpath_link,
	[FILE_MKDIR] = &shellpath_mkdir,
	[FILE_UNLINK] = &shellpath_unlink,
	[FILE_RMDIR] = &shellpath_rmdir,
	[FILE_RENAME] = &shellpath_rename,
	[FILE_OPEN] = &shelldata_open,
	[FILE_READ] = &shelldata_read,
	[FILE_WRITE] = &shelldata_write,
	[FILE_FSYNC] = &shelldata_fsync,
	[FILE_CLOSE] = &shelldata_close,
	[FILE_OPENDIR] = &shelllist_open,
	[FILE_READDIR] = &shelllist_read,
	[FILE_STATFS] = &shellpath_statfs,
	[FILE_COPY] = &shelldata_copy,
};

static const struct shell_events shell_events;
static void shell_ended(void *data, int error, const char *reason);
static void tick(uv_timer_t *timer);
static void turn(uv_idle_t *idle);

/* Logs. */
void shellfiles_log(struct shellfiles *files, const char *format, ...)
{
	char line[512];
	va_list list;

	va_start(list, format);
	vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	files->events->log(files->data, line);
}

/* Counts. */
void shellfiles_count(struct shellfiles *files, const char *key, uint64_t count)
{
	char value[24];

	snprintf(value, sizeof(value), "%" PRIu64, count);
	files->events->status(files->data, key, value);
}

/* Puts a job at the end, or the beginning, of another list. */
static void move(struct job *job, struct job_list *list, bool front)
{
	struct shellfiles *files = job->files;

	if (job->list)
		TAILQ_REMOVE(job->list, job, link);
	if (job->list == &files->sent) {
		files->sent_count--;
		files->sent_bytes -= job->sent_bytes;
		files->opening -= job->op == &shelldata_open || job->op == &shelllist_open;
		files->alone &= !job->alone;
	}
	job->list = list;
	if (list == &files->sent) {
		files->sent_count++;
		files->sent_bytes += job->sent_bytes;
		files->opening += job->op == &shelldata_open || job->op == &shelllist_open;
		files->alone |= job->alone && !job->known;
	}
	if (list && front)
		TAILQ_INSERT_HEAD(list, job, link);
	else if (list)
		TAILQ_INSERT_TAIL(list, job, link);
}

/* Frees a job. */
static void job_free(struct job *job)
{
	move(job, NULL, false);
	shelllist_free(job->files, job->listing);
	text_done(&job->content);
	free(job->path);
	free(job->path2);
	free(job->bytes);
	free(job);
}

/* Answers and frees. The job leaves its list first, as the answer may lead to anything. */
static void finish(struct job *job, int error)
{
	move(job, NULL, false);
	job->reply.error = error;
	if (job->done)
		job->done(job->data, &job->reply, error ? NULL : job->content.data,
			error ? 0 : job->content.size);
	job_free(job);
}

/* Ends a job on the next turn. */
static void finish_later(struct job *job, int error)
{
	job->reply.error = error;
	move(job, &job->files->ended, false);
}

/* Asks for a turn. */
static void wake(struct shellfiles *files)
{
	if (!files->freed)
		uv_idle_start(&files->idle, turn);
}

/* The job that the shell is at. */
static struct job *head_of(struct shellfiles *files)
{
	return TAILQ_FIRST(&files->sent);
}

/* Ends the jobs at the head whose outcome is known. */
static void finish_known(struct shellfiles *files)
{
	struct job *job;

	while (!files->freed && (job = head_of(files)) && job->known)
		finish(job, job->reply.error);
}

/* Whether the job may be sent now. */
static bool may_send(const struct shellfiles *files, const struct job *job)
{
	bool moves = job->op == &shellpath_unlink || job->op == &shellpath_rename;

	return !files->alone && files->sent_count < JOB_SENT_MAX && files->sent_bytes < JOB_BYTES_MAX &&
	       !(moves && files->opening);
}

/* Sends a job, or finds out that there is nothing to send. */
static void send_job(struct job *job)
{
	struct shellfiles *files = job->files;
	struct text *out = &files->shell->out;
	size_t before = out->size;

	if (!job->known) {
		text_printf(out, "%s n=%" PRIu64 "; ", files->shell->token, files->number);
		int result = job->op->make(job, out);

		job->known = result != 0;
		job->reply.error = result < 0 ? result : 0;
	}
	if (job->known) {
		out->size = before;
	} else {
		files->number++;
		text_append(out, "\n", 1);
		if (job->request.op == FILE_WRITE)
			text_append(out, job->bytes, job->request.data_size);
	}
	if (!head_of(files))
		files->since = files->head_since = uv_now(files->loop);
	job->sent_bytes = out->size - before;
	move(job, &files->sent, false);
}

/* Starts a shell. */
static void start(struct shellfiles *files)
{
	if (uv_now(files->loop) < files->retry_at) {
		while (!TAILQ_EMPTY(&files->waiting))
			finish_later(TAILQ_FIRST(&files->waiting), -EOPNOTSUPP);
		return wake(files);
	}
	files->ready = false;
	files->number = SHELL_HELLO + 1;
	files->since = files->head_since = uv_now(files->loop);
	files->shell = shell_new(&files->shells, files->ops, files->transport, &shell_events, files);
	if (!files->shell)
		shell_ended(files, -EIO, "it cannot be started");
}

/* Moves everything on. */
static void pump(struct shellfiles *files)
{
	struct job *job;

	if (files->freed || !files->connected)
		return;
	if (!files->shell && !TAILQ_EMPTY(&files->waiting))
		start(files);
	if (!files->shell)
		return;
	while (files->ready && (job = TAILQ_FIRST(&files->waiting)) && may_send(files, job))
		send_job(job);
	finish_known(files);
	if (files->freed || !files->shell)
		return;
	shell_send(files->shell);
	if (!uv_is_active((uv_handle_t *)&files->clock))
		uv_timer_start(&files->clock, tick, CLOCK_MS, CLOCK_MS);
}

/* A turn: what was put off is told, but not what comes of that; then the queue. */
static void turn(uv_idle_t *idle)
{
	struct shellfiles *files = idle->data;
	unsigned count = 0;
	struct job *job;

	uv_idle_stop(idle);
	TAILQ_FOREACH(job, &files->ended, link)
		count++;
	for (; count && !files->freed && (job = TAILQ_FIRST(&files->ended)); count--)
		finish(job, job->reply.error);
	pump(files);
}

/* What the shell has not begun is sent to another one. */
static void take_back(struct shellfiles *files)
{
	struct job *job;

	while ((job = TAILQ_LAST(&files->sent, job_list)))
		move(job, &files->waiting, true);
}

/* The shell did not even start: nobody waits for the next. */
static void start_failed(struct shellfiles *files, int error, const char *reason)
{
	files->retry_at = uv_now(files->loop) + RETRY_MS;
	while (!TAILQ_EMPTY(&files->waiting))
		finish_later(TAILQ_FIRST(&files->waiting), error == -EIO ? -EOPNOTSUPP : error);
	if (!files->failed)
		shellfiles_log(files, "files/ does not work by shell commands: %s", reason);
	files->failed = true;
}

/* .ended: the job that it was at fails, unless it was still starting. */
static void shell_ended(void *data, int error, const char *reason)
{
	struct shellfiles *files = data;
	struct job *job = head_of(files);

	files->shell = NULL;
	wake(files);
	if (!files->ready)
		return start_failed(files, error, reason);
	shellfiles_log(files, "files: the shell on the machine is given up: %s", reason);
	if (job)
		finish_later(job, error);
	take_back(files);
}

/* Looks at the limits. */
static void tick(uv_timer_t *timer)
{
	struct shellfiles *files = timer->data;
	struct shell *shell = files->shell;
	uint64_t now = uv_now(files->loop);
	unsigned limit = SHELL_ANSWER;
	char reason[80];
	struct job *job;

	if (!shell || (files->ready && !head_of(files))) {
		uv_timer_stop(timer);
		return;
	}
	TAILQ_FOREACH(job, &files->sent, link)
		limit = job->slow ? SHELL_SLOW : limit;
	if (!files->ready)
		limit = shell->step == SHELL_QUEUED ? SHELL_QUEUE : SHELL_START;
	if (now - files->since <= limit && now - files->head_since <= SHELL_EVER)
		return;
	snprintf(reason, sizeof(reason), "no answer in %u seconds", limit / 1000);
	shell_stop(shell);
	shell_ended(files, -ETIMEDOUT, reason);
}

/* .alive */
static void shell_alive(void *data)
{
	struct shellfiles *files = data;

	files->since = uv_now(files->loop);
}

/* .limit */
static size_t shell_limit(void *data)
{
	const struct job *job = head_of(data);

	return SHELL_MESSAGES + (job && job->op->brings ? job->request.length + READ_MORE : 0);
}

/* .part: entries of a directory are taken as they come. One that is cut off is told as it is, and its shell
 * ended. */
static size_t shell_part(void *data, const char *bytes, size_t size)
{
	struct shellfiles *files = data;
	struct job *job = head_of(files);
	size_t taken;

	if (!files->ready || !job || !job->listing)
		return 0;
	taken = shelllist_feed(job, bytes, size);
	if (job->listing->cut) {
		int error = job->op->take(job, NULL, 0);

		finish_later(job, error);
		shell_stop(files->shell);
		files->shell = NULL;
		take_back(files);
		wake(files);
	}
	return taken;
}

/* The machine has told what it has. */
static int take_hello(struct shellfiles *files, const char *code, const char *bytes, size_t size)
{
	struct job *job;

	if (parse_code(code, bytes, size) || parse_hello(bytes, size, &files->hello) < 0)
		return -EIO;
	files->ready = true;
	files->failed = false;
	snprintf(files->kept, sizeof(files->kept), JOB_KEPT "%.8s-", files->shell->token);
	files->head_since = uv_now(files->loop);
	if (!files->told)
		shellfiles_log(files, "files/ works by shell commands%s", files->hello.by_ls ?
			", attributes by ls: times are of whole minutes or days" : "");
	if (!files->told)
		files->events->status(files->data, "files_by", "shell");
	files->told = true;
	if (files->left.size) {
		job = memory_new(sizeof(*job));
		job->files = files;
		job->op = &shellpath_clean;
		move(job, &files->waiting, true);
	}
	return 0;
}

/* What the answer to the first job means. */
static int outcome_of(struct job *job, const char *code, const char *bytes, size_t size)
{
	int error = parse_code(code, bytes, size);

	if (!error && job->op->take)
		error = job->op->take(job, bytes, size);
	/* Where an open file was, there is nothing any more. */
	return job->request.handle && (error == -ENOENT || error == -ENOTDIR) ? -ESTALE : error;
}

/* .answer */
static int shell_answer(void *data, const char *code, const char *bytes, size_t size)
{
	struct shellfiles *files = data;
	struct job *job = head_of(files);

	if (!files->ready) {
		int error = take_hello(files, code, bytes, size);

		wake(files);
		return error;
	}
	if (!job || job->known)
		return -EIO;
	int result = outcome_of(job, code, bytes, size);
	files->head_since = uv_now(files->loop);
	if (result > 0)
		move(job, &files->waiting, true);
	else
		finish(job, result);
	pump(files);
	return 0;
}

static const struct shell_events shell_events = {
	.limit = shell_limit,
	.part = shell_part,
	.answer = shell_answer,
	.alive = shell_alive,
	.ended = shell_ended,
};

/* Makes it. */
struct shellfiles *shellfiles_new(struct uv_loop_s *loop, const struct transport_ops *transport_ops,
	struct transport *transport, const struct shellfiles_events *events, void *data)
{
	struct shellfiles *files = memory_new(sizeof(*files));

	files->loop = loop;
	files->ops = transport_ops;
	files->transport = transport;
	files->events = events;
	files->data = data;
	TAILQ_INIT(&files->waiting);
	TAILQ_INIT(&files->sent);
	TAILQ_INIT(&files->ended);
	LIST_INIT(&files->shells);
	uv_idle_init(loop, &files->idle);
	uv_timer_init(loop, &files->clock);
	files->idle.data = files->clock.data = files;
	files->open_handles = 2;
	return files;
}

/* libuv is done with one of the two. */
static void handle_closed(uv_handle_t *handle)
{
	struct shellfiles *files = handle->data;

	if (--files->open_handles)
		return;
	shell_free_all(&files->shells);
	text_done(&files->left);
	free(files);
}

/* Frees. The shells' objects stay until no call of theirs can be under way. */
void shellfiles_free(struct shellfiles *files)
{
	struct shell *shell;
	struct job *job;

	if (!files || files->freed)
		return;
	files->freed = true;
	struct job_list *lists[] = { &files->waiting, &files->sent, &files->ended };
	LIST_FOREACH(shell, &files->shells, link)
		shell->step = SHELL_ENDED;
	files->shell = NULL;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		while ((job = TAILQ_FIRST(lists[i])))
			job_free(job);
	shellopen_done(files);
	uv_close((uv_handle_t *)&files->idle, handle_closed);
	uv_close((uv_handle_t *)&files->clock, handle_closed);
}

/* Commands run. */
void shellfiles_begin(struct shellfiles *files)
{
	files->connected = true;
	files->told = files->failed = false;
	files->retry_at = 0;
}

/* They do not any more. */
void shellfiles_lose(struct shellfiles *files, int error)
{
	struct job_list *lists[] = { &files->sent, &files->waiting, &files->ended };
	struct job *job;

	files->connected = false;
	if (files->shell)
		shell_stop(files->shell);
	files->shell = NULL;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists) && !files->freed; i++)
		while (!files->freed && (job = TAILQ_FIRST(lists[i])))
			finish(job, error);
	if (!files->freed)
		shellopen_done(files);
}

/* As the present shell told. */
const char *shellfiles_root(const struct shellfiles *files)
{
	return files->hello.path;
}

/* Takes a request. */
void shellfiles_add(struct shellfiles *files, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	struct job *job = memory_new(sizeof(*job));
	const struct file_request *request = call->request;

	job->files = files;
	job->key = key;
	job->done = done;
	job->data = data;
	job->request = *request;
	job->path = memory_string(call->path);
	job->path2 = memory_string(call->path2);
	if (request->op < FILE_OPS)
		job->op = ops[request->op];
	if (request->data_size)
		job->bytes = memcpy(memory_grow(NULL, request->data_size), call->data, request->data_size);
	if (!job->op || !files->connected)
		finish_later(job, job->op ? -EHOSTDOWN : -EINVAL);
	else
		move(job, &files->waiting, false);
	wake(files);
}

/* The job with that key on one list. */
static struct job *find(struct job_list *list, uint64_t key)
{
	struct job *job;

	TAILQ_FOREACH(job, list, link)
		if (job->key == key && job->done)
			return job;
	return NULL;
}

/* Cancels. What was sent goes on. */
void shellfiles_cancel(struct shellfiles *files, uint64_t key)
{
	struct job *job;

	if ((job = find(&files->waiting, key)) && !job->known)
		return job_free(job);
	if (!job && !(job = find(&files->sent, key)))
		job = find(&files->ended, key);
	if (job)
		job->done = NULL;
}
