/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "backends/base/notation.h"
#include "backends/base/text.h"
#include "backends/kinds.h"
#include "backends/module/modules.h"
#include "config/config.h"

#define COLUMNS 80
#define INDENT 8

static const struct {
	const char *name;
	const char *notation;
} types[] = {
	[POOLFS_STRING] = { "text", "the rest of the line as it is, without quotes" },
	[POOLFS_BOOL] = { "yes or no", NULL },
	[POOLFS_INT] = { "number", NULL },
	[POOLFS_SIZE] = { "size", "bytes, or with K, M, G or T (powers of 1024): 256M" },
	[POOLFS_SECONDS] = { "time", "seconds (90, 1.5), or a number with ms, s, m or h: 2m" },
	[POOLFS_CHOICE] = { "one of", NULL },
	[POOLFS_PATH] = { "file", "a path; a relative one starts at the configuration's "
		"directory, ~/ at the home" },
	[POOLFS_PROGRAM] = { "program", "a path, or a name that is looked up in PATH" },
	[POOLFS_WORDS] = { "words", "as in a shell, with '..', \"..\" and \\ to quote; nothing is "
		"expanded" },
	[POOLFS_COMMAND] = { "command", "a program, which is a path or a name that is looked up in "
		"PATH, and its arguments, as in a shell, with '..', \"..\" and \\ to quote; nothing is "
		"expanded" },
};

/* Prints text as a paragraph of at most COLUMNS columns, each line after indent spaces. The first
 * line has used columns already. */
static void print_wrapped(FILE *out, int indent, int used, const char *text)
{
	int column = used;

	if (column < indent)
		column += fprintf(out, "%*s", indent - column, "");
	for (const char *word = text + strspn(text, " \n"); *word;) {
		int length = (int)strcspn(word, " \n");

		if (column > indent && column + 1 + length > COLUMNS) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		column += fprintf(out, "%s%.*s", column > indent ? " " : "", length, word);
		word += length;
		word += strspn(word, " \n");
	}
	fputc('\n', out);
}

/* Writes what a key takes: its type, bounds or choices. */
static void describe_type(const struct poolfs_key *key, struct text *line)
{
	char range[80];

	text_printf(line, "%s", types[key->type].name);
	for (size_t i = 0; key->type == POOLFS_CHOICE && key->choices[i]; i++)
		text_printf(line, "%s %s", i ? "," : "", key->choices[i]);
	if (!notation_bounded(key))
		return;
	notation_range(key, range, sizeof(range));
	text_printf(line, " %s", range);
}

/* Prints one key. */
static void print_key(FILE *out, const struct poolfs_key *key)
{
	struct text line = { 0 };

	text_printf(&line, "(");
	describe_type(key, &line);
	if (key->flags & POOLFS_KEY_REQUIRED)
		text_printf(&line, "; required");
	else if (key->fallback)
		text_printf(&line, "; default %s", *key->fallback ? key->fallback : "empty");
	if (key->flags & POOLFS_KEY_SECRET)
		text_printf(&line, "; secret");
	text_printf(&line, ")");
	int used = fprintf(out, "  %s ", key->name);
	print_wrapped(out, used, used, line.data);
	text_done(&line);
	if (key->help)
		print_wrapped(out, INDENT, 0, key->help);
}

/* Prints a table; notes which types are in it. */
static void print_table(FILE *out, const struct poolfs_key *table, unsigned *seen)
{
	for (const struct poolfs_key *key = table; key->name; key++) {
		print_key(out, key);
		*seen |= 1u << key->type;
	}
}

/* Prints the verbs that every pool of the kind has. */
static void print_verbs(FILE *out, const struct poolfs_verb *verbs)
{
	if (!verbs || !verbs->name)
		return;
	fputs("\nVerbs of ctl:\n", out);
	for (const struct poolfs_verb *verb = verbs; verb->name; verb++) {
		bool optional = verb->flags & POOLFS_VERB_OPTIONAL;

		fprintf(out, "  %s%s%s%s%s\n", verb->name, verb->argument ? " " : "", optional ? "[" : "",
			verb->argument ? verb->argument : "", optional ? "]" : "");
		if (verb->help)
			print_wrapped(out, INDENT, 0, verb->help);
	}
}

/* Prints how the types that were seen are written. */
static void print_notations(FILE *out, unsigned seen)
{
	fputs("\nHow values are written:\n", out);
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (!(seen & 1u << i) || !types[i].notation)
			continue;
		int used = fprintf(out, "  %s", types[i].name);
		print_wrapped(out, 12, used, types[i].notation);
	}
}

/* Prints the kinds. */
void config_print_kinds(FILE *out, const struct modules *modules)
{
	const struct poolfs_kind *kind;
	int width = 0;

	for (size_t i = 0; (kind = modules_kind(modules, i)); i++)
		if ((int)strlen(kind->name) > width)
			width = (int)strlen(kind->name);
	for (size_t i = 0; (kind = modules_kind(modules, i)); i++) {
		int used = fprintf(out, "%s", kind->name);
		print_wrapped(out, width + 2, used, kind->summary);
	}
}

/* Prints a kind's keys. */
int config_print_keys(FILE *out, const struct modules *modules, const char *name)
{
	const struct poolfs_kind *kind = modules_find(modules, name);
	unsigned seen = 0;

	if (!kind)
		return -ENOENT;
	int used = fprintf(out, "%s:", kind->name);
	print_wrapped(out, used + 1, used, kind->summary);
	fprintf(out, "\nKeys of a section [pool NAME] with \"type = %s\":\n", kind->name);
	for (size_t i = 0; kind->tables[i]; i++)
		print_table(out, kind->tables[i], &seen);
	fputs("\nKeys of every pool:\n", out);
	print_table(out, kinds_pool_keys, &seen);
	print_notations(out, seen);
	print_verbs(out, kind->verbs);
	return 0;
}
