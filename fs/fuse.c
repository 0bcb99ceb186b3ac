/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "fs/fuse.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "fs/kernel.h"
#include "fs/tree.h"

/* How many requests are taken before other sources of the loop have their turn. */
#define REQUESTS_PER_TURN 64

/* Sizes for the kernel: of one write, and of reading ahead, in bytes. */
#define MAX_WRITE     1048576u
#define MAX_READAHEAD 2097152u

struct fuse_mount {
	struct fuse_session *session;
	struct fuse_buf buffer;
	uv_poll_t poll;
	bool polling;
	void (*ended)(void *data);
	void *data;
};

/* A request with what only libfuse needs. */
struct call {
	struct request request;
	fuse_req_t fuse;
	/* of readdir */
	char *entries;
	size_t size, used;
	bool plus;
};

struct poller {
	struct fuse_pollhandle *handle;
};

/* Wraps a request of libfuse. */
static struct request *call_new(fuse_req_t fuse)
{
	struct call *call = memory_new(sizeof(*call));
	const struct fuse_ctx *context = fuse_req_ctx(fuse);

	call->fuse = fuse;
	call->request.uid = context->uid;
	call->request.gid = context->gid;
	return &call->request;
}

/* Frees our part; the answer frees libfuse's. */
static fuse_req_t call_end(struct request *request)
{
	struct call *call = container_of(request, struct call, request);
	fuse_req_t fuse = call->fuse;

	free(call->entries);
	free(call);
	return fuse;
}

/* libfuse says that the caller was interrupted. */
static void call_interrupted(fuse_req_t fuse, void *data)
{
	struct request *request = data;

	request->interrupt(request, request->data);
}

/* The functions of request.h. */

void request_wait(struct request *request,
	void (*interrupt)(struct request *request, void *data), void *data)
{
	struct call *call = container_of(request, struct call, request);

	request->interrupt = interrupt;
	request->data = data;
	fuse_req_interrupt_func(call->fuse, call_interrupted, request);
}

void request_error(struct request *request, int error)
{
	fuse_reply_err(call_end(request), -error);
}

/* An entry as libfuse wants it. */
static struct fuse_entry_param entry_param(const struct entry *entry)
{
	return (struct fuse_entry_param){ .ino = entry->node,
		.attr = entry->attr,
		.attr_timeout = entry->attr_seconds,
		.entry_timeout = entry->entry_seconds };
}

void request_entry(struct request *request, const struct entry *entry)
{
	struct fuse_entry_param param = entry_param(entry);

	fuse_reply_entry(call_end(request), &param);
}

void request_attr(struct request *request, const struct stat *attr, double attr_seconds)
{
	fuse_reply_attr(call_end(request), attr, attr_seconds);
}

void request_link(struct request *request, const char *target)
{
	fuse_reply_readlink(call_end(request), target);
}

void request_data(struct request *request, const void *data, size_t size)
{
	fuse_reply_buf(call_end(request), data, size);
}

void request_written(struct request *request, size_t size)
{
	fuse_reply_write(call_end(request), size);
}

void request_statfs(struct request *request, const struct statvfs *statfs)
{
	fuse_reply_statfs(call_end(request), statfs);
}

void request_poll(struct request *request, unsigned events)
{
	fuse_reply_poll(call_end(request), events);
}

/* An open file as libfuse wants it. */
static struct fuse_file_info file_info(struct handle *handle, unsigned how)
{
	struct fuse_file_info info = { .fh = (uintptr_t)handle,
		.direct_io = !!(how & REQUEST_DIRECT),
		.keep_cache = !!(how & REQUEST_KEEP) };

	/* Older libraries cannot pass it on: then each close is told, and costs a request. */
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 11)
	info.noflush = !!(how & REQUEST_NO_FLUSH);
#endif
	return info;
}

void request_open(struct request *request, struct handle *handle, unsigned how)
{
	struct fuse_file_info info = file_info(handle, how);

	fuse_reply_open(call_end(request), &info);
}

void request_create(struct request *request, const struct entry *entry, struct handle *handle,
	unsigned how)
{
	struct fuse_entry_param param = entry_param(entry);
	struct fuse_file_info info = file_info(handle, how);

	fuse_reply_create(call_end(request), &param, &info);
}

