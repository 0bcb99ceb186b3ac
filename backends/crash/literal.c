/* SPDX-License-Identifier: MIT */
#include "backends/crash/literal.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"

struct search {
	const char *at;
	char *run, *best;	/* the text under way, and the longest that is complete */
	size_t size, best_size;
	bool over;		/* the rest, or all, is not understood */
};

/* The text under way is complete. */
static void flush(struct search *search)
{
	if (search->size > search->best_size) {
		memcpy(search->best, search->run, search->size);
		search->best_size = search->size;
	}
	search->size = 0;
}

/* There is no fixed text at all. */
static void give_up(struct search *search)
{
	search->over = true;
	search->size = search->best_size = 0;
}

/* Behind a class "[...]"; a "]" at its beginning is one of its characters. */
static const char *class_end(const char *at)
{
	at += at[1] == '^' ? 2 : 1;
	if (*at == ']')
		at++;
	while (*at && *at != ']') {
		if (*at == '\\' && at[1])
			at++;
		else if (*at == '[' && at[1] == ':' && strstr(at, ":]"))
			at = strstr(at, ":]") + 1;
		at++;
	}
	return *at ? at + 1 : at;
}

/* Behind a group "(...)". */
static const char *group_end(const char *at)
{
	int depth = 0;

	while (*at) {
		if (*at == '[') {
			at = class_end(at);
			continue;
		}
		if (*at == '\\' && at[1])
			at++;
		else if (*at == '(')
			depth++;
		else if (*at == ')' && --depth == 0)
			return at + 1;
		at++;
	}
	return at;
}

/* A backslash: a character as it is, a class, or something that has an argument. */
static void take_escape(struct search *search)
{
	char next = search->at[1];

	if (!next || (isalnum((unsigned char)next) && !strchr("dDwWsSbBAzZhHvVnrtR", next))) {
		flush(search);
		search->over = true;
		return;
	}
	if (isalnum((unsigned char)next))
		flush(search);
	else
		search->run[search->size++] = next;
	search->at += 2;
}

/* "?", "*" or "{": the character before may be absent. */
static void take_optional(struct search *search)
{
	if (search->size > 0)
		search->size--;
	flush(search);
	if (*search->at == '{')
		search->at += strcspn(search->at, "}");
	if (*search->at)
		search->at++;
}

/* "(": what is in it is not looked at, but options change all that follows. */
static void take_group(struct search *search)
{
	const char *at = search->at;

	if (at[1] == '*' ||
	    (at[1] == '?' && (isalpha((unsigned char)at[2]) || at[2] == '-' || at[2] == '^'))) {
		give_up(search);
		return;
	}
	flush(search);
	search->at = group_end(at);
}

/* Takes what stands next. */
static void take(struct search *search)
{
	switch (*search->at) {
	case '\\':
		take_escape(search);
		break;
	case '[':
		flush(search);
		search->at = class_end(search->at);
		break;
	case '(':
		take_group(search);
		break;
	case '|':
		give_up(search);
		break;
	case '?':
	case '*':
	case '{':
		take_optional(search);
		break;
	case '+':
	case '.':
	case '^':
	case '$':
		flush(search);
		search->at++;
		break;
	default:
		search->run[search->size++] = *search->at++;
	}
}

/* Finds the longest. */
char *literal_find(const char *expression, size_t *size)
{
	size_t room = strlen(expression) + 1;
	struct search search = { .at = expression, .run = memory_new(room),
		.best = memory_new(room) };

	while (*search.at && !search.over)
		take(&search);
	flush(&search);
	/* An alternative behind what was not understood would make the text before it optional. */
	if (*search.at && strchr(search.at, '|'))
		search.best_size = 0;
	free(search.run);
	if (search.best_size == 0) {
		free(search.best);
		return NULL;
	}
	search.best[search.best_size] = '\0';
	*size = search.best_size;
	return search.best;
}
