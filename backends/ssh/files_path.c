/* SPDX-License-Identifier: MIT */
/* The file requests that work on paths. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/ssh/errors.h"
#include "backends/ssh/job.h"
#include "backends/protocol/link.h"

/* Attributes of a handle came: its size is a hint for reads. */
static void finish_getattr(struct job *job)
{
	struct handle *handle = job->request.handle ? job_handle(job) : NULL;

	if (handle && !job->look_error)
		handle->file_size = job->look.size;
	job_finish_look(job);
}

/* FILE_GETATTR */
int path_getattr(struct job *job)
{
	struct handle *handle = job_handle(job);

	if (job->request.handle && !handle)
		return -EBADF;
	job->finish = finish_getattr;
	if (handle) {
		job_ask_handle(job, PACKET_FSTAT, handle, job, job_take_look);
		job_asked(job);
	} else {
		job_look(job, job->full);
	}
	return 0;
}

/* The end of a change of attributes: whoever may not change the mode, owner or times of what he can look at
 * gets EPERM from a disk. */
static void finish_changed(struct job *job)
{
	if (job->error == -EACCES && !job->look_error && !(job->request.attr.valid & FILE_ATTR_SIZE))
		job->error = -EPERM;
	job_finish_look(job);
}

/* Sends the attributes by path, following a link, and a look. */
static void setattr_follow(struct job *job)
{
	packet_put_attr(job_ask(job, PACKET_SETSTAT, job->full, job_take_status),
		&job->request.attr, job->request.attr.valid);
	job_asked(job);
	job_look(job, job->full);
}

/* Where the server cannot do it without following links, the other way does for all but links. */
static void finish_setattr(struct job *job)
{
	bool cannot = job->error &&
		      (job->status == SFTP_FAILURE || job->status == SFTP_OP_UNSUPPORTED);

	if (!cannot || job->look_error)
		return finish_changed(job);
	if (S_ISLNK(job->look.mode))
		return job_end(job, -EOPNOTSUPP, NULL, 0);
	job->finish = finish_changed;
	job->reply.count = 0;
	setattr_follow(job);
}

/* The look before the change, for servers without lsetstat: links cannot be changed then. */
static void finish_setattr_look(struct job *job)
{
	if (job->look_error)
		return job_end(job, job->look_error, NULL, 0);
	if (S_ISLNK(job->look.mode))
		return job_end(job, -EOPNOTSUPP, NULL, 0);
	job->finish = finish_changed;
	setattr_follow(job);
}

/* FILE_SETATTR by handle. */
static int setattr_handle(struct job *job)
{
	const struct file_attr *attr = &job->request.attr;
	struct handle *handle = job_handle(job);

	if (!handle)
		return -EBADF;
	job->finish = finish_getattr;
	ahead_drop(handle);
	packet_put_attr(job_ask_handle(job, PACKET_FSETSTAT, handle, job, job_take_status), attr,
		attr->valid);
	job_asked(job);
	job_ask_handle(job, PACKET_FSTAT, handle, job, job_take_look);
	job_asked(job);
	return 0;
}

/* FILE_SETATTR. Only a regular file has a size to set, so that needs no look for a link before. */
int path_setattr(struct job *job)
{
	const struct file_attr *attr = &job->request.attr;
	struct sftp *sftp = job->files->sftp;

	if (job->request.handle)
		return setattr_handle(job);
	if (attr->valid & FILE_ATTR_SIZE) {
		job->finish = job_finish_look;
		job->reply.count = 1;
		setattr_follow(job);
	} else if (sftp->extensions & SFTP_LSETSTAT) {
		job->finish = finish_setattr;
		job->reply.count = 1;
		struct text *out = sftp_begin_extended(sftp, "lsetstat@openssh.com",
			job_take_status, job);

		packet_put_string(out, job->full, strlen(job->full));
		packet_put_attr(out, attr, attr->valid);
		job_asked(job);
		job_look(job, job->full);
	} else {
		job->finish = finish_setattr_look;
		job_look(job, job->full);
	}
	return 0;
}

/* The target came. */
static void take_link(void *data, const struct sftp_answer *answer)
{
	struct job *job = data;
	struct packet body = answer->body;
	char target[FILES_PATH_MAX + 1];
	int error = job_expect(job, answer, PACKET_NAME);
	size_t size;

	if (!error) {
		uint32_t count = packet_u32(&body);
		const char *text = packet_string(&body, &size);

		error = body.bad || count != 1 ? -EIO :
			link_contain(job->files->sftp->root, job->path, text, size, target);
	}
	job_end(job, error, target, error ? 0 : strlen(target));
}

