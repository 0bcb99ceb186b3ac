/* SPDX-License-Identifier: MIT */
/* File requests by shell commands: by the shells and tools of this host, and by some that lie. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/shellfiles/shell.h"
#include "backends/shellfiles/shellfiles.h"
#include "tests/unit/local.h"

#define PATIENCE_MS 60000

#define SMALL "cat dd mv ls rm rmdir mkdir ln chmod chown touch find date true"
#define BOX   SMALL " stat readlink df sync"

/* Seconds by which the clocks of this process, the loop's too, are ahead. */
static time_t leap;

/* In place of libc's. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	now->tv_sec += leap;
	return result;
}

/* A shell and its tools. */
struct machine {
	const char *shell[3];
	const char *tools;	/* those that there are, all of them busybox; NULL: this host's */
	const char *prepare;	/* what else is done in their directory */
	bool by_ls;		/* attributes come from ls */
	bool plain_touch;	/* touch sets both times, and follows links */
};

struct answer {
	struct file_reply reply;
	struct text data;
	bool done;
};

struct fixture {
	uv_loop_t loop;
	struct transport transport;
	struct shellfiles *files;
	char directory[64], tools[64], path[128];
	struct text log, status;
	uint64_t key;
};

static void add_log(void *data, const char *message)
{
	text_printf(&((struct fixture *)data)->log, "%s\n", message);
}

static void add_status(void *data, const char *key, const char *value)
{
	text_printf(&((struct fixture *)data)->status, "%s %s\n", key, value);
}

static const struct shellfiles_events events = { .log = add_log, .status = add_status };

static void command(const char *format, ...)
{
	char line[8192];
	va_list list;

	va_start(list, format);
	vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	if (system(line) != 0)
		fail_msg("%s", line);
}

static void start(struct fixture *fixture, const struct machine *machine)
{
	*fixture = (struct fixture){ 0 };
	strcpy(fixture->directory, "/tmp/poolfs-shell.XXXXXX");
	strcpy(fixture->tools, "/tmp/poolfs-tools.XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	assert_non_null(mkdtemp(fixture->tools));
	uv_loop_init(&fixture->loop);
	fixture->transport = (struct transport){ .loop = &fixture->loop, .directory = fixture->directory,
		.path = fixture->path };
	snprintf(fixture->path, sizeof(fixture->path), "%s%s", fixture->tools, machine->tools ? "" : ":/usr/bin:/bin");
	memcpy(fixture->transport.shell, machine->shell, sizeof(machine->shell));
	command("ln -s %s %s/sh", machine->shell[0], fixture->tools);
	if (machine->tools)
		command("for t in %s; do ln -s /bin/busybox %s/$t; done", machine->tools, fixture->tools);
	if (machine->prepare)
		command("cd %s && %s", fixture->tools, machine->prepare);
	fixture->files = shellfiles_new(&fixture->loop, &local_transport, &fixture->transport, &events, fixture);
	shellfiles_begin(fixture->files);
}

static void halt(struct fixture *fixture)
{
	shellfiles_lose(fixture->files, -EHOSTDOWN);
	while (fixture->transport.alive)
		uv_run(&fixture->loop, UV_RUN_ONCE);
	shellfiles_free(fixture->files);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&fixture->loop), 0);
	command("rm -rf %s %s", fixture->directory, fixture->tools);
	text_done(&fixture->log);
	text_done(&fixture->status);
}

static void answered(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct answer *answer = data;

	assert_false(answer->done);
	answer->reply = *reply;
	if (size)
		text_append(&answer->data, bytes, size);
	answer->done = true;
}

static uint64_t begin(struct fixture *fixture, struct answer *answer, const struct file_request *request,
	const char *path, const char *path2, const void *data)
{
	struct file_call call = { .request = request, .path = path, .path2 = path2 ? path2 : "", .data = data };

	*answer = (struct answer){ 0 };
	shellfiles_add(fixture->files, ++fixture->key, &call, answered, answer);
	assert_false(answer->done);
	return fixture->key;
}

static void timed_out(uv_timer_t *timer)
{
	fail_msg("no answer");
}

static int wait_for(struct fixture *fixture, struct answer *answer)
{
	uv_timer_t timer;

	uv_update_time(&fixture->loop);
	uv_timer_init(&fixture->loop, &timer);
	uv_timer_start(&timer, timed_out, PATIENCE_MS, 0);
	while (!answer->done)
		uv_run(&fixture->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&fixture->loop, UV_RUN_NOWAIT);
	return answer->reply.error;
}

/* Asks and waits; the answer's data are to be freed. */
static int ask(struct fixture *fixture, struct answer *answer, const struct file_request *request,
	const char *path, const char *path2, const void *data)
{
	begin(fixture, answer, request, path, path2, data);
	return wait_for(fixture, answer);
}

/* The same for what brings no data, or none that counts. */
static int simple(struct fixture *fixture, unsigned op, const char *path, const char *path2)
{
	struct file_request request = { .op = op, .attr.mode = 0755 };
	struct answer answer;
	int error = ask(fixture, &answer, &request, path, path2, NULL);

	text_done(&answer.data);
	return error;
}

static uint64_t open_file(struct fixture *fixture, const char *path, uint32_t flags, int expected)
{
	struct file_request request = { .op = FILE_OPEN, .flags = flags, .attr.mode = 0640 };
	struct answer answer;

	assert_int_equal(ask(fixture, &answer, &request, path, NULL, NULL), expected);
	text_done(&answer.data);
	return answer.reply.handle;
}

