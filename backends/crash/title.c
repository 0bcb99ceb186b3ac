/* SPDX-License-Identifier: MIT */
/*
 * A rule's title is text with "$1" to "$9" for the groups of the rule's line and then of its
 * "with" line, and with "{in}", which becomes " in FUNCTION", or nothing where none is known.
 * The function is the first one, in the order of the report, that the list "skip" does not have:
 * group 3 for "{in $3}", then the frames. Where all of them are to be skipped, it is the first.
 */
#include "backends/crash/title.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "backends/base/text.h"
#include "backends/crash/message.h"
#include "backends/crash/patterns.h"

/* What a title is made of. */
struct parts {
	const struct patterns *patterns;
	const struct patterns_rule *rule;
	struct patterns_group groups[PATTERNS_GROUPS_MAX];
	unsigned count;		/* how many of them are of the rule's first line */
	const char *text;	/* the lines of the report */
	size_t size;
};

/* A character of a word. */
static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* How many of the first characters of text are of a kind. */
static size_t span(const char *text, size_t size, int (*is)(int c))
{
	size_t count = 0;

	while (count < size && is((unsigned char)text[count]))
		count++;
	return count;
}

/* The size of "+0x12/0x34" at text, with " [module]" behind it; 0: there is none. */
static size_t offset_size(const char *text, size_t size)
{
	size_t at = 0;

	for (int i = 0; i < 2; i++) {
		if (size - at < 4 || text[at] != "+/"[i] || text[at + 1] != '0' || text[at + 2] != 'x')
			return 0;
		at += 3 + span(text + at + 3, size - at - 3, isxdigit);
	}
	if (size - at > 2 && text[at] == ' ' && text[at + 1] == '[') {
		const char *close = memchr(text + at, ']', size - at);
		if (close)
			at = (size_t)(close + 1 - text);
	}
	return at;
}

/* What stands for a word: itself, ADDR or NUM. */
static const char *word_class(const char *word, size_t size)
{
	if (size > 2 && word[0] == '0' && word[1] == 'x' &&
		span(word + 2, size - 2, isxdigit) == size - 2)
		return "ADDR";
	if (span(word, size, isdigit) == size)
		return size >= 8 ? "ADDR" : "NUM";
	return size >= 8 && span(word, size, isxdigit) == size ? "ADDR" : NULL;
}

/* Whether the word at `at` is the end of a name, as in "kmalloc-128". */
static bool is_name_end(const char *text, size_t at)
{
	return at >= 2 && text[at - 1] == '-' && isalpha((unsigned char)text[at - 2]);
}

/* Appends foreign text without what differs from one report to the next. */
static void append_normal(struct text *out, const char *text, size_t size)
{
	for (size_t at = 0; at < size;) {
		size_t skip = offset_size(text + at, size - at), length = 0;

		at += skip;
		while (at + length < size && is_word(text[at + length]))
			length++;
		const char *class = length && !is_name_end(text, at)
			? word_class(text + at, length) : NULL;
		if (class)
			text_append(out, class, strlen(class));
		else
			text_append(out, text + at, length ? length : (skip ? 0 : 1));
		at += length ? length : !skip;
	}
}

/* A function's name, without what the compiler appended to it: ".isra.0", ".cold". */
static struct patterns_group plain_name(struct patterns_group name)
{
	const char *dot = name.size > 1 ? memchr(name.text + 1, '.', name.size - 1) : NULL;

	if (dot)
		name.size = (size_t)(dot - name.text);
	for (size_t i = 0; i < name.size; i++)
		if (!is_word(name.text[i]) && name.text[i] != '$' && name.text[i] != '.')
			name.size = i;
	return name;
}

/* Whether a function may be guilty; the first one of all is kept in *first. */
static bool accuse(const struct parts *parts, struct patterns_group *name,
	struct patterns_group *first)
{
	*name = plain_name(*name);
	if (name->size == 0)
		return false;
	if (!first->text)
		*first = *name;
	return !patterns_in(parts->patterns, PATTERNS_SKIP, name->text, name->size, NULL);
}

