/* SPDX-License-Identifier: MIT */
#include "tests/unit/far.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <uv.h>
#include <cmocka.h>

#include "backends/base/values.h"
#include "backends/kinds.h"
#include "fs/instance.h"
#include "fs/mount.h"
#include "fs/shim.h"

#define SENT_MAX 4096u

struct guestfs *far_files;
int far_failures, far_error;
char far_path[256];
uint64_t far_oldest, far_closed, far_size;
unsigned far_closes;

static struct far_sent sent[SENT_MAX];
static uint64_t last_handle;
static int handles;
static struct instance instance;
static struct mount mount;
static struct config_pool config;

/* What guestfs.c asks of the rest of the daemon. */
const struct config_pool *pool_config(const struct pool *pool)
{
	return &config;
}

struct mount *pool_mount(const struct pool *pool)
{
	return &mount;
}

void instance_files_failed(struct instance *which, const char *path, int error)
{
	far_failures++;
	far_error = error;
	snprintf(far_path, sizeof(far_path), "%s", path);
}

void instance_files_settled(struct instance *which, uint64_t oldest)
{
	far_oldest = oldest;
}

void handle_opened(struct handle *handle)
{
	handles++;
}

void handle_closed(struct handle *handle)
{
	handles--;
}

char *shim_slots(const struct shim *shim)
{
	return NULL;
}

size_t shim_queued(const struct shim *shim)
{
	return 0;
}

void shim_send(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	assert_int_equal(type, FRAME_CANCEL);
	for (size_t i = 0; i < SENT_MAX; i++)
		if (sent[i].id == id)
			sent[i].id = 0;
}

void shim_send_late(struct shim *shim, enum frame_type type, uint64_t id, const void *data, size_t size)
{
	struct file_request request;

	memcpy(&request, data, sizeof(request));
	assert_int_equal(request.op, FILE_CLOSE);
	far_closes++;
	far_closed = request.handle;
}

void shim_send_parts(struct shim *shim, enum frame_type type, uint64_t id,
	const struct iovec *parts, int count)
{
	for (size_t i = 0; i < SENT_MAX; i++) {
		if (sent[i].id)
			continue;
		sent[i] = (struct far_sent){ .id = id };
		memcpy(&sent[i].request, parts[0].iov_base, sizeof(sent[i].request));
		assert_true(parts[1].iov_len < sizeof(sent[i].path) && parts[2].iov_len < sizeof(sent[i].path2));
		memcpy(sent[i].path, parts[1].iov_len ? parts[1].iov_base : "", parts[1].iov_len);
		memcpy(sent[i].path2, parts[2].iov_len ? parts[2].iov_base : "", parts[2].iov_len);
		return;
	}
	fail_msg("too many requests are under way");
}

void far_begin(const char *files_mode)
{
	static const struct poolfs_key *const tables[] = { kinds_pool_keys, NULL };
	struct poolfs_err err;

	memset(sent, 0, sizeof(sent));
	far_failures = far_error = 0;
	far_closes = 0;
	far_closed = far_oldest = far_size = last_handle = 0;
	config.values = values_new(tables);
	assert_int_equal(values_set(config.values, "files_mode", files_mode, "/", &err), 0);
	assert_int_equal(values_set(config.values, "cache", "60", "/", &err), 0);
	values_defaults(config.values, "/");
	mount.loop = uv_default_loop();
	far_files = guestfs_new(&instance);
	guestfs_up(far_files);
}

void far_end(void)
{
	assert_int_equal(handles, 0);
	guestfs_free(far_files);
	uv_run(mount.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(mount.loop), 0);
	values_free(config.values);
	object_table_free();
}

void far_lose(void)
{
	memset(sent, 0, sizeof(sent));
	guestfs_down(far_files);
}

void far_return(void)
{
	guestfs_up(far_files);
}

unsigned far_count(enum file_op op)
{
	unsigned count = 0;

	for (size_t i = 0; i < SENT_MAX; i++)
		count += sent[i].id && sent[i].request.op == op;
	return count;
}

unsigned far_all(void)
{
	unsigned count = 0;

	for (unsigned op = 0; op < FILE_OPS; op++)
		count += far_count(op);
	return count;
}