static int write_file(struct fixture *fixture, uint64_t handle, uint64_t offset, const void *bytes, size_t size)
{
	struct file_request request = { .op = FILE_WRITE, .handle = handle, .offset = offset,
		.data_size = (uint32_t)size };
	struct answer answer;

	return ask(fixture, &answer, &request, "", NULL, bytes);
}

static int close_file(struct fixture *fixture, uint64_t handle)
{
	struct file_request request = { .op = FILE_CLOSE, .handle = handle };
	struct answer answer;

	return ask(fixture, &answer, &request, "", NULL, NULL);
}

/* Reads, and compares. */
static void expect_bytes(struct fixture *fixture, uint64_t handle, uint64_t offset, uint32_t length,
	const void *bytes, size_t size)
{
	struct file_request request = { .op = FILE_READ, .handle = handle, .offset = offset, .length = length };
	struct answer answer;

	assert_int_equal(ask(fixture, &answer, &request, "", NULL, NULL), 0);
	assert_int_equal(answer.data.size, size);
	if (size)
		assert_memory_equal(answer.data.data, bytes, size);
	text_done(&answer.data);
}

/* Whether ls prints a name as it is, wherever that is. */
static bool is_printed(const char *name)
{
	for (; *name; name++)
		if (*name < ' ' || *name > '~')
			return false;
	return true;
}

/* Names of every kind: each is made, listed, looked at, renamed and removed. Without readlink, targets are
 * what ls makes of them. */
static void names(struct fixture *fixture, bool by_ls)
{
	char bytes[256], longest[256];
	const char *all[] = { "plain", "with space", " lead", "-rf", "--", "a'b", "a\"b", "a`b$c\\d", "new\nline",
		"end\n", "\n", "*", "?[a]", ".hidden", "..x", "%s%n", "\\0101", "~", "#", "!", "a;b&c|d", "$(id)",
		"\xff\xfe", "\xc3\xbc", "\x81\x82\x88", "\x01\x7f", "poolfs 1 0", bytes, longest };
	struct answer answer;
	struct file_request request = { .op = FILE_OPENDIR, .flags = FILES_LIST };
	size_t count = sizeof(all) / sizeof(*all), position = 0, found = 0;
	const struct file_entry *entry;
	const char *name;

	for (int i = 1, at = 0; i < 256; i++)
		if (i != '/')
			bytes[at++] = (char)i, bytes[at] = '\0';
	memset(longest, 'n', 255);
	longest[255] = '\0';
	assert_int_equal(simple(fixture, FILE_MKDIR, "d", NULL), 0);
	for (size_t i = 0; i < count; i++) {
		char *path = memory_format("d/%s", all[i]);

		close_file(fixture, open_file(fixture, path, O_WRONLY | O_CREAT | O_EXCL, 0));
		assert_int_equal(simple(fixture, FILE_GETATTR, path, NULL), 0);
		open_file(fixture, path, O_WRONLY | O_CREAT | O_EXCL, -EEXIST);
		free(path);
	}
	assert_int_equal(ask(fixture, &answer, &request, "d", NULL, NULL), 0);
	while (files_entry_next(answer.data.data, answer.data.size, &position, &entry, &name) > 0) {
		bool known = false;

		for (size_t i = 0; i < count; i++)
			known |= strlen(all[i]) == entry->name_size && !memcmp(all[i], name, entry->name_size);
		assert_true(known);
		assert_true(S_ISREG(entry->attr.mode));
		found++;
	}
	assert_int_equal(found, count);
	text_done(&answer.data);
	for (size_t i = 0; i < count; i++) {
		char *path = memory_format("d/%s", all[i]), *link = memory_format("d/%.250s.l", all[i]);

		assert_int_equal(simple(fixture, FILE_SYMLINK, link, all[i]), 0);
		request = (struct file_request){ .op = FILE_READLINK };
		int error = ask(fixture, &answer, &request, link, NULL, NULL);
		if (!by_ls || is_printed(all[i])) {
			assert_int_equal(error, 0);
			assert_string_equal(answer.data.data, all[i]);
		}
		text_done(&answer.data);
		assert_int_equal(simple(fixture, FILE_UNLINK, link, NULL), 0);
		assert_int_equal(simple(fixture, FILE_RENAME, path, "moved"), 0);
		assert_int_equal(simple(fixture, FILE_GETATTR, path, NULL), -ENOENT);
		assert_int_equal(simple(fixture, FILE_UNLINK, "moved", NULL), 0);
		free(path);
		free(link);
	}
	assert_int_equal(simple(fixture, FILE_RMDIR, "d", NULL), 0);
}

