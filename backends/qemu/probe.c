/* SPDX-License-Identifier: MIT */
#include "backends/qemu/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/process/child.h"
#include "backends/qemu/args.h"
#include "backends/qemu/trial.h"

/* How often to look whether another shim's trial is over. */
#define POLL_MS 100
/* A "no" is tried again after so many seconds. */
#define NO_LASTS 3600
/* What is read of a trial's console; a kernel's messages are a tenth of it. */
#define OUTPUT_MAX 262144
#define VERDICT_MAX 4096

struct probe {
	struct uv_loop_s *loop;
	uv_timer_t timer;
	const struct poolfs_values *values;
	const struct probe_events *events;
	void *data;
	char *directory;
	char *key;		/* what the verdict depends on */
	char *path;		/* where it is kept */
	int lock;		/* descriptor, or -1 */
	bool stopped;
	struct child *child;
	struct text output;
};

/* "PATH SIZE MTIME" of a file, so that another file of the same name is noticed. */
static void add_file(struct text *key, const char *path)
{
	struct stat st = { 0 };

	if (path)
		stat(path, &st);
	text_printf(key, "%s %lld %lld.%09ld\n", path ? path : "-", (long long)st.st_size,
		(long long)st.st_mtim.tv_sec, (long)st.st_mtim.tv_nsec);
}

/* Everything that the verdict depends on, as text. The host's boot is the first line. */
static char *make_key(const struct poolfs_values *values)
{
	static const char *const options[] = { "machine", "cpu" };
	struct text key = { 0 };
	char boot[64] = "";
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	text_printf(&key, "%s", file && fgets(boot, sizeof(boot), file) ? boot : "-\n");
	if (file)
		fclose(file);
	add_file(&key, poolfs_string(values, "program"));
	add_file(&key, poolfs_string(values, "kernel"));
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		const char *value = poolfs_string(values, options[i]);

		text_printf(&key, "%s\n", value ? value : "-");
	}
	return key.data;
}

/* FNV-1a of what the configuration says: where that stays, a new verdict takes the old one's place, whatever
 * became of the files. The file holds the key itself too. */
static uint64_t hash_names(const struct poolfs_values *values)
{
	static const char *const names[] = { "program", "kernel", "machine", "cpu" };
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *text = poolfs_string(values, names[i]);

		for (text = text ? text : "-"; *text; text++)
			value = (value ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
		value = (value ^ '\n') * UINT64_C(0x100000001b3);
	}
	return value;
}

/* Reads a kept verdict, "yes\n" or "no\n", then the key, into text, VERDICT_MAX + 1 bytes. The key; NULL:
 * there is none, or its time is over. */
static const char *load(const char *path, char *text, bool *works)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return NULL;
	ssize_t size = fstat(fd, &st) == 0 ? read(fd, text, VERDICT_MAX) : -1;
	close(fd);
	text[size > 0 ? size : 0] = '\0';
	const char *newline = strchr(text, '\n');
	*works = strncmp(text, "yes\n", 4) == 0;
	return newline && (*works || time(NULL) - st.st_mtime < NO_LASTS) ? newline + 1 : NULL;
}

/* Whether a verdict is kept that holds. */
static bool recall(const struct probe *probe, bool *works)
{
	char text[VERDICT_MAX + 1];
	bool kept;
	const char *key = load(probe->path, text, &kept);

	if (!key || strcmp(key, probe->key) != 0)
		return false;
	*works = kept;
	return true;
}

/* Removes the verdicts of other boots and those whose time is over, under the lock. */
static void remove_outdated(const struct probe *probe)
{
	size_t boot = strcspn(probe->key, "\n") + 1;
	DIR *directory = opendir(probe->directory);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		char text[VERDICT_MAX + 1];
		bool works;

		if (strncmp(entry->d_name, "kvm-", 4) != 0)
			continue;
		char *path = memory_format("%s/%s", probe->directory, entry->d_name);
		const char *key = load(path, text, &works);
		if (!key || strncmp(key, probe->key, boot) != 0)
			unlink(path);
		free(path);
	}
	if (directory)
		closedir(directory);
}

/* Keeps a verdict: whole or not at all. Without it, the next instance tries again. */
static void keep(const struct probe *probe, bool works)
{
	char *name = memory_format("%s.%d", probe->path, (int)getpid());
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (file) {
		fprintf(file, "%s\n%s", works ? "yes" : "no", probe->key);
		bool written = fflush(file) == 0 && fsync(fd) == 0;
		fclose(file);
		if (!written || rename(name, probe->path) < 0)
			unlink(name);
	} else if (fd >= 0) {
		close(fd);
	}
	free(name);
}

/* The end of it all. */
static void finish(struct probe *probe, bool works, const char *why)
{
	uv_timer_stop(&probe->timer);
	if (probe->lock >= 0)
		close(probe->lock);
	probe->lock = -1;
	probe->events->done(probe->data, works, why);
}

/* Whether the console shows that the machine came to its end. */
static bool has_booted(const struct probe *probe)
{
	const char *text = probe->output.data;

	if (!text)
		return false;
	if (!poolfs_has(probe->values, "kernel"))
		return strstr(text, TRIAL_SIGN) != NULL;
	return strstr(text, "Linux version") &&
		(strstr(text, "Kernel panic") || strstr(text, "Run /"));
}