/* FILE_READLINK */
int path_readlink(struct job *job)
{
	job_ask(job, PACKET_READLINK, job->full, take_link);
	job_asked(job);
	return 0;
}

/* Something was to be made, and then looked at: where the making failed and there is something, it
 * was in the way. */
static void finish_made(struct job *job)
{
	if (job->error && job->status == SFTP_FAILURE && !job->look_error)
		job->error = -EEXIST;
	job_finish_look(job);
}

/* FILE_SYMLINK. The order of the two paths is OpenSSH's; the draft has it the other way round, but
 * all servers follow OpenSSH (its PROTOCOL file, section 4.1). */
int path_symlink(struct job *job)
{
	job->finish = finish_made;
	packet_put_string(job_ask(job, PACKET_SYMLINK, job->path2, job_take_status), job->full,
		strlen(job->full));
	job_asked(job);
	job_look(job, job->full);
	return 0;
}

/* FILE_LINK */
int path_link(struct job *job)
{
	struct sftp *sftp = job->files->sftp;

	if (!(sftp->extensions & SFTP_HARDLINK))
		return -EOPNOTSUPP;
	job->finish = finish_made;
	struct text *out = sftp_begin_extended(sftp, "hardlink@openssh.com", job_take_status, job);

	packet_put_string(out, job->full, strlen(job->full));
	packet_put_string(out, job->full2, strlen(job->full2));
	job_asked(job);
	job_look(job, job->full2);
	return 0;
}

/* FILE_MKDIR */
int path_mkdir(struct job *job)
{
	job->finish = finish_made;
	packet_put_attr(job_ask(job, PACKET_MKDIR, job->full, job_take_status), &job->request.attr,
		FILE_ATTR_MODE);
	job_asked(job);
	job_look(job, job->full);
	return 0;
}

/* What FAILURE of a removal means, by what stands there. */
static void finish_judged(struct job *job)
{
	bool directory = !job->look_error && S_ISDIR(job->look.mode);

	switch (job->request.op) {
	case FILE_UNLINK:
		job->error = directory ? -EISDIR : -EIO;
		break;
	case FILE_RMDIR:
		job->error = directory ? -ENOTEMPTY : job->look_error ? -EIO : -ENOTDIR;
		break;
	default:
		break;
	}
	job_end(job, job->error, NULL, 0);
}

/* The first answer: only FAILURE needs a look. */
static void finish_removed(struct job *job)
{
	if (!job->error || job->status != SFTP_FAILURE)
		return job_finish_status(job);
	job->finish = finish_judged;
	job_look(job, job->full);
}

/* FILE_UNLINK */
int path_unlink(struct job *job)
{
	job->finish = finish_removed;
	job_ask(job, PACKET_REMOVE, job->full, job_take_status);
	job_asked(job);
	return 0;
}

/* FILE_RMDIR */
int path_rmdir(struct job *job)
{
	job->finish = finish_removed;
	job_ask(job, PACKET_RMDIR, job->full, job_take_status);
	job_asked(job);
	return 0;
}

/* Numbers about the filesystem came (OpenSSH's PROTOCOL file, section 4.4). */
static void take_statfs(void *data, const struct sftp_answer *answer)
{
	struct job *job = data;
	struct packet body = answer->body;
	struct file_statfs statfs = { 0 };
	int error = job_expect(job, answer, PACKET_EXTENDED_REPLY);

	if (!error) {
		packet_u64(&body);
		statfs.block_size = packet_u64(&body);
		statfs.blocks = packet_u64(&body);
		statfs.blocks_free = packet_u64(&body);
		statfs.blocks_available = packet_u64(&body);
		statfs.files = packet_u64(&body);
		statfs.files_free = packet_u64(&body);
		packet_u64(&body);
		packet_u64(&body);
		packet_u64(&body);
		statfs.name_max = packet_u64(&body);
		if (body.bad || statfs.block_size == 0 || statfs.block_size > 1u << 30)
			error = -EIO;
		if (statfs.name_max > FILES_NAME_MAX)
			statfs.name_max = FILES_NAME_MAX;
	}
	job_end(job, error, &statfs, error ? 0 : sizeof(statfs));
}

/* FILE_STATFS */
int path_statfs(struct job *job)
{
	struct sftp *sftp = job->files->sftp;

	if (!(sftp->extensions & SFTP_STATVFS))
		return -ENOSYS;
	packet_put_string(sftp_begin_extended(sftp, "statvfs@openssh.com", take_statfs, job),
		job->full, strlen(job->full));
	job_asked(job);
	return 0;
}