/* Every content, at every offset. */
static void contents(struct fixture *fixture)
{
	static const struct {
		uint64_t offset;
		size_t size;
	} parts[] = { { 0, 1 }, { 0, 100000 }, { 4096, 4096 }, { 65536, 262144 }, { 3, 10 }, { 12288, 5000 },
		{ 100001, 70000 }, { 131072, FILES_DATA_MAX }, { 1, FILES_DATA_MAX } };
	size_t size = 3u * FILES_DATA_MAX;
	char *model = memory_new(size), *bytes = memory_new(FILES_DATA_MAX);
	uint64_t handle = open_file(fixture, "c", O_RDWR | O_CREAT, 0), end = 0;

	srand(7);
	for (size_t i = 0; i < FILES_DATA_MAX; i++)
		bytes[i] = (char)rand();
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		assert_int_equal(write_file(fixture, handle, parts[i].offset, bytes + i, parts[i].size - (i ? i : 0)), 0);
		memcpy(model + parts[i].offset, bytes + i, parts[i].size - (i ? i : 0));
		if (parts[i].offset + parts[i].size - i > end)
			end = parts[i].offset + parts[i].size - i;
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		size_t left = end - parts[i].offset;

		expect_bytes(fixture, handle, parts[i].offset, (uint32_t)parts[i].size, model + parts[i].offset,
			parts[i].size < left ? parts[i].size : left);
	}
	expect_bytes(fixture, handle, end, 10, "", 0);
	expect_bytes(fixture, handle, end + 8192, 4096, "", 0);
	expect_bytes(fixture, handle, end - 3, 4096, model + end - 3, 3);
	/* A hole. */
	assert_int_equal(write_file(fixture, handle, 1u << 30, "x", 1), 0);
	expect_bytes(fixture, handle, (1u << 30) - 2, 10, "\0\0x", 3);
	assert_int_equal(close_file(fixture, handle), 0);
	assert_int_equal(close_file(fixture, handle), -EBADF);
	free(model);
	free(bytes);
}

/* How files are opened. */
static void opening(struct fixture *fixture)
{
	uint64_t handle = open_file(fixture, "o", O_WRONLY | O_CREAT, 0), other;
	struct file_request request = { .op = FILE_OPEN, .length = 100 };
	struct answer answer;

	assert_int_equal(write_file(fixture, handle, 0, "one\ntwo\n", 8), 0);
	assert_int_equal(ask(fixture, &answer, &request, "o", NULL, NULL), 0);
	assert_int_equal(answer.data.size, 8);
	assert_memory_equal(answer.data.data, "one\ntwo\n", 8);
	assert_int_equal(answer.reply.attr.mode, S_IFREG | 0640);
	text_done(&answer.data);
	other = open_file(fixture, "o", O_WRONLY | O_APPEND, 0);
	assert_int_equal(write_file(fixture, other, 0, "three\n", 6), 0);
	expect_bytes(fixture, answer.reply.handle, 0, 100, "one\ntwo\nthree\n", 14);
	assert_int_equal(write_file(fixture, answer.reply.handle, 0, "x", 1), -EBADF);
	assert_int_equal(close_file(fixture, open_file(fixture, "o", O_RDWR | O_TRUNC, 0)), 0);
	expect_bytes(fixture, answer.reply.handle, 0, 100, "", 0);
	assert_int_equal(simple(fixture, FILE_MKDIR, "od", NULL), 0);
	assert_int_equal(simple(fixture, FILE_SYMLINK, "ol", "o"), 0);
	command("mkfifo %s/of", fixture->directory);
	open_file(fixture, "od", O_RDONLY, -EISDIR);
	open_file(fixture, "ol", O_RDONLY, -ELOOP);
	open_file(fixture, "of", O_RDONLY, -ENXIO);
	open_file(fixture, "of", O_WRONLY | O_CREAT | O_EXCL, -EEXIST);
	open_file(fixture, "none", O_RDONLY, -ENOENT);
	open_file(fixture, "o/x", O_RDONLY, -ENOTDIR);
	open_file(fixture, "none/x", O_WRONLY | O_CREAT, -ENOENT);
	/* It is removed, replaced and renamed, and stays what it was. */
	assert_int_equal(write_file(fixture, handle, 0, "old", 3), 0);
	assert_int_equal(simple(fixture, FILE_UNLINK, "o", NULL), 0);
	assert_int_equal(simple(fixture, FILE_GETATTR, "o", NULL), -ENOENT);
	expect_bytes(fixture, answer.reply.handle, 0, 100, "old", 3);
	close_file(fixture, open_file(fixture, "p", O_WRONLY | O_CREAT, 0));
	request = (struct file_request){ .op = FILE_OPENDIR, .flags = FILES_LIST };
	struct answer list;
	assert_int_equal(ask(fixture, &list, &request, "", NULL, NULL), 0);
	assert_null(memmem(list.data.data, list.data.size, "poolfs", 6));
	text_done(&list.data);
	assert_int_equal(close_file(fixture, handle), 0);
	assert_int_equal(close_file(fixture, other), 0);
	assert_int_equal(close_file(fixture, answer.reply.handle), 0);
	command("! ls -a %s | grep poolfs", fixture->directory);
	handle = open_file(fixture, "p", O_RDWR, 0);
	assert_int_equal(write_file(fixture, handle, 0, "first", 5), 0);
	other = open_file(fixture, "q", O_RDWR | O_CREAT, 0);
	assert_int_equal(write_file(fixture, other, 0, "second", 6), 0);
	assert_int_equal(simple(fixture, FILE_RENAME, "q", "p"), 0);
	expect_bytes(fixture, handle, 0, 100, "first", 5);
	expect_bytes(fixture, other, 0, 100, "second", 6);
	assert_int_equal(simple(fixture, FILE_RENAME, "p", "od/p"), 0);
	assert_int_equal(simple(fixture, FILE_RENAME, "od", "oe"), 0);
	expect_bytes(fixture, other, 0, 100, "second", 6);
	/* Another one in its place is none of ours. */
	command("cd %s/oe && echo x >y && mv y p", fixture->directory);
	assert_int_equal(write_file(fixture, other, 0, "x", 1), -ESTALE);
	command("rm %s/oe/p", fixture->directory);
	assert_int_equal(write_file(fixture, other, 0, "x", 1), -ESTALE);
	expect_bytes(fixture, handle, 0, 100, "first", 5);
	assert_int_equal(close_file(fixture, handle), 0);
	assert_int_equal(close_file(fixture, other), 0);
	command("! ls -a %s | grep poolfs", fixture->directory);
}

