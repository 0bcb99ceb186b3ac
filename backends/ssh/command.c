/* SPDX-License-Identifier: MIT */
/*
 * A command's text is preceded, on its first line, by commands that end with ";". That
 * changes nothing in the text: the shell parses it from a command's start on either way, no
 * quote or here-document is open, line numbers stay, and `exit` keeps the text from running
 * elsewhere when a directory is gone. In front:
 *
 *   echo MARKER $$ || exit 255	the marker line (marker.h). Also: after the channel was closed, a
 *				shell that was still busy with its login script ends here
 *   export POOLFS_RUN=TOKEN	by which control.h finds the command's processes
 *   ulimit -Sx NUMBER		the same for those that clean their environment: getrlimit(2)'s limit of
 *				file locks, which no kernel since Linux 2.6 heeds, is inherited by
 *				all processes whatever they do to their sessions and parents
 *   cd, export			where the command starts, and with what environment
 *
 * A text that is too long for a request goes over standard input, to the same shell with the
 * same option as the server would use. `cat` takes it all when the command has no input of
 * its own, else `dd bs=1` takes exactly its part. "." is in no encoding the second byte of a
 * letter, and keeps "$(...)" from removing newlines at the end. With a terminal the script is
 * sent when the terminal is known to be raw: it would be echoed, and long lines be cut.
 */
#include "backends/ssh/command.h"

#include <inttypes.h>
#include <string.h>

#include "backends/base/shell.h"
#include "backends/ssh/marker.h"

/* The request that reads environment and text from standard input. The environment counts for the
 * text only: a PATH or SHELL of the user's must not change what reads it. */
static void append_loader(
	struct text *out, const struct transport_command *command, size_t environment, bool raw)
{
	if (environment)
		text_printf(out, "poolfs_e=$(dd bs=1 count=%zu 2>/dev/null); ", environment);
	if (command->input || raw)
		text_printf(
			out, "poolfs_t=$(dd bs=1 count=%zu 2>/dev/null; echo .); ", command->size);
	else
		text_printf(out, "poolfs_t=$(cat; echo .); ");
	if (raw)
		text_printf(out, "stty \"$poolfs_s\"; ");
	text_printf(out, "set -- \"${SHELL:-/bin/sh}\" \"${poolfs_t%%.}\"; ");
	if (environment)
		text_printf(out, "eval \"$poolfs_e\"; ");
	text_printf(out, "exec \"$1\" -c \"$2\"");
}

/* What precedes the text. */
static void append_head(struct text *out, const struct command_shape *shape,
	const struct transport_command *command)
{
	if (shape->token)
		text_printf(out, "echo " MARKER_NAME "%s $$ || exit 255; export POOLFS_RUN=%s; ",
			shape->token, shape->token);
	if (shape->token && shape->mark)
		text_printf(out, "ulimit -S%c %" PRIu64 "; ", shape->mark,
			marker_number(shape->token));
	shell_cd(out, shape->directory);
	if (shape->token && command->cwd)
		shell_cd(out, command->cwd);
}

/* Makes what is sent. */
void command_make(const struct command_shape *shape, const struct transport_command *command,
	struct command_sent *sent)
{
	struct text head = { 0 }, environment = { 0 };
	bool raw = command->columns > 0 && shape->token;

	append_head(&head, shape, command);
	if (shape->token)
		shell_export(&environment, command->environment, command->environment_size);
	text_append(&head, "", 0);
	text_append(&environment, "", 0);
	if (head.size + environment.size + command->size <= shape->limit) {
		text_append(&sent->request, head.data, head.size);
		text_append(&sent->request, environment.data, environment.size);
		text_append(&sent->request, command->text, command->size);
	} else {
		if (raw)
			text_printf(&sent->request, "poolfs_s=$(stty -g); stty raw -echo; ");
		text_append(&sent->request, head.data, head.size);
		append_loader(&sent->request, command, environment.size, raw);
		text_append(&sent->script, environment.data, environment.size);
		text_append(&sent->script, command->text, command->size);
		sent->after_marker = raw;
	}
	text_done(&head);
	text_done(&environment);
}

/* Frees. */
void command_done(struct command_sent *sent)
{
	text_done(&sent->request);
	text_done(&sent->script);
}
