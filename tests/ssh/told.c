/* SPDX-License-Identifier: MIT */
#include "tests/ssh/told.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads them. */
struct pids pids_of(const struct result *result)
{
	struct pids pids = { .count = 0 };

	for (const char *at = result->out.data; *at && pids.count < 8; at++) {
		pids.pid[pids.count++] = (pid_t)strtol(at, (char **)&at, 10);
		if (!*at)
			break;
	}
	return pids;
}

/* Whether a process is there and no zombie. */
bool lives(pid_t pid)
{
	char name[64], line[512] = "";

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	FILE *file = fopen(name, "re");
	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	const char *state = strrchr(line, ')');
	return state && state[2] != 'Z' && state[2] != 'X';
}

/* A condition on the processes. */
bool all_dead(void *data)
{
	const struct pids *pids = data;

	for (unsigned i = 0; i < pids->count; i++)
		if (lives(pids->pid[i]))
			return false;
	return true;
}

/* Lines as a condition. */
bool has_lines(void *data)
{
	const struct lines *lines = data;
	unsigned count = 0;

	for (size_t i = 0; i < lines->result->out.size; i++)
		count += lines->result->out.data[i] == '\n';
	return count >= lines->count;
}

/* For tests that configure the server. */
void need_openssh(void)
{
	if (getenv("POOLFS_DROPBEAR"))
		skip();
}

/* Starts a command that tells the numbers of its processes, and waits for them. */
struct pids start_told(struct fixture *fixture, const char *text, unsigned count,
	struct result *result)
{
	struct lines lines = { result, count };

	run_start(fixture, text, result);
	await_that(fixture, has_lines, &lines);
	struct pids pids = pids_of(result);
	assert_false(fixture->down);
	assert_int_equal(pids.count, count);
	for (unsigned i = 0; i < count; i++)
		assert_true(lives(pids.pid[i]));
	return pids;
}

/* A text of so many bytes that ends with a command. */
struct text padded(size_t size, const char *command)
{
	struct text text = { 0 };

	text_printf(&text, ": '");
	while (text.size + strlen(command) + 3 < size)
		text_append(&text, "y", 1);
	text_printf(&text, "'\n%s\n", command);
	assert_int_equal(text.size, size);
	return text;
}

/* Passes bytes to a command's standard input, as fast as it takes them. */
void feed(struct fixture *fixture, struct result *result, const char *bytes, size_t size)
{
	while (size && !result->ended) {
		size_t piece = size < 100000 ? size : 100000;

		result->drained = false;
		size_t taken = ssh_transport.run_input(result->run, bytes, piece);
		size -= taken;
		if (taken == piece)
			continue;
		while (!result->drained && !result->ended)
			uv_run(&fixture->loop, UV_RUN_ONCE);
	}
	if (!result->ended)
		ssh_transport.run_eof(result->run);
	await(fixture, &result->ended);
}