/* Attributes, and what changes them. */
static void attributes(struct fixture *fixture, const struct machine *machine)
{
	struct file_request request = { .op = FILE_SETATTR,
		.attr = { .valid = FILE_ATTR_SIZE, .size = 5000000000 } };
	struct answer answer;
	struct stat stat;

	close_file(fixture, open_file(fixture, "a", O_WRONLY | O_CREAT, 0));
	assert_int_equal(ask(fixture, &answer, &request, "a", NULL, NULL), 0);
	assert_true(answer.reply.attr.size == 5000000000);
	request.attr = (struct file_attr){ .valid = FILE_ATTR_SIZE | FILE_ATTR_MODE | FILE_ATTR_TIMES, .size = 3,
		.mode = 0751, .atime = 1000000000, .mtime = 1234567890 };
	assert_int_equal(ask(fixture, &answer, &request, "a", NULL, NULL), 0);
	assert_true(answer.reply.attr.size == 3 && answer.reply.attr.mode == (S_IFREG | 0751));
	char *path = memory_format("%s/a", fixture->directory);
	assert_int_equal(lstat(path, &stat), 0);
	assert_int_equal(stat.st_mtime, 1234567890);
	assert_int_equal(stat.st_atime, machine->plain_touch ? 1234567890 : 1000000000);
	free(path);
	request.attr = (struct file_attr){ .valid = FILE_ATTR_OWNER, .uid = getuid(), .gid = getgid() };
	assert_int_equal(ask(fixture, &answer, &request, "a", NULL, NULL), 0);
	assert_int_equal(answer.reply.attr.uid, getuid());
	request.attr = (struct file_attr){ .valid = FILE_ATTR_SIZE };
	assert_int_equal(simple(fixture, FILE_MKDIR, "ad", NULL), 0);
	assert_int_equal(ask(fixture, &answer, &request, "ad", NULL, NULL), -EISDIR);
	assert_int_equal(ask(fixture, &answer, &request, "none", NULL, NULL), -ENOENT);
	assert_int_equal(simple(fixture, FILE_SYMLINK, "al", "nowhere"), 0);
	request.attr = (struct file_attr){ .valid = FILE_ATTR_MODE, .mode = 0600 };
	assert_int_equal(ask(fixture, &answer, &request, "al", NULL, NULL), -EOPNOTSUPP);
	request.attr = (struct file_attr){ .valid = FILE_ATTR_TIMES, .atime = 5, .mtime = 6000 };
	assert_int_equal(ask(fixture, &answer, &request, "al", NULL, NULL), machine->plain_touch ? -EOPNOTSUPP : 0);
	if (!machine->plain_touch && !machine->by_ls)
		assert_int_equal(answer.reply.attr.mtime, 6000);
	assert_int_equal(ask(fixture, &answer, &request, "none", NULL, NULL), -ENOENT);
	request = (struct file_request){ .op = FILE_STATFS };
	assert_int_equal(ask(fixture, &answer, &request, "ad", NULL, NULL), 0);
	assert_int_equal(answer.data.size, sizeof(struct file_statfs));
	assert_true(((struct file_statfs *)answer.data.data)->blocks > 0);
	text_done(&answer.data);
	int synced = simple(fixture, FILE_FSYNC, "ad", NULL);
	assert_true(synced == 0 || synced == -ENOSYS);
}

