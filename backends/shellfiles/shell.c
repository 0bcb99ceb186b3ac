/* SPDX-License-Identifier: MIT */
#include "backends/shellfiles/shell.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "backends/base/memory.h"

#define CODE_MAX 15		/* characters of an answer's code; CODE_SCAN reads them */
#define CODE_SCAN "%15s"
#define END_MAX  48u		/* bytes of an answer's last line behind the token */

/* Makes a token. */
static int make_token(char token[PROGRAM_TOKEN + 1])
{
	unsigned char bytes[PROGRAM_TOKEN / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(token + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* Frees one. */
static void shell_free(struct shell *shell)
{
	LIST_REMOVE(shell, link);
	text_done(&shell->in);
	text_done(&shell->out);
	free(shell);
}

/* Frees all. */
void shell_free_all(struct shell_list *list)
{
	struct shell *shell;

	while ((shell = LIST_FIRST(list)))
		shell_free(shell);
}

/* Ends it: what it does now is killed where that can be done, and its channel is closed. */
void shell_stop(struct shell *shell)
{
	bool runs = shell->step != SHELL_QUEUED;

	if (shell->step == SHELL_ENDED)
		return;
	shell->step = SHELL_ENDED;
	if (runs)
		shell->ops->run_signal(shell->run, SIGKILL);
	shell->ops->run_abandon(shell->run);
}

/* Gives it up. */
static void fail(struct shell *shell, int error, const char *reason)
{
	shell_stop(shell);
	shell->events->ended(shell->data, error, reason);
}

/* The end of an answer, from its newline on, or NULL. */
static const char *find_end(struct shell *shell)
{
	char mark[PROGRAM_TOKEN + 3];
	size_t length = (size_t)snprintf(mark, sizeof(mark), "\n%s ", shell->token);
	const struct text *in = &shell->in;

	if (in->size - shell->searched < length)
		return NULL;
	const char *found = memmem(in->data + shell->searched, in->size - shell->searched, mark, length);
	shell->searched = found ? (size_t)(found - in->data) : in->size - length + 1;
	return found;
}

/* Offers what came of an answer so far; too much of it is the end. */
static void take_part(struct shell *shell)
{
	/* Up to where an end may begin. */
	size_t taken = shell->searched ? shell->events->part(shell->data, shell->in.data, shell->searched) : 0;

	if (shell->step == SHELL_ENDED)
		return;
	text_consume(&shell->in, taken);
	shell->searched -= taken;
	if (shell->in.size > shell->events->limit(shell->data) + END_MAX + PROGRAM_TOKEN)
		fail(shell, -EIO, "it prints too much");
}

/* Takes the next answer. False when it is not all there, or the shell is given up. */
static bool take_answer(struct shell *shell)
{
	const char *end = find_end(shell), *line = end ? end + PROGRAM_TOKEN + 2 : NULL;
	size_t left = line ? shell->in.size - (size_t)(line - shell->in.data) : 0;
	const char *newline = line ? memchr(line, '\n', left < END_MAX ? left : END_MAX) : NULL;
	char code[CODE_MAX + 1];
	uint64_t number;
	int used = 0;

	if (!end)
		take_part(shell);
	else if (!newline && left >= END_MAX)
		fail(shell, -EIO, "its answers are malformed");
	if (!newline)
		return false;
	if (sscanf(line, "%20" SCNu64 " " CODE_SCAN "%n", &number, code, &used) != 2 || line[used] != '\n' ||
		number != shell->next) {
		fail(shell, -EIO, "its answers are out of order");
		return false;
	}
	shell->next++;
	struct text in = shell->in;
	size_t size = (size_t)(end - in.data), all = (size_t)(newline + 1 - in.data);

	/* What the answer leads to may end the shell. */
	shell->in = (struct text){ 0 };
	shell->searched = 0;
	if (all < in.size)
		text_append(&shell->in, in.data + all, in.size - all);
	/* Number 0 only tells that the login's own output is over. */
	bool skip = number < SHELL_HELLO;
	int result = skip ? 0 : shell->events->answer(shell->data, code, in.data, size);
	text_done(&in);
	if (result < 0 && shell->step != SHELL_ENDED)
		fail(shell, -EIO, "it answers what it was not asked");
	return shell->step != SHELL_ENDED;
}

/* .started: the program goes first. */
static void run_started(void *data)
{
	struct shell *shell = data;

	if (shell->step == SHELL_QUEUED)
		shell->step = SHELL_STARTING;
	if (shell->step == SHELL_STARTING)
		shell->events->alive(shell->data);
}

/* .output: what comes on standard error is the login's. */
static void run_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	struct shell *shell = data;

	if (shell->step == SHELL_ENDED || kind != SPOOL_STDOUT)
		return;
	text_append(&shell->in, bytes, size);
	shell->events->alive(shell->data);
	while (take_answer(shell))
		;
}

/* .drained */
static void run_drained(void *data)
{
	struct shell *shell = data;

	if (shell->step == SHELL_ENDED)
		return;
	shell_send(shell);
	shell->events->alive(shell->data);
}

/* .ended */
static void run_ended(void *data, enum run_state state, int status)
{
	struct shell *shell = data;
	const struct shell_events *events = shell->events;
	bool tell = shell->step != SHELL_ENDED;
	char reason[64] = "its command was lost";
	void *owner = shell->data;

	if (state == RUN_EXITED)
		snprintf(reason, sizeof(reason), "it ended with status %d", status);
	else if (state == RUN_SIGNALED)
		snprintf(reason, sizeof(reason), "a signal ended it (status %d)", status);
	shell_free(shell);
	if (tell)
		events->ended(owner, -EIO, reason);
}

static const struct transport_run_events run_events = {
	.started = run_started,
	.output = run_output,
	.drained = run_drained,
	.ended = run_ended,
};

/* Starts one. */
struct shell *shell_new(struct shell_list *list, const struct transport_ops *ops,
	struct transport *transport, const struct shell_events *events, void *data)
{
	struct transport_command command = { .text = program_command, .size = strlen(program_command),
		.input = true };
	struct shell *shell = memory_new(sizeof(*shell));

	if (make_token(shell->token) == 0)
		shell->run = ops->run(transport, &command, &run_events, shell);
	if (!shell->run) {
		free(shell);
		return NULL;
	}
	shell->ops = ops;
	shell->events = events;
	shell->data = data;
	LIST_INSERT_HEAD(list, shell, link);
	program_append(&shell->out, shell->token);
	shell_send(shell);
	return shell;
}

/* Gives the run what it takes. Moving the rest is only worth it when there is less of it than was given. */
void shell_send(struct shell *shell)
{
	struct text *out = &shell->out;

	if (shell->step == SHELL_ENDED || shell->given == out->size)
		return;
	shell->given += shell->ops->run_input(shell->run, out->data + shell->given, out->size - shell->given);
	if (shell->given > out->size / 2) {
		text_consume(out, shell->given);
		shell->given = 0;
	}
}