bool request_dir_counts(const struct request *request)
{
	return container_of(request, struct call, request)->plus;
}

bool request_dir_add(struct request *request, const char *name, const struct entry *entry,
	uint64_t next)
{
	struct call *call = container_of(request, struct call, request);
	size_t space = call->size - call->used, need;

	if (call->plus) {
		struct fuse_entry_param param = entry_param(entry);

		need = fuse_add_direntry_plus(call->fuse, call->entries + call->used, space, name, &param,
			(off_t)next);
	} else {
		need = fuse_add_direntry(call->fuse, call->entries + call->used, space, name, &entry->attr,
			(off_t)next);
	}
	if (need > space)
		return false;
	call->used += need;
	return true;
}

void request_dir_done(struct request *request)
{
	struct call *call = container_of(request, struct call, request);

	fuse_reply_buf(call->fuse, call->entries, call->used);
	call_end(request);
}

void poller_free(struct poller *poller)
{
	if (!poller)
		return;
	fuse_pollhandle_destroy(poller->handle);
	free(poller);
}

void poller_fire(struct poller *poller)
{
	fuse_lowlevel_notify_poll(poller->handle);
	poller_free(poller);
}

/* The operations: one call into the tree for each. */

static void op_init(void *data, struct fuse_conn_info *connection)
{
	const struct fuse_mount *mount = data;

	kernel_connected(fuse_session_fd(mount->session), connection->proto_minor);
	connection->max_write = MAX_WRITE;
	connection->max_readahead = MAX_READAHEAD;
	connection->max_background = 64;
	connection->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
		FUSE_CAP_SPLICE_MOVE | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS_AUTO);
	connection->want |= connection->capable &
		(FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS |
			FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA);
}

static void op_lookup(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	tree_lookup(call_new(fuse), parent, name);
}

static void op_forget(fuse_req_t fuse, fuse_ino_t node, uint64_t count)
{
	tree_forget(node, count);
	fuse_reply_none(fuse);
}