/* Names that are made, moved and removed. */
static void trees(struct fixture *fixture)
{
	struct file_request request = { .op = FILE_RENAME, .flags = RENAME_NOREPLACE };
	struct answer answer;

	command("cd %s && mkdir -p t/d/e t/f && echo x >t/a && echo y >t/b && ln -s a t/l && ln -s d t/m", fixture->directory);
	assert_int_equal(simple(fixture, FILE_MKDIR, "t/d", NULL), -EEXIST);
	assert_int_equal(simple(fixture, FILE_MKDIR, "t/l", NULL), -EEXIST);
	assert_int_equal(simple(fixture, FILE_MKDIR, "t/a/x", NULL), -ENOTDIR);
	assert_int_equal(simple(fixture, FILE_RMDIR, "t/d", NULL), -ENOTEMPTY);
	assert_int_equal(simple(fixture, FILE_RMDIR, "t/a", NULL), -ENOTDIR);
	assert_int_equal(simple(fixture, FILE_RMDIR, "t/m", NULL), -ENOTDIR);
	assert_int_equal(simple(fixture, FILE_RMDIR, "t/none", NULL), -ENOENT);
	assert_int_equal(simple(fixture, FILE_UNLINK, "t/d", NULL), -EISDIR);
	assert_int_equal(simple(fixture, FILE_UNLINK, "t/none", NULL), -ENOENT);
	assert_int_equal(simple(fixture, FILE_SYMLINK, "t/a", "x"), -EEXIST);
	assert_int_equal(simple(fixture, FILE_SYMLINK, "t/d", "x"), -EEXIST);
	assert_int_equal(simple(fixture, FILE_LINK, "t/a", "t/d"), -EEXIST);
	assert_int_equal(simple(fixture, FILE_LINK, "t/a", "t/hard"), 0);
	assert_int_equal(simple(fixture, FILE_LINK, "t/l", "t/hard.l"), 0);
	command("cd %s/t && test a -ef hard && test -L hard.l", fixture->directory);
	assert_int_equal(simple(fixture, FILE_LINK, "t/d", "t/hard.d"), -EPERM);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/a", "t/hard"), 0);
	command("cd %s/t && test -e a && test -e hard && rm hard", fixture->directory);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/a", "t/d"), -EISDIR);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/d", "t/a"), -ENOTDIR);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/f", "t/d"), -ENOTEMPTY);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/d", "t/f"), 0);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/f", "t/f/x"), -EINVAL);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/f", "t/f"), 0);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/none", "t/x"), -ENOENT);
	assert_int_equal(simple(fixture, FILE_RENAME, "t/a", "t/none/x"), -ENOENT);
	/* Over a link, which is replaced, not what it leads to. */
	assert_int_equal(simple(fixture, FILE_RENAME, "t/a", "t/m"), 0);
	command("cd %s/t && test -f m && ! test -L m && test -d f/e", fixture->directory);
	assert_int_equal(ask(fixture, &answer, &request, "t/m", "t/b", NULL), -EEXIST);
	assert_int_equal(ask(fixture, &answer, &request, "t/m", "t/c", NULL), 0);
	assert_int_equal(ask(fixture, &answer, &request, "t/f", "t/c", NULL), -EEXIST);
	assert_int_equal(ask(fixture, &answer, &request, "t/f", "t/g", NULL), 0);
	assert_int_equal(ask(fixture, &answer, &request, "t/l", "t/k", NULL), 0);
	command("cd %s/t && test -f c && test -d g/e && test -L k && ! test -e m && ! test -e f && ! test -L l",
		fixture->directory);
	request = (struct file_request){ .op = FILE_OPENDIR, .flags = FILES_LIST };
	assert_int_equal(ask(fixture, &answer, &request, "t/c", NULL, NULL), -ENOTDIR);
	assert_int_equal(ask(fixture, &answer, &request, "t/none", NULL, NULL), -ENOENT);
	assert_int_equal(ask(fixture, &answer, &request, "t/g/e", NULL, NULL), 0);
	assert_int_equal(answer.data.size, 0);
	assert_int_equal(answer.reply.handle, 0);
	/* A target outside is none. */
	command("ln -s /etc %s/t/out && ln -s %s/t/c %s/t/in", fixture->directory, fixture->directory, fixture->directory);
	request = (struct file_request){ .op = FILE_READLINK };
	assert_int_equal(ask(fixture, &answer, &request, "t/out", NULL, NULL), -EPERM);
	assert_int_equal(ask(fixture, &answer, &request, "t/in", NULL, NULL), 0);
	assert_string_equal(answer.data.data, "../t/c");
	text_done(&answer.data);
	assert_int_equal(ask(fixture, &answer, &request, "t/c", NULL, NULL), -EINVAL);
}

/* Copies inside the machine, as far as there is something. */
static void copies(struct fixture *fixture)
{
	struct file_request request = { .op = FILE_COPY, .length = FILES_COPY_MAX };
	struct answer answer;

	command("head -c 200000 /dev/urandom >%s/k", fixture->directory);
	request.handle = open_file(fixture, "k", O_RDONLY, 0);
	request.handle2 = open_file(fixture, "k2", O_RDWR | O_CREAT, 0);
	assert_int_equal(ask(fixture, &answer, &request, "", NULL, NULL), 0);
	assert_int_equal(answer.reply.count, 200000);
	command("cmp %s/k %s/k2", fixture->directory, fixture->directory);
	request.offset = 3;
	request.offset2 = 200001;
	request.length = 1000;
	assert_int_equal(ask(fixture, &answer, &request, "", NULL, NULL), 0);
	assert_int_equal(answer.reply.count, 1000);
	command("cd %s && (head -c 200000 k; printf '\\0'; tail -c +4 k | head -c 1000) | cmp - k2", fixture->directory);
	request.offset = 200000;
	assert_int_equal(ask(fixture, &answer, &request, "", NULL, NULL), 0);
	assert_int_equal(answer.reply.count, 0);
	assert_int_equal(close_file(fixture, request.handle), 0);
	assert_int_equal(close_file(fixture, request.handle2), 0);
}

