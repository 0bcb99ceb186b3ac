/* SPDX-License-Identifier: MIT */
/*
 * Renaming. OpenSSH's extension is rename(2). SFTP's own request does not replace what has
 * the new name. With a server that has no other, a target in the way goes first: an empty
 * directory is removed; anything else is renamed aside, and removed when the new one is in its
 * place, or put back when that failed. For that moment there is no target.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/base/memory.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/job.h"

/* Asks for one renaming by the protocol's own request. */
static void ask_rename(struct job *job, const char *from, const char *to,
	void (*finish)(struct job *job))
{
	packet_put_string(job_ask(job, PACKET_RENAME, from, job_take_status), to, strlen(to));
	job->finish = finish;
	job_asked(job);
}

/* What FAILURE means, by what has the new name. mv copies after EXDEV, and so finds out itself about
 * anything rarer. */
static void finish_judged(struct job *job)
{
	bool there = !job->look_error;

	if (there && job->request.flags & RENAME_NOREPLACE)
		job->error = -EEXIST;
	else
		job->error = there && S_ISDIR(job->look.mode) ? -ENOTEMPTY : -EXDEV;
	job_end(job, job->error, NULL, 0);
}

/* The end of a request that needs a judge where it failed. */
static void finish_renamed(struct job *job)
{
	if (!job->error || job->status != SFTP_FAILURE)
		return job_finish_status(job);
	job->finish = finish_judged;
	job_look(job, job->full2);
}

/* The old target is back, whether that worked or not: the renaming did not. */
static void finish_restored(struct job *job)
{
	job_end(job, -EIO, NULL, 0);
}

/* The old target is gone, whether that worked or not: the renaming did. */
static void finish_cleared(struct job *job)
{
	job_end(job, 0, NULL, 0);
}

/* With the old target aside, the new one took its place, or not. */
static void finish_replaced(struct job *job)
{
	if (job->error)
		return ask_rename(job, job->path2, job->full2, finish_restored);
	job->finish = finish_cleared;
	job_ask(job, PACKET_REMOVE, job->path2, job_take_status);
	job_asked(job);
}

/* The old target is aside, or not. */
static void finish_aside(struct job *job)
{
	if (job->error)
		return job_finish_status(job);
	ask_rename(job, job->full, job->full2, finish_replaced);
}

/* The directory in the way is removed, or not. */
static void finish_emptied(struct job *job)
{
	if (job->error)
		return job_end(job, job->status == SFTP_FAILURE ? -ENOTEMPTY : job->error, NULL, 0);
	ask_rename(job, job->full, job->full2, finish_renamed);
}

/* What has the new name was looked at: it goes out of the way. The path as it was asked for is not
 * needed any more; the one aside takes its place. */
static void finish_look(struct job *job)
{
	if (job->look_error)
		return finish_judged(job);
	if (S_ISDIR(job->look.mode)) {
		job->finish = finish_emptied;
		job_ask(job, PACKET_RMDIR, job->full2, job_take_status);
		return job_asked(job);
	}
	int directory = (int)(strrchr(job->full2, '/') - job->full2);

	free(job->path2);
	job->path2 = memory_format("%.*s/.poolfs-%llx-%x", directory, job->full2,
		(unsigned long long)job->key, (unsigned)rand());
	ask_rename(job, job->full2, job->path2, finish_aside);
}

/* The protocol's own request is answered. */
static void finish_plain(struct job *job)
{
	if (!job->error || job->status != SFTP_FAILURE || job->request.flags)
		return finish_renamed(job);
	job->finish = finish_look;
	job_look(job, job->full2);
}

/* FILE_RENAME */
int path_rename(struct job *job)
{
	struct sftp *sftp = job->files->sftp;

	if (job->request.flags & ~(uint32_t)RENAME_NOREPLACE)
		return -EINVAL;
	job->reply.count = sftp->extensions & SFTP_POSIX_RENAME ? 1 : 0;
	if (job->request.flags || !(sftp->extensions & SFTP_POSIX_RENAME)) {
		ask_rename(job, job->full, job->full2, finish_plain);
		return 0;
	}
	job->finish = finish_renamed;
	struct text *out = sftp_begin_extended(sftp, "posix-rename@openssh.com", job_take_status, job);

	packet_put_string(out, job->full, strlen(job->full));
	packet_put_string(out, job->full2, strlen(job->full2));
	job_asked(job);
	return 0;
}