/* Collects the trial's console; NULs would end the text. Success needs no more time. */
static void on_output(void *data, const void *bytes, size_t size)
{
	struct probe *probe = data;
	const char *next = bytes;

	for (size_t i = 0; i < size && probe->output.size < OUTPUT_MAX; i++)
		if (next[i])
			text_append(&probe->output, next + i, 1);
	if (has_booted(probe))
		child_stop(probe->child, 0, 0);
}

/* Says why a trial failed, with the last line that came. */
static void say_why(const struct probe *probe, int signal, char *out, size_t size)
{
	const char *text = probe->output.data ? probe->output.data : "", *last = text;
	char line[256], clean[512];

	for (; *text; text++)
		if ((*text == '\n' || *text == '\r') && (unsigned char)text[1] > ' ')
			last = text + 1;
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(last, "\r\n"), last);
	text_escape(clean, sizeof(clean), line);
	snprintf(out, size, "a trial boot with KVM %s%s%s",
		signal == SIGKILL ? "did not come to its end in time" : "failed",
		*clean ? ": " : "", clean);
}

/* The trial is over, one way or the other. */
static void on_exited(void *data, int status, int signal)
{
	struct probe *probe = data;
	bool works = has_booted(probe);
	char why[640] = "a trial boot with KVM worked";

	child_free(probe->child);
	probe->child = NULL;
	unlink(ARGS_TRIAL_IMAGE);
	if (probe->stopped)
		return finish(probe, false, "cancelled");
	if (!works)
		say_why(probe, signal, why, sizeof(why));
	keep(probe, works);
	remove_outdated(probe);
	finish(probe, works, why);
}

/* Boots for trial. */
static void try_it(struct probe *probe)
{
	struct args args = { .values = probe->values, .name = "trial/kvm", .purpose = ARGS_TRIAL,
		.kvm = true };
	struct poolfs_err err = { "" };
	char **words = args_make(&args);
	struct child_options options = {
		.argv = (const char *const *)words,
		.limit_ms = PROBE_TRIAL_MS,
		.output = on_output,
		.exited = on_exited,
		.data = probe,
	};

	int result = poolfs_has(probe->values, "kernel") ? 0 : trial_write(ARGS_TRIAL_IMAGE, &err);
	if (result == 0)
		result = child_start(probe->loop, &options, &probe->child, &err);
	args_free(words);
	if (result < 0)
		finish(probe, false, err.text);
}

/* Takes the lock: 0, -EWOULDBLOCK, or another error, with which we go on without it. */
static int take_lock(struct probe *probe)
{
	char *path = memory_format("%s/kvm.lock", probe->directory);

	if (probe->lock < 0)
		probe->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	free(path);
	if (probe->lock < 0)
		return -errno;
	return flock(probe->lock, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

/* One turn: is there a verdict; may we make one? */
static void step(uv_timer_t *timer)
{
	struct probe *probe = timer->data;
	bool works;

	if (probe->stopped)
		return finish(probe, false, "cancelled");
	if (!args_is_native(probe->values))
		return finish(probe, false, "KVM runs only machines of the host's architecture");
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		return finish(probe, false, "no access to /dev/kvm");
	/* Under the lock, or another's verdict could come between a look and our trial. */
	int result = take_lock(probe);
	if (recall(probe, &works))
		return finish(probe, works, works ? "an earlier trial boot with KVM worked" :
			"an earlier trial boot with KVM failed");
	if (result == -EWOULDBLOCK)
		uv_timer_start(&probe->timer, step, POLL_MS, 0);
	else
		try_it(probe);
}

/* Begins. */
void probe_start(struct uv_loop_s *loop, const struct poolfs_values *values, const char *directory,
	const struct probe_events *events, void *data, struct probe **probe)
{
	struct probe *new = memory_new(sizeof(*new));

	new->loop = loop;
	new->values = values;
	new->directory = memory_string(directory);
	new->events = events;
	new->data = data;
	new->lock = -1;
	new->key = make_key(values);
	new->path = memory_format("%s/kvm-%016" PRIx64, directory, hash_names(values));
	uv_timer_init(loop, &new->timer);
	new->timer.data = new;
	uv_timer_start(&new->timer, step, 0, 0);
	*probe = new;
}

/* Hurries. */
void probe_stop(struct probe *probe)
{
	probe->stopped = true;
	if (probe->child)
		child_stop(probe->child, 0, 0);
	else
		uv_timer_start(&probe->timer, step, 0, 0);
}

/* The last handle is closed. */
static void on_timer_closed(uv_handle_t *handle)
{
	struct probe *probe = handle->data;

	text_done(&probe->output);
	free(probe->directory);
	free(probe->key);
	free(probe->path);
	free(probe);
}

/* Frees it. */
void probe_free(struct probe *probe)
{
	if (probe && !uv_is_closing((uv_handle_t *)&probe->timer))
		uv_close((uv_handle_t *)&probe->timer, on_timer_closed);
}