/* A shell that is killed in the middle of many requests: the one that it was at fails, no other. */
static void test_killed(void **state)
{
	static const struct machine machine = { { "/bin/dash" }, SMALL " stat",
		"rm mkdir; echo '#!/bin/dash\ncase $1 in ./bad) kill -9 $PPID;; esac; exec /bin/busybox mkdir \"$1\"' >mkdir; "
		"chmod +x mkdir" };
	struct file_request request = { .op = FILE_MKDIR, .attr.mode = 0700 };
	struct answer answers[12];
	struct fixture fixture;

	start(&fixture, &machine);
	for (int i = 0; i < 12; i++) {
		char name[] = { (char)('a' + i), '\0' };

		begin(&fixture, &answers[i], &request, i == 5 ? "bad" : name, NULL, NULL);
	}
	for (int i = 0; i < 12; i++)
		assert_int_equal(wait_for(&fixture, &answers[i]), i == 5 ? -EIO : 0);
	assert_int_equal(fixture.transport.started, 2);
	assert_non_null(strstr(fixture.log.data, "the shell on the machine is given up: a signal ended it"));
	halt(&fixture);
}

/* What nobody waits for any more is not told; the machine's loss is. */
static void test_cancelled(void **state)
{
	static const struct machine machine = { { "/bin/dash" }, NULL,
		"mkfifo gate; echo '#!/bin/dash\nread x <${0%/*}/gate; exec /bin/mkdir \"$1\"' >mkdir; chmod +x mkdir" };
	struct file_request request = { .op = FILE_MKDIR, .attr.mode = 0700 };
	struct answer sent, waiting, lost;
	struct fixture fixture;

	start(&fixture, &machine);
	assert_int_equal(simple(&fixture, FILE_GETATTR, "", NULL), 0);
	uint64_t first = begin(&fixture, &sent, &request, "a", NULL, NULL);
	uint64_t second = begin(&fixture, &waiting, &request, "b", NULL, NULL);
	shellfiles_cancel(fixture.files, second);
	begin(&fixture, &lost, &(struct file_request){ .op = FILE_GETATTR }, "a", NULL, NULL);
	uv_run(&fixture.loop, UV_RUN_NOWAIT);
	shellfiles_cancel(fixture.files, first);
	command("echo >%s/gate", fixture.tools);
	assert_int_equal(wait_for(&fixture, &lost), 0);
	assert_false(sent.done || waiting.done);
	command("cd %s && test -d a && ! test -e b", fixture.directory);
	begin(&fixture, &sent, &request, "c", NULL, NULL);
	begin(&fixture, &lost, &request, "d", NULL, NULL);
	uv_run(&fixture.loop, UV_RUN_NOWAIT);
	shellfiles_lose(fixture.files, -ENOTCONN);
	assert_true(sent.done && lost.done);
	assert_int_equal(sent.reply.error, -ENOTCONN);
	assert_int_equal(simple(&fixture, FILE_GETATTR, "", NULL), -EHOSTDOWN);
	shellfiles_begin(fixture.files);
	assert_int_equal(simple(&fixture, FILE_GETATTR, "", NULL), 0);
	halt(&fixture);
}

/* Runs the loop until a file is there. */
static void await_file(struct fixture *fixture, const char *name)
{
	char *path = memory_format("%s/%s", fixture->tools, name);

	while (access(path, F_OK) < 0)
		uv_run(&fixture->loop, UV_RUN_NOWAIT);
	free(path);
}

/* A tool that does not end is killed with its shell, and only its request fails; a sync may take longer. */
static void test_late(void **state)
{
	static const struct machine machine = { { "/bin/dash" }, SMALL " stat sleep",
		"rm mkdir; for t in mkdir sync; do printf '#!/bin/dash\\ncd %s; echo $$ >.pid; mv .pid %s; "
		"exec sleep 1000\\n' '${0%/*}' $t.pid >$t; chmod +x $t; done" };
	struct file_request request = { .op = FILE_MKDIR, .attr.mode = 0700 };
	struct answer late, next;
	struct fixture fixture;

	start(&fixture, &machine);
	begin(&fixture, &late, &request, "a", NULL, NULL);
	begin(&fixture, &next, &(struct file_request){ .op = FILE_GETATTR }, "", NULL, NULL);
	await_file(&fixture, "mkdir.pid");
	leap += SHELL_ANSWER / 1000 + 1;
	assert_int_equal(wait_for(&fixture, &late), -ETIMEDOUT);
	assert_int_equal(wait_for(&fixture, &next), 0);
	assert_int_equal(fixture.transport.started, 2);
	assert_non_null(strstr(fixture.log.data, "no answer in 10 seconds"));
	command("read p <%s/mkdir.pid; for i in $(seq 1000); do case $(cat /proc/$p/stat 2>/dev/null) in "
		"'' | *') Z '*) exit 0;; esac; sleep 0.02; done; exit 1", fixture.tools);
	request = (struct file_request){ .op = FILE_FSYNC };
	begin(&fixture, &late, &request, "", NULL, NULL);
	await_file(&fixture, "sync.pid");
	leap += SHELL_ANSWER / 1000 + 1;
	for (int i = 0; i < 3; i++)
		uv_run(&fixture.loop, UV_RUN_ONCE);
	assert_false(late.done);
	leap += SHELL_SLOW / 1000;
	assert_int_equal(wait_for(&fixture, &late), -ETIMEDOUT);
	halt(&fixture);
}

/* Shells that lie. Each reads the program, says what it is told to, and then does `lie` for every line. */
#define PRELUDE \
	"IFS= read -r l; T=${l##*T=}; a() { printf '\\n%s %s %s\\n' $T $1 $2; }; h='1 2 41ed 4096 0 0 2 5 5 ./'; " \
	"hello() { a 0 0; printf '%s\\n' \"$h\" 0022 'stat -c 1 1 1 1 1 1 1 1 1' '2026 11 22 20 08' /r; a 1 0; }; " \
	"while IFS= read -r l; do case $l in 'exec 3'*) break;; esac; done; "
