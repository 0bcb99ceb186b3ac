/* SPDX-License-Identifier: MIT */
#include "backends/shim/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "backends/shim/shim.h"

/* Text of one message is cut beyond this. */
#define MESSAGE_SIZE 4096

/* The pool's values. */
const struct poolfs_values *poolfs_machine_values(const struct poolfs_machine *machine)
{
	return machine->shim->setup.values;
}

/* The only loop there is. */
struct uv_loop_s *poolfs_machine_loop(struct poolfs_machine *machine)
{
	return machine->shim->loop;
}

/* The instance as users name it. */
const char *poolfs_machine_name(const struct poolfs_machine *machine)
{
	return machine->shim->setup.name;
}

/* The instance's directory. */
const char *poolfs_machine_directory(const struct poolfs_machine *machine)
{
	return machine->shim->setup.directory;
}

/* Console output. */
void poolfs_machine_console(struct poolfs_machine *machine, const void *data, size_t size)
{
	if (!machine->cleans)
		console_output(machine->shim, data, size);
}

/* A message. */
void poolfs_machine_log(struct poolfs_machine *machine, const char *format, ...)
{
	char text[MESSAGE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (machine->cleans)
		fprintf(stderr, "%s\n", text);
	else
		journal_printf(machine->shim, "%s", text);
}

/* What a tool printed. */
void poolfs_machine_log_bytes(struct poolfs_machine *machine, const void *data, size_t size)
{
	if (machine->cleans)
		fwrite(data, size, 1, stderr);
	else
		journal_bytes(machine->shim, data, size);
}

/* A line for `status`. */
void poolfs_machine_status(struct poolfs_machine *machine, const char *key, const char *format, ...)
{
	char text[STATUS_VALUE_MAX + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!machine->cleans)
		status_set(machine->shim, key, text);
}

/* Notes it where the daemon finds it when this process is gone. */
int poolfs_machine_owes(struct poolfs_machine *machine, bool owes)
{
	int directory = machine->shim->dirfd;

	if (!owes)
		return unlinkat(directory, PROTOCOL_OWES_FILE, 0) < 0 && errno != ENOENT ? -errno : 0;
	int fd = openat(directory, PROTOCOL_OWES_FILE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* The machine ended by itself. */
void poolfs_machine_ended(struct poolfs_machine *machine, enum poolfs_ending how,
	const char *format, ...)
{
	struct poolfs_err err;
	va_list args;

	va_start(args, format);
	vsnprintf(err.text, sizeof(err.text), format, args);
	va_end(args);
	if (!machine->cleans)
		life_ended(machine->shim, how, err.text);
}