/* The oldest of a kind, or of all (FILE_OPS). */
static struct far_sent *oldest_of(enum file_op op)
{
	struct far_sent *found = NULL;

	for (size_t i = 0; i < SENT_MAX; i++)
		if (sent[i].id && (op == FILE_OPS || sent[i].request.op == op) &&
			(!found || sent[i].id < found->id))
			found = &sent[i];
	return found;
}

struct far_sent *far_oldest_of(enum file_op op)
{
	struct far_sent *found = oldest_of(op);

	assert_non_null(found);
	return found;
}

void far_reply(struct far_sent *to, const struct file_reply *reply)
{
	uint64_t id = to->id;

	to->id = 0;
	assert_int_equal(guestfs_reply(far_files, id, reply, sizeof(*reply)), 0);
}

/* The type that an answer tells about. */
static mode_t type_of(const struct file_request *request)
{
	static const mode_t types[FILE_OPS] = { [FILE_MKDIR] = S_IFDIR, [FILE_SYMLINK] = S_IFLNK };

	return types[request->op] ? types[request->op] : S_IFREG;
}

/* As a guest does it. */
static void answer(struct far_sent *to)
{
	const struct file_request *request = &to->request;
	bool opens = request->op == FILE_OPEN;
	bool tells = opens || request->op == FILE_GETATTR || request->op == FILE_SETATTR ||
		request->op == FILE_MKDIR || request->op == FILE_SYMLINK || request->op == FILE_LINK;
	struct file_reply reply = { .handle = opens ? ++last_handle : 0,
		.count = request->op == FILE_WRITE ? request->data_size : 1 };

	if (tells)
		reply.attr = (struct file_attr){ .valid = FILE_ATTR_MODE | FILE_ATTR_SIZE | FILE_ATTR_TIMES |
				FILE_ATTR_OWNER, .mode = type_of(request) | 0644, .size = far_size, .mtime = 1000 };
	far_reply(to, &reply);
}

void far_answer(enum file_op op)
{
	answer(far_oldest_of(op));
}

void far_refuse(enum file_op op, int error)
{
	struct file_reply reply = { .error = error };

	far_reply(far_oldest_of(op), &reply);
}

void far_list(const char *const *names)
{
	struct file_attr attr = { .valid = FILE_ATTR_MODE | FILE_ATTR_SIZE };
	const struct file_reply reply = { 0 };
	struct far_sent *to = far_oldest_of(FILE_OPENDIR);
	struct text payload = { 0 };
	uint64_t id = to->id;

	to->id = 0;
	text_append(&payload, &reply, sizeof(reply));
	for (; *names; names++) {
		bool is_directory = strchr(*names, '/');

		attr.size = strchr(*names, '+') ? 1u << 20 : far_size;
		attr.mode = is_directory ? S_IFDIR | 0755 : S_IFREG | 0644;
		files_entry_append(&payload, &attr, *names, strlen(*names) - is_directory);
	}
	assert_int_equal(guestfs_reply(far_files, id, payload.data, payload.size), 0);
	text_done(&payload);
}

void far_settle(void)
{
	struct far_sent *next;

	while ((next = oldest_of(FILE_OPS)))
		answer(next);
}

struct object *far_object(const struct record *record)
{
	unsigned file;
	struct object *object = object_find(record->entry.node, &file);

	assert_non_null(object);
	return object;
}

struct object *far_mkdir(struct object *parent, const char *name)
{
	struct record record;

	guestfs_mkdir(record_new(&record), parent, name, 0755);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.error, 0);
	return far_object(&record);
}

struct handle *far_create(struct object *parent, const char *name, struct object **object)
{
	struct record record;

	guestfs_create(record_new(&record), parent, name, 0644, O_RDWR);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.error, 0);
	if (object)
		*object = far_object(&record);
	return record.handle;
}

void far_write(struct handle *handle, const char *bytes)
{
	struct record record;

	guestfs_write(record_new(&record), handle, bytes, strlen(bytes), 0);
	assert_int_equal(record.replies, 1);
	assert_int_equal(record.written, strlen(bytes));
}