static void op_forget_multi(fuse_req_t fuse, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		tree_forget(forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(fuse);
}

/* The open file that the kernel names. */
static struct handle *handle_of(const struct fuse_file_info *info)
{
	return (struct handle *)(uintptr_t)info->fh;
}

static void op_getattr(fuse_req_t fuse, fuse_ino_t node, struct fuse_file_info *info)
{
	tree_getattr(call_new(fuse), node, info ? handle_of(info) : NULL);
}

static void op_access(fuse_req_t fuse, fuse_ino_t node, int mask)
{
	tree_access(call_new(fuse), node, mask);
}

static void op_setattr(fuse_req_t fuse, fuse_ino_t node, struct stat *attr, int to_set,
	struct fuse_file_info *info)
{
	static const struct {
		int fuse;
		unsigned tree;
	} flags[] = {
		{ FUSE_SET_ATTR_MODE, TREE_SET_MODE },
		{ FUSE_SET_ATTR_UID, TREE_SET_UID },
		{ FUSE_SET_ATTR_GID, TREE_SET_GID },
		{ FUSE_SET_ATTR_SIZE, TREE_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW, TREE_SET_ATIME },
		{ FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW, TREE_SET_MTIME },
	};
	unsigned which = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (to_set & flags[i].fuse)
			which |= flags[i].tree;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		clock_gettime(CLOCK_REALTIME, &attr->st_atim);
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		clock_gettime(CLOCK_REALTIME, &attr->st_mtim);
	tree_setattr(call_new(fuse), node, info ? handle_of(info) : NULL, attr, which);
}

static void op_readlink(fuse_req_t fuse, fuse_ino_t node)
{
	tree_readlink(call_new(fuse), node);
}

static void op_mknod(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	tree_mknod(call_new(fuse), parent, name, mode);
}

static void op_mkdir(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode)
{
	tree_mkdir(call_new(fuse), parent, name, mode);
}

static void op_unlink(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	tree_unlink(call_new(fuse), parent, name);
}

static void op_rmdir(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	tree_rmdir(call_new(fuse), parent, name);
}

static void op_symlink(fuse_req_t fuse, const char *target, fuse_ino_t parent, const char *name)
{
	tree_symlink(call_new(fuse), target, parent, name);
}

static void op_rename(fuse_req_t fuse, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	tree_rename(call_new(fuse), parent, name, new_parent, new_name, flags);
}

static void op_link(fuse_req_t fuse, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
	tree_link(call_new(fuse), node, parent, name);
}

static void op_create(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode,
	struct fuse_file_info *info)
{
	tree_create(call_new(fuse), parent, name, mode, info->flags);
}

static void op_open(fuse_req_t fuse, fuse_ino_t node, struct fuse_file_info *info)
{
	tree_open(call_new(fuse), node, info->flags);
}

static void op_read(fuse_req_t fuse, fuse_ino_t node, size_t size, off_t offset,
	struct fuse_file_info *info)
{
	struct handle *handle = handle_of(info);

	/* fcntl(2) may have changed O_NONBLOCK since open(2). */
	handle->flags = info->flags;
	tree_read(call_new(fuse), handle, (uint64_t)offset, size);
}

static void op_write(fuse_req_t fuse, fuse_ino_t node, const char *data, size_t size, off_t offset,
	struct fuse_file_info *info)
{
	struct handle *handle = handle_of(info);

	handle->flags = info->flags;
	tree_write(call_new(fuse), handle, data, size, (uint64_t)offset, info->lock_owner);
}

static void op_flush(fuse_req_t fuse, fuse_ino_t node, struct fuse_file_info *info)
{
	tree_flush(call_new(fuse), handle_of(info), info->lock_owner);
}

static void op_fsync(fuse_req_t fuse, fuse_ino_t node, int data_only, struct fuse_file_info *info)
{
	tree_fsync(call_new(fuse), handle_of(info));
}

static void op_release(fuse_req_t fuse, fuse_ino_t node, struct fuse_file_info *info)
{
	tree_release(call_new(fuse), handle_of(info));
}

static void op_opendir(fuse_req_t fuse, fuse_ino_t node, struct fuse_file_info *info)
{
	tree_opendir(call_new(fuse), node);
}

/* Both forms of readdir. */
static void readdir_either(fuse_req_t fuse, size_t size, off_t offset, struct fuse_file_info *info,
	bool plus)
{
	struct request *request = call_new(fuse);
	struct call *call = container_of(request, struct call, request);

	call->entries = memory_grow(NULL, size);
	call->size = size;
	call->plus = plus;
	tree_readdir(request, handle_of(info), (uint64_t)offset);
}

static void op_readdir(fuse_req_t fuse, fuse_ino_t node, size_t size, off_t offset,
	struct fuse_file_info *info)
{
	readdir_either(fuse, size, offset, info, false);
}

static void op_readdirplus(fuse_req_t fuse, fuse_ino_t node, size_t size, off_t offset,
	struct fuse_file_info *info)
{
	readdir_either(fuse, size, offset, info, true);
}

static void op_fsyncdir(fuse_req_t fuse, fuse_ino_t node, int data_only,
	struct fuse_file_info *info)
{
	tree_fsyncdir(call_new(fuse), handle_of(info));
}

static void op_copy_file_range(fuse_req_t fuse, fuse_ino_t node, off_t offset,
	struct fuse_file_info *info, fuse_ino_t target, off_t target_offset,
	struct fuse_file_info *target_info, size_t size, int flags)
{
	tree_copy(call_new(fuse), handle_of(info), (uint64_t)offset, handle_of(target_info),
		(uint64_t)target_offset, size);
}

static void op_statfs(fuse_req_t fuse, fuse_ino_t node)
{
	tree_statfs(call_new(fuse), node);
}

static void op_poll(fuse_req_t fuse, fuse_ino_t node, struct fuse_file_info *info,
	struct fuse_pollhandle *handle)
{
	struct poller *poller = NULL;

	if (handle) {
		poller = memory_new(sizeof(*poller));
		poller->handle = handle;
	}
	tree_poll(call_new(fuse), handle_of(info), poller);
}

static const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.access = op_access,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_release,
	.fsyncdir = op_fsyncdir,
	.copy_file_range = op_copy_file_range,
	.statfs = op_statfs,
	.poll = op_poll,
};

/* The mount is gone: no more requests. */
static void stop_polling(struct fuse_mount *mount)
{
	if (mount->polling)
		uv_poll_stop(&mount->poll);
	mount->polling = false;
}