#define EACH "; while IFS= read -r l; do n=${l#*n=}; n=${n%%;*}; lie; done"

static const struct {
	const char *script;
	unsigned op;
	int error;
	unsigned shells;	/* that are started for two such requests */
	const char *log;	/* holds this */
} liars[] = {
	{ "exit 3", FILE_GETATTR, -EOPNOTSUPP, 1, "does not work by shell commands: it ended with status 3" },
	{ "a 0 0; echo nonsense; a 1 0; cat", FILE_GETATTR, -EOPNOTSUPP, 1, "answers what it was not asked" },
	{ "a 5 0; cat", FILE_GETATTR, -EOPNOTSUPP, 1, "out of order" },
	{ "h='1 2 41ed 4096 0 0 2 5 5'; hello; cat", FILE_GETATTR, -EOPNOTSUPP, 1, "answers what it was not asked" },
	{ "yes", FILE_GETATTR, -EOPNOTSUPP, 1, "prints too much" },
	{ "hello; lie() { a 99 0; }" EACH, FILE_GETATTR, -EIO, 2, "out of order" },
	{ "hello; lie() { printf '\\n%s %s 012345678901234567890123456789012345678901234567890123456789\\n' $T $n; }" EACH,
		FILE_GETATTR, -EIO, 2, "malformed" },
	{ "hello; lie() { yes; }" EACH, FILE_GETATTR, -EIO, 2, "prints too much" },
	{ "hello; lie() { exit 0; }" EACH, FILE_GETATTR, -EIO, 2, "it ended with status 0" },
	{ "hello; lie() { a $n EFOO; }" EACH, FILE_GETATTR, -EIO, 1, "" },
	{ "hello; lie() { a $n 0; }" EACH, FILE_GETATTR, -EIO, 1, "" },
	{ "hello; lie() { echo '1 2 81a4 -5 0 0 1 5 5 ./x/'; a $n 0; }" EACH, FILE_GETATTR, -EIO, 1, "" },
	{ "hello; lie() { echo '1 2 f1a4 5 0 0 1 5 5 ./x/'; a $n 0; }" EACH, FILE_GETATTR, -EIO, 1, "" },
	{ "hello; lie() { echo '1 2 81a4 5 99999999999 0 1 5 5 ./x/'; a $n 0; }" EACH, FILE_GETATTR, -EIO, 1, "" },
	{ "hello; lie() { echo '1 2 81a4 5 0 0 1 5 5 ./y/'; a $n 0; }" EACH, FILE_GETATTR, -EIO, 1, "" },
	{ "hello; lie() { echo '1 2 81a4 5 0 0 1 5 5 ./x/'; echo more; a $n 0; }" EACH, FILE_GETATTR, -EIO, 1, "" },
	{ "hello; lie() { echo '1 2 41ed 5 0 0 1 5 5 ./x/'; a $n 0; }" EACH, FILE_OPEN, -EISDIR, 1, "" },
	{ "hello; lie() { echo '1 2 61ed 5 0 0 1 5 5 ./x/'; a $n 0; }" EACH, FILE_OPEN, -ENXIO, 1, "" },
	{ "hello; lie() { echo /etc/passwd; a $n 0; }" EACH, FILE_READLINK, -EPERM, 1, "" },
	{ "hello; lie() { echo ../../x; a $n 0; }" EACH, FILE_READLINK, -EPERM, 1, "" },
	{ "hello; lie() { echo; a $n 0; }" EACH, FILE_READLINK, -EIO, 1, "" },
	{ "hello; lie() { printf 'a\\0b\\n'; a $n 0; }" EACH, FILE_READLINK, -EIO, 1, "" },
	{ "hello; lie() { echo 0 1 2 3 4 5 6; a $n 0; }" EACH, FILE_STATFS, -EIO, 1, "" },
	{ "hello; lie() { echo '1 2 81a4 5 0 0 1 5 5 ./x'; a $n 0; }" EACH, FILE_OPENDIR, -EIO, 1, "" },
	{ "hello; lie() { echo '1 2 81a4 5 0 0 1 5 5 x/'; a $n 0; }" EACH, FILE_OPENDIR, -EIO, 1, "" },
	{ "hello; lie() { yes | tr -d '\\n'; }" EACH, FILE_OPENDIR, -EIO, 2, "prints too much" },
};

static void lying(struct fixture *fixture, const char *script)
{
	struct machine machine = { { "/bin/dash" } };

	start(fixture, &machine);
	char *path = memory_format("%s/liar", fixture->tools);
	FILE *file = fopen(path, "w");
	fputs(PRELUDE, file);
	fputs(script, file);
	fclose(file);
	fixture->transport.shell[1] = path;
}

static void lying_end(struct fixture *fixture)
{
	char *path = (char *)fixture->transport.shell[1];

	halt(fixture);
	free(path);
}

static void test_liars(void **state)
{
	for (size_t i = 0; i < sizeof(liars) / sizeof(*liars); i++) {
		struct fixture fixture;

		lying(&fixture, liars[i].script);
		for (int k = 0; k < 2; k++)
			if (simple(&fixture, liars[i].op, "x", NULL) != liars[i].error)
				fail_msg("%s", liars[i].script);
		assert_int_equal(fixture.transport.started, liars[i].shells);
		if (*liars[i].log && !strstr(fixture.log.data, liars[i].log))
			fail_msg("%s: %s", liars[i].script, fixture.log.data);
		lying_end(&fixture);
	}
}

