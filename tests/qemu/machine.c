/* SPDX-License-Identifier: MIT */
#include "tests/qemu/machine.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/base/values.h"
#include "backends/kinds.h"
#include "backends/process/child.h"
#include "backends/qemu/qemu.h"

static char work[64];

/* ---- What the shim offers ---------------------------------------------------- */

const struct poolfs_values *poolfs_machine_values(const struct poolfs_machine *machine)
{
	return machine->values;
}

struct uv_loop_s *poolfs_machine_loop(struct poolfs_machine *machine)
{
	return &machine->loop;
}

const char *poolfs_machine_name(const struct poolfs_machine *machine)
{
	return "test/one";
}

const char *poolfs_machine_directory(const struct poolfs_machine *machine)
{
	return work;
}

void poolfs_machine_console(struct poolfs_machine *machine, const void *data, size_t size)
{
	assert_false(machine->stop.is_done);
	text_append(&machine->console, data, size);
}

void poolfs_machine_log(struct poolfs_machine *machine, const char *format, ...)
{
	char text[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	text_printf(&machine->log, "%s\n", text);
}

void poolfs_machine_log_bytes(struct poolfs_machine *machine, const void *data, size_t size)
{
	text_append(&machine->log, data, size);
}

void poolfs_machine_status(struct poolfs_machine *machine, const char *key, const char *format, ...)
{
	char text[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	text_printf(&machine->status, "%s %s\n", key, text);
}

void poolfs_machine_ended(struct poolfs_machine *machine, enum poolfs_ending how,
	const char *format, ...)
{
	va_list list;

	assert_false(machine->stop.is_done);
	machine->ends++;
	machine->how = how;
	va_start(list, format);
	vsnprintf(machine->end, sizeof(machine->end), format, list);
	va_end(list);
}

void poolfs_op_done(struct poolfs_op *op, int result, const char *format, ...)
{
	va_list list;

	assert_false(op->is_done);
	op->is_done = true;
	op->result = result;
	va_start(list, format);
	vsnprintf(op->text, sizeof(op->text), format, list);
	va_end(list);
}

void poolfs_op_on_cancel(struct poolfs_op *op, void (*cancel)(void *data), void *data)
{
	op->cancel = cancel;
	op->cancel_data = data;
}

/* ---- A machine ---------------------------------------------------------------- */

void machine_init(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(work, sizeof(work), "%.32s/poolfs-test.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(work));
}

/* Removes the files of a directory and returns how many have a name that does not begin so. */
static unsigned empty(const char *path, const char *expected)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	unsigned others = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (strncmp(entry->d_name, expected, strlen(expected)) != 0) {
			print_error("left behind: %s\n", entry->d_name);
			others++;
		}
		unlinkat(dirfd(directory), entry->d_name, 0);
	}
	closedir(directory);
	return others;
}

void machine_done(void)
{
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(empty(work, "kvm"), 0);
	assert_int_equal(rmdir(work), 0);
}

static void set(struct poolfs_values *values, const char *setting)
{
	const char *equals = strchr(setting, '=');
	char *key = memory_format("%.*s", (int)(equals - setting), setting);
	struct poolfs_err err = { "" };

	if (values_set(values, key, equals + 1, work, &err) < 0)
		fail_msg("%s: %s", setting, err.text);
	free(key);
}

struct poolfs_machine *machine_open(const char *const *settings)
{
	struct poolfs_machine *machine = memory_new(sizeof(*machine));
	struct poolfs_err err = { "" };
	char *directory = memory_format("%s/instance", work);

	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(chdir(directory), 0);
	free(directory);
	uv_loop_init(&machine->loop);
	machine->tables = kinds_tables(&qemu_kind);
	machine->values = values_new(machine->tables);
	for (size_t i = 0; settings[i]; i++)
		set(machine->values, settings[i]);
	values_defaults(machine->values, work);
	if (qemu_kind.check(machine->values, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(qemu_backend.open(machine, &machine->state, &err), 0);
	return machine;
}

void machine_close(struct poolfs_machine *machine)
{
	char *directory = memory_format("%s/instance", work);

	qemu_backend.close(machine->state);
	/* Only handles that are being closed may be left. */
	uv_run(&machine->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&machine->loop), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(empty(directory, "/"), 0);
	assert_int_equal(rmdir(directory), 0);
	free(directory);
	values_free(machine->values);
	free(machine->tables);
	text_done(&machine->console);
	text_done(&machine->log);
	text_done(&machine->status);
	free(machine);
}

void machine_start(struct poolfs_machine *machine)
{
	qemu_backend.start(machine->state, &machine->start);
}

void machine_stop(struct poolfs_machine *machine)
{
	/* cmocka 2 has a macro of this name. */
	(qemu_backend.stop)(machine->state, &machine->stop);
	machine_wait(machine, machine_is_stopped, machine, 5, "stop");
	assert_int_equal(machine->stop.result, 0);
	if (machine->start.cancel || machine->start.is_done)
		assert_true(machine->start.is_done);
}

static void on_deadline(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

void machine_wait(struct poolfs_machine *machine, bool (*condition)(void *data), void *data,
	unsigned seconds, const char *what)
{
	bool late = false;
	uv_timer_t timer;

	uv_timer_init(&machine->loop, &timer);
	timer.data = &late;
	uv_timer_start(&timer, on_deadline, seconds * 1000, 0);
	while (!condition(data) && !late)
		uv_run(&machine->loop, UV_RUN_ONCE);
	bool met = condition(data);
	uv_close((uv_handle_t *)&timer, NULL);
	while (uv_loop_alive(&machine->loop) && uv_is_active((uv_handle_t *)&timer))
		uv_run(&machine->loop, UV_RUN_NOWAIT);
	uv_run(&machine->loop, UV_RUN_NOWAIT);
	if (!met)
		fail_msg("waited %u s for %s\nstart: %s\nend: %s\nlog: %s\nconsole: %s",
			seconds, what, machine->start.text, machine->end,
			machine->log.data ? machine->log.data : "",
			machine->console.data ? machine->console.data : "");
}

bool machine_is_started(void *machine)
{
	return ((struct poolfs_machine *)machine)->start.is_done;
}

bool machine_is_stopped(void *machine)
{
	return ((struct poolfs_machine *)machine)->stop.is_done;
}

bool machine_has_ended(void *machine)
{
	return ((struct poolfs_machine *)machine)->ends > 0;
}

struct search {
	struct poolfs_machine *machine;
	const char *text;
};

static bool is_on_console(void *data)
{
	struct search *search = data;
	struct text *console = &search->machine->console;

	return console->data &&
		memmem(console->data, console->size, search->text, strlen(search->text));
}

void machine_wait_console(struct poolfs_machine *machine, const char *text, unsigned seconds)
{
	struct search search = { machine, text };

	machine_wait(machine, is_on_console, &search, seconds, text);
}

const char *machine_status(struct poolfs_machine *machine, const char *key)
{
	static char value[256];
	char *line = machine->status.data;

	for (; line && *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ' ' &&
			sscanf(line + strlen(key), " %255[^\n]", value) == 1)
			return value;
	return NULL;
}

struct run {
	struct child *child;
	struct text *out;
	bool is_done;
	int status;
};

static void on_run_output(void *data, const void *bytes, size_t size)
{
	text_append(((struct run *)data)->out, bytes, size);
}

static void on_run_exited(void *data, int status, int signal)
{
	struct run *run = data;

	run->is_done = true;
	run->status = signal ? 128 + signal : status;
	child_free(run->child);
}

static bool run_is_done(void *data)
{
	return ((struct run *)data)->is_done;
}

int machine_run(struct poolfs_machine *machine, const char *const *argv, struct text *out)
{
	struct run run = { .out = out };
	struct child_options options = {
		.argv = argv,
		.limit_ms = 60000,
		.output = on_run_output,
		.exited = on_run_exited,
		.data = &run,
	};
	struct poolfs_err err = { "" };

	text_consume(out, out->size);
	if (child_start(&machine->loop, &options, &run.child, &err) < 0)
		fail_msg("%s", err.text);
	machine_wait(machine, run_is_done, &run, 90, argv[0]);
	return run.status;
}