/* Requests are there. */
static void readable(uv_poll_t *poll, int status, int events)
{
	struct fuse_mount *mount = poll->data;

	for (int i = 0; i < REQUESTS_PER_TURN && !fuse_session_exited(mount->session); i++) {
		int got = fuse_session_receive_buf(mount->session, &mount->buffer);

		if (got == -EAGAIN || got == -EINTR)
			return;
		if (got <= 0)
			break;
		fuse_session_process_buf(mount->session, &mount->buffer);
	}
	if (fuse_session_exited(mount->session) && mount->polling) {
		stop_polling(mount);
		mount->ended(mount->data);
	}
}

/* The arguments of the session. The last word is ours: the guests are not trusted, and mount(8) as root
 * asks for dev and suid by itself. */
static int add_arguments(struct fuse_args *args, const char *source, const char *options,
	bool allow_other)
{
	char *name = memory_format("fsname=%s", source), *ours = NULL;
	int result = fuse_opt_add_opt(&ours, "subtype=poolfs");

	result = result || fuse_opt_add_opt_escaped(&ours, name);
	if (allow_other)
		result = result || fuse_opt_add_opt(&ours, "allow_other,default_permissions");
	result = result || fuse_opt_add_arg(args, "poolfs") || fuse_opt_add_arg(args, "-o") ||
		fuse_opt_add_arg(args, ours);
	if (options && *options)
		result = result || fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, options);
	result = result || fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, "nosuid,nodev");
	free(name);
	free(ours);
	return result ? -ENOMEM : 0;
}

/* Lets the loop serve the session. */
static int serve(struct fuse_mount *mount, uv_loop_t *loop)
{
	int fd = fuse_session_fd(mount->session);

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	mount->poll.data = mount;
	int result = uv_poll_init(loop, &mount->poll, fd);
	if (result == 0)
		result = uv_poll_start(&mount->poll, UV_READABLE, readable);
	mount->polling = result == 0;
	return result;
}

/* Mounts. */
int fuse_mount_new(struct uv_loop_s *loop, const char *source, const char *mount_point,
	const char *options, bool allow_other, void (*ended)(void *data), void *data,
	struct fuse_mount **out, struct poolfs_err *err)
{
	struct fuse_mount *mount = memory_new(sizeof(*mount));
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	mount->ended = ended;
	mount->data = data;
	int result = add_arguments(&args, source, options, allow_other);
	if (result == 0)
		mount->session = fuse_session_new(&args, &operations, sizeof(operations), mount);
	fuse_opt_free_args(&args);
	if (!mount->session) {
		free(mount);
		return poolfs_err_set(err, -EINVAL, "-o %s: not a mount option", options ? options : "");
	}
	if (fuse_session_mount(mount->session, mount_point) != 0) {
		fuse_session_destroy(mount->session);
		free(mount);
		return poolfs_err_set(err, -EIO,
			"%s: cannot be mounted; is there /dev/fuse, and fusermount3 of package fuse3?",
			mount_point);
	}
	result = serve(mount, loop);
	if (result < 0) {
		fuse_session_unmount(mount->session);
		fuse_session_destroy(mount->session);
		free(mount);
		return poolfs_err_set(err, result, "%s: %s", mount_point, strerror(-result));
	}
	*out = mount;
	return 0;
}

/* libfuse takes an error of the descriptor for the sign that nothing is to be unmounted: a pipe that nobody
 * reads has one. The kernel ends the session when the descriptor that was there is closed. */
void fuse_mount_sever(struct fuse_mount *mount)
{
	int ends[2];

	stop_polling(mount);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	dup3(ends[1], fuse_session_fd(mount->session), O_CLOEXEC);
	close(ends[0]);
	close(ends[1]);
}

/* Unmounts. */
void fuse_mount_end(struct fuse_mount *mount)
{
	stop_polling(mount);
	kernel_connected(-1, 0);
	fuse_session_unmount(mount->session);
}

/* libuv is done with the descriptor. */
static void poll_closed(uv_handle_t *handle)
{
	struct fuse_mount *mount = handle->data;

	fuse_session_destroy(mount->session);
	free(mount->buffer.mem);
	free(mount);
}

/* Closes. */
void fuse_mount_free(struct fuse_mount *mount)
{
	uv_close((uv_handle_t *)&mount->poll, poll_closed);
}