/* Lists a directory; the number of entries, each of a possible name. */
static int list(struct fixture *fixture)
{
	struct file_request request = { .op = FILE_OPENDIR, .flags = FILES_LIST };
	const struct file_entry *entry;
	struct answer answer;
	const char *name;
	size_t position = 0;
	int count = 0, error = ask(fixture, &answer, &request, "d", NULL, NULL), result;

	while ((result = error ? 0 : files_entry_next(answer.data.data, answer.data.size, &position, &entry, &name)) > 0)
		count++;
	assert_int_equal(result, 0);
	text_done(&answer.data);
	return error ? error : count;
}

/* Listings with impossible names, and without end. */
static void test_lying_listings(void **state)
{
	struct fixture fixture;

	lying(&fixture, "hello; p='1 2 81a4 5 0 0 1 5 5 ./'; lie() { for i in a . .. '' a b $(printf %0256d 0) \"c\nd\"; do "
		"echo \"$p$i/\"; done; a $n 0; }" EACH);
	assert_int_equal(list(&fixture), 3);
	assert_non_null(strstr(fixture.log.data, "3 entries of a directory have impossible names"));
	assert_non_null(strstr(fixture.status.data, "files_entries_dropped 3"));
	lying_end(&fixture);
	lying(&fixture, "hello; lie() { yes '1 2 81a4 5 0 0 1 5 5 ./a/'; }" EACH);
	assert_int_equal(list(&fixture), 1);
	assert_int_equal(list(&fixture), 1);
	assert_non_null(strstr(fixture.status.data, "files_directories_cut 2"));
	lying_end(&fixture);
}

/* A program of the machine that refuses some words, and is busybox' otherwise. */
#define REFUSING(name, words) \
	"rm -f " name "; echo '#!/bin/busybox sh\ncase \" $* \" in " words ") exit 1;; esac; " \
	"exec /bin/busybox " name " \"$@\"' >" name "; chmod +x " name "; "
/* What POSIX says of them, and no more. */
#define POSIX REFUSING("dd", "*iflag*") REFUSING("mv", "*-T*") REFUSING("ln", "*-T*")
/* stat(1) of the BSDs: it has -f for a format, with other letters, and no -c. */
#define BSD_STAT \
	"echo '#!/bin/busybox sh\n" \
	"[ \"$1\" = -f ] || { echo \"stat: illegal option -- ${1#-}\" >&2; exit 1; }\n" \
	"f=${2/%Xp/%f}; f=${f/%z/%s}; f=${f/%l/%h}; f=${f/%a/%X}; f=${f/%m/%Y}; f=${f/%N/%n}\n" \
	"shift 2; exec /bin/busybox stat -c \"$f\" \"$@\"' >stat; chmod +x stat; "

static const struct machine machines[] = {
	{ { "/bin/dash" } },
	{ { "/bin/bash" } },
	{ { "/bin/busybox", "sh" }, BOX },
	/* No stat, no readlink, no df; a dd, mv, ln and touch that know only what POSIX says. */
	{ { "/bin/dash" }, SMALL " df", POSIX "rm touch; cp /bin/touch touch", .by_ls = true },
	/* A BSD. (busybox' find would not look for the stat of this directory: it has one itself.) */
	{ { "/bin/dash" }, SMALL " readlink df sync", POSIX BSD_STAT "ln -sf /usr/bin/find find" },
	/* An old one. */
	{ { "/bin/dash" }, SMALL " readlink df", POSIX BSD_STAT REFUSING("find", "*\" + \"") REFUSING("touch", "*\" \"-[ahm]\" \"*"),
		.plain_touch = true },
};

static void on_machine(size_t number)
{
	struct fixture fixture;

	if (access(machines[number].shell[0], X_OK) < 0)
		skip();
	start(&fixture, &machines[number]);
	names(&fixture, machines[number].by_ls);
	contents(&fixture);
	opening(&fixture);
	attributes(&fixture, &machines[number]);
	trees(&fixture);
	copies(&fixture);
	assert_int_equal(fixture.transport.started, 1);
	assert_string_equal(fixture.status.data, "files_by shell\n");
	assert_string_equal(fixture.log.data, machines[number].by_ls ? "files/ works by shell commands, attributes "
		"by ls: times are of whole minutes or days\n" : "files/ works by shell commands\n");
	halt(&fixture);
}

static void test_dash(void **state)
{
	on_machine(0);
}

static void test_bash(void **state)
{
	on_machine(1);
}

static void test_busybox(void **state)
{
	on_machine(2);
}

static void test_posix(void **state)
{
	on_machine(3);
}

static void test_bsd(void **state)
{
	on_machine(4);
}

static void test_old_bsd(void **state)
{
	on_machine(5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dash),
		cmocka_unit_test(test_bash),
		cmocka_unit_test(test_busybox),
		cmocka_unit_test(test_posix),
		cmocka_unit_test(test_bsd),
		cmocka_unit_test(test_old_bsd),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_liars),
		cmocka_unit_test(test_lying_listings),
	};

	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