/* Calls each for the messages of the report's lines, until it is true. */
static bool each_message(const struct parts *parts,
	bool (*each)(const struct parts *parts, const struct message *message, void *data),
	void *data)
{
	const char *end = parts->text + parts->size;

	for (const char *line = parts->text, *next; line < end; line = next) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		struct message messages[MESSAGE_MAX];
		size_t count = message_split(line, (size_t)((newline ? newline : end) - line),
			messages);

		next = newline ? newline + 1 : end;
		for (size_t i = 0; i < count; i++)
			if (each(parts, &messages[i], data))
				return true;
	}
	return false;
}

struct accused {
	struct patterns_group name, first;
};

/* Whether a message is a frame whose function may be guilty. */
static bool accuse_frame(const struct parts *parts, const struct message *message, void *data)
{
	struct accused *accused = data;

	return patterns_in(parts->patterns, PATTERNS_FRAME, message->text, message->size,
		       &accused->name) && accuse(parts, &accused->name, &accused->first);
}

/* " in FUNCTION" */
static void append_function(struct text *out, const struct parts *parts,
	const struct patterns_group *named)
{
	struct accused accused = { 0 };

	if (named)
		accused.name = *named;
	if (!(named && named->text && accuse(parts, &accused.name, &accused.first)) &&
		!each_message(parts, accuse_frame, &accused))
		accused.name = accused.first;
	if (accused.name.size > 0) {
		text_append(out, " in ", 4);
		text_append(out, accused.name.text, accused.name.size);
	}
}

/* Whether the "with" expression fits a message, whose groups then follow the first line's. */
static bool take_with(const struct parts *parts, const struct message *message, void *data)
{
	struct patterns_group *groups = data, found[PATTERNS_GROUPS_MAX];
	unsigned count;

	if (!patterns_groups(parts->patterns, parts->rule->with, message->text, message->size,
		    found, &count))
		return false;
	memcpy(groups + parts->count, found, count * sizeof(*found));
	return true;
}

/* The group that "$N" at text names; NULL: it is no such thing. */
static const struct patterns_group *named_group(const struct parts *parts, const char *text)
{
	return text[0] == '$' && text[1] >= '1' && text[1] <= '9' ? &parts->groups[text[1] - '1']
								   : NULL;
}

/* The size of "{in}" or "{in $N}" at text; 0: it is neither. */
static size_t in_size(const char *text)
{
	if (strncmp(text, "{in}", 4) == 0)
		return 4;
	return strncmp(text, "{in $", 5) == 0 && isdigit((unsigned char)text[5]) && text[6] == '}'
		? 7 : 0;
}

/* Fills in a rule's title. */
static void fill_in(struct text *out, const struct parts *parts, const char *title)
{
	while (*title) {
		const struct patterns_group *group = named_group(parts, title);
		size_t in = in_size(title);

		if (group)
			append_normal(out, group->text ? group->text : "", group->size);
		else if (in)
			append_function(out, parts, in == 7 ? named_group(parts, title + 4) : NULL);
		else
			text_append(out, title, 1);
		title += group ? 2 : in ? in : 1;
	}
}

/* Joins spaces, and drops those at the ends. */
static void squeeze(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++)
		if (*from != ' ' || (to > text && to[-1] != ' '))
			*to++ = *from;
	while (to > text && strchr(" :,", to[-1]))
		to--;
	*to = '\0';
}

/* Makes the title. */
void title_make(const struct patterns *patterns, const struct patterns_rule *rule,
	const struct message *message, const char *text, size_t size, char title[TITLE_MAX + 1])
{
	struct parts parts = { .patterns = patterns, .rule = rule, .text = text, .size = size };
	struct text out = { 0 };

	text_append(&out, "", 0);
	if (rule->title) {
		patterns_groups(patterns, rule->line, message->text, message->size, parts.groups,
			&parts.count);
		if (rule->with)
			each_message(&parts, take_with, parts.groups);
		fill_in(&out, &parts, rule->title);
	} else {
		append_normal(&out, message->text, message->size);
	}
	squeeze(out.data);
	text_escape(title, TITLE_MAX + 1, *out.data ? out.data : "crash");
	text_done(&out);
}
