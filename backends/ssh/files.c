/* SPDX-License-Identifier: MIT */
#include "backends/ssh/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/job.h"

static job_start *const starts[FILE_OPS] = {
	[FILE_GETATTR] = path_getattr,
	[FILE_SETATTR] = path_setattr,
	[FILE_READLINK] = path_readlink,
	[FILE_SYMLINK] = path_symlink,
	[FILE_LINK] = path_link,
	[FILE_MKDIR] = path_mkdir,
	[FILE_UNLINK] = path_unlink,
	[FILE_RMDIR] = path_rmdir,
	[FILE_RENAME] = path_rename,
	[FILE_OPEN] = data_open,
	[FILE_READ] = data_read,
	[FILE_WRITE] = data_write,
	[FILE_FSYNC] = data_fsync,
	[FILE_CLOSE] = data_close,
	[FILE_OPENDIR] = directory_open,
	[FILE_READDIR] = directory_read,
	[FILE_STATFS] = path_statfs,
	[FILE_COPY] = data_copy,
};

/* Starts empty. */
void files_init(struct files *files, struct session *session, struct sftp *sftp)
{
	*files = (struct files){ .session = session, .sftp = sftp };
	TAILQ_INIT(&files->waiting);
	TAILQ_INIT(&files->running);
	TAILQ_INIT(&files->ended);
	TAILQ_INIT(&files->listings);
	TAILQ_INIT(&files->chunks);
}

/* Puts a job onto another list. */
static void move(struct job *job, struct files_jobs *list)
{
	if (job->list)
		TAILQ_REMOVE(job->list, job, link);
	job->list = list;
	if (list)
		TAILQ_INSERT_TAIL(list, job, link);
}

/* Frees a job. */
static void job_free(struct job *job)
{
	struct files *files = job->files;

	move(job, NULL);
	directory_cancel(job);
	ahead_cancel(job);
	if (job->buffer && job->request.length > READ_SMALL && !files->spare)
		files->spare = job->buffer;
	else
		free(job->buffer);
	free(job->pieces);
	text_done(&job->first);
	free(job->path);
	free(job->path2);
	free(job->full);
	free(job->full2);
	free(job);
}

/* Answers and frees. The job leaves its list first, as the answer may lead to anything. */
void job_end(struct job *job, int error, const void *bytes, size_t size)
{
	move(job, NULL);
	job->reply.error = error;
	if (job->done && !job->files->session->muted)
		job->done(job->data, &job->reply, error ? NULL : bytes, error ? 0 : size);
	job_free(job);
}

/* Puts off a job's end, or its finish, to the next turn. */
void job_later(struct job *job, int error)
{
	job->error = error;
	move(job, &job->files->ended);
	session_wake(job->files->session);
}

/* A path on the machine. */
static char *full_path(const struct files *files, const char *path)
{
	const char *root = files->sftp->root;

	if (!*path)
		return memory_string(root);
	return memory_format("%s/%s", strcmp(root, "/") ? root : "", path);
}

/* Makes the paths that the machine is asked about; a link's target is none. */
static int make_paths(struct job *job)
{
	if (job->request.handle)
		return 0;
	job->full = full_path(job->files, job->path);
	if (job->request.op == FILE_LINK || job->request.op == FILE_RENAME)
		job->full2 = full_path(job->files, job->path2);
	if (strlen(job->full) > FILES_PATH_MAX ||
		(job->full2 && strlen(job->full2) > FILES_PATH_MAX))
		return -ENAMETOOLONG;
	return 0;
}

/* Gives a job that has not been started to those who can do without SFTP. */
static void give_away(struct job *job)
{
	struct file_call call = { &job->request, job->path, job->path2, job->bytes };

	shellfiles_add(job->files->instead, job->key, &call, job->done, job->data);
	job_free(job);
}

/* Starts a job now; its failure is told on the next turn. */
static void start(struct job *job)
{
	struct files *files = job->files;
	int error = -EOPNOTSUPP;

	if (files->sftp->missing && files->instead)
		return give_away(job);
	if (files->sftp->state == SFTP_READY) {
		move(job, &files->running);
		error = make_paths(job);
		if (!error)
			error = starts[job->request.op](job);
	}
	job->bytes = NULL;
	if (error)
		job_later(job, error);
}

/* Takes a request. Handles are of one connection, so only a request by path can wait for SFTP. */
void files_add(struct files *files, uint64_t key, const struct file_call *call,
	transport_file_done *done, void *data)
{
	struct job *job = memory_new(sizeof(*job));
	enum sftp_state state = files->sftp->state;

	job->files = files;
	job->key = key;
	job->done = done;
	job->data = data;
	job->request = *call->request;
	job->path = memory_string(call->path);
	job->path2 = memory_string(call->path2);
	job->bytes = call->data;
	if (!files->connected)
		job->error = -EHOSTDOWN;
	else if (job->request.op >= FILE_OPS)
		job->error = -EINVAL;
	else if (state == SFTP_READY || state == SFTP_ABSENT)
		return start(job);
	else if (job->request.handle)
		job->error = -EBADF;
	job->bytes = NULL;
	move(job, job->error ? &files->ended : &files->waiting);
	session_wake(files->session);
}

/* The job with that key on one list. */
static struct job *find(struct files_jobs *list, uint64_t key)
{
	struct job *job;

	TAILQ_FOREACH(job, list, link)
		if (job->key == key && job->done)
			return job;
	return NULL;
}

/* Cancels. */
void files_cancel(struct files *files, uint64_t key)
{
	struct job *job;

	if ((job = find(&files->waiting, key)) || (job = find(&files->ended, key)))
		return job_free(job);
	job = find(&files->running, key);
	if (job && job->request.op == FILE_READDIR)
		job_free(job);
	else if (job)
		job->done = NULL;
}

/* Starts what waited. */
void files_ready(struct files *files)
{
	struct job *job;

	while ((job = TAILQ_FIRST(&files->waiting)))
		start(job);
}

/* Tells what was put off; not what comes of that. What was not told yet stays where files_cancel finds
 * it: an answer may lead to that, too. */
void files_turn(struct files *files)
{
	struct job *job;
	size_t count = 0;

	TAILQ_FOREACH(job, &files->ended, link)
		count++;
	for (; count && (job = TAILQ_FIRST(&files->ended)); count--) {
		if (job->error) {
			job_end(job, job->error, NULL, 0);
		} else {
			move(job, &files->running);
			job->finish(job);
		}
	}
}

/* Forgets the handles. */
static void forget_handles(struct files *files)
{
	for (size_t i = 0; i < FILES_BUCKETS; i++)
		while (files->handles[i])
			handle_forget(files, files->handles[i]);
	ahead_done(files);
}

/* Ends all. */
void files_lose(struct files *files, int error)
{
	struct files_jobs *lists[] = { &files->running, &files->waiting, &files->ended };
	struct job *job;

	files->connected = false;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		while ((job = TAILQ_FIRST(lists[i])))
			job_end(job, error, NULL, 0);
	forget_handles(files);
	directory_done(files);
	files->guess = (struct guess){ 0 };
}

/* Frees all. */
void files_done(struct files *files)
{
	struct job *job;

	while ((job = TAILQ_FIRST(&files->running)) || (job = TAILQ_FIRST(&files->waiting)) ||
		(job = TAILQ_FIRST(&files->ended)))
		job_free(job);
	forget_handles(files);
	directory_done(files);
	free(files->spare);
	files->spare = NULL;
}
