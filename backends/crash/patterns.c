/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "backends/crash/patterns_build.h"

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/crash/literal.h"
#include "backends/crash/message.h"

/* How far a match may go back and how deep, in PCRE2's units; a line takes a few hundred. */
#define MATCH_LIMIT 20000
#define DEPTH_LIMIT 500
#define HEAP_LIMIT_KIB 1024

struct patterns {
	struct patterns_rule *rules;
	const char **literals;	/* of each rule, for the prefilter */
	size_t *sizes;
	size_t count;
	pcre2_code *lists[PATTERNS_LISTS]; /* NULL: the list is empty */
	struct prefilter prefilter;
	pcre2_match_context *limits;
	pcre2_match_data *match;
};

struct patterns_builder {
	struct patterns *patterns;
	struct text lists[PATTERNS_LISTS];
};

/* An empty one. */
struct patterns_builder *patterns_builder_new(void)
{
	struct patterns_builder *builder = memory_new(sizeof(*builder));

	builder->patterns = memory_new(sizeof(*builder->patterns));
	return builder;
}

/* Frees what was not built. */
void patterns_builder_free(struct patterns_builder *builder)
{
	patterns_free(builder->patterns);
	for (int i = 0; i < PATTERNS_LISTS; i++)
		text_done(&builder->lists[i]);
	free(builder);
}

/* Compiles one expression. */
static int compile(const char *expression, pcre2_code **code, struct poolfs_err *err)
{
	PCRE2_SIZE where;
	PCRE2_UCHAR why[256];
	int number;

	*code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED,
		PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF, &number, &where,
		NULL);
	if (*code)
		return 0;
	pcre2_get_error_message(number, why, sizeof(why));
	return poolfs_err_set(err, -EINVAL, "%s, at character %zu of the expression",
		(const char *)why, (size_t)where + 1);
}

/* How many groups an expression has. */
static unsigned group_count(const pcre2_code *code)
{
	uint32_t count = 0;

	if (code)
		pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &count);
	return count;
}

/* Whether a rule's groups have single digits. */
static int check_groups(const struct patterns_rule *rule, struct poolfs_err *err)
{
	if (group_count(rule->line) + group_count(rule->with) <= PATTERNS_GROUPS_MAX)
		return 0;
	return poolfs_err_set(err, -EINVAL, "a rule has at most %d groups; (?:...) is none",
		PATTERNS_GROUPS_MAX);
}

/* Has room for one rule more. */
static void grow(struct patterns *patterns)
{
	size_t count = patterns->count + 1;

	patterns->rules = memory_grow(patterns->rules, count * sizeof(*patterns->rules));
	patterns->literals = memory_grow(patterns->literals, count * sizeof(*patterns->literals));
	patterns->sizes = memory_grow(patterns->sizes, count * sizeof(*patterns->sizes));
}

/* A rule. */
int patterns_add_rule(struct patterns_builder *builder, enum crash_class class, bool stamped,
	bool joins, const char *expression, struct poolfs_err *err)
{
	struct patterns *patterns = builder->patterns;
	struct patterns_rule rule = { .class = class, .stamped = stamped, .joins = joins };
	size_t size = 0;

	if (patterns->count == PREFILTER_TEXTS_MAX)
		return poolfs_err_set(err, -E2BIG, "there are more than %d rules",
			PREFILTER_TEXTS_MAX);
	int result = compile(expression, &rule.line, err);
	if (result == 0)
		result = check_groups(&rule, err);
	char *literal = result == 0 ? literal_find(expression, &size) : NULL;
	if (result == 0 && size < PREFILTER_TEXT_MIN)
		result = poolfs_err_set(err, -EINVAL, "every line that the expression fits must hold "
			"the same %d or more characters: alternatives go into parentheses, beside "
			"fixed text, or into rules of their own", PREFILTER_TEXT_MIN);
	if (result < 0) {
		pcre2_code_free(rule.line);
		free(literal);
		return result;
	}
	grow(patterns);
	patterns->rules[patterns->count] = rule;
	patterns->literals[patterns->count] = literal;
	patterns->sizes[patterns->count++] = size;
	return 0;
}

/* The last rule; NULL with err when there is none. */
static struct patterns_rule *last_rule(struct patterns *patterns, struct poolfs_err *err)
{
	if (patterns->count > 0)
		return &patterns->rules[patterns->count - 1];
	poolfs_err_set(err, -EINVAL, "there is no rule before this line that it could belong to");
	return NULL;
}

/* A later line that a rule's title takes something from. */
int patterns_add_with(struct patterns_builder *builder, const char *expression,
	struct poolfs_err *err)
{
	struct patterns_rule *rule = last_rule(builder->patterns, err);

	if (!rule)
		return -EINVAL;
	if (rule->with)
		return poolfs_err_set(err, -EINVAL, "the rule has a \"with\" already");
	int result = compile(expression, &rule->with, err);
	return result < 0 ? result : check_groups(rule, err);
}

/* A rule's title. */
int patterns_add_title(struct patterns_builder *builder, const char *title, struct poolfs_err *err)
{
	struct patterns_rule *rule = last_rule(builder->patterns, err);

	if (!rule)
		return -EINVAL;
	if (rule->title)
		return poolfs_err_set(err, -EINVAL, "the rule has a title already");
	rule->title = memory_string(title);
	return 0;
}

/* An expression of a list. It is joined to the others in a group of its own, whose end no comment
 * of the (?x) kind may hide. */
int patterns_add_list(struct patterns_builder *builder, enum patterns_list list,
	const char *expression, struct poolfs_err *err)
{
	struct text *text = &builder->lists[list];
	pcre2_code *code;
	int result = compile(expression, &code, err);

	if (result < 0)
		return result;
	unsigned groups = group_count(code);
	pcre2_code_free(code);
	if (list == PATTERNS_FRAME && groups != 1)
		return poolfs_err_set(err, -EINVAL,
			"one group (...) must hold the function's name; there are %u", groups);
	text_printf(text, "%s(?:%s)", text->size ? "|" : "", expression);
	return 0;
}

/* Compiles the lists: group 1 is the same in all alternatives, and names are whole. */
static int build_lists(struct patterns_builder *builder, struct poolfs_err *err)
{
	int result = 0;

	for (int i = 0; i < PATTERNS_LISTS && result == 0; i++) {
		if (builder->lists[i].size == 0)
			continue;
		char *joined = memory_format(i == PATTERNS_SKIP ? "\\A(?|%s)\\z" : "(?|%s)",
			builder->lists[i].data);
		result = compile(joined, &builder->patterns->lists[i], err);
		free(joined);
	}
	return result;
}

/* Hands out. */
int patterns_build(struct patterns_builder *builder, struct patterns **out, struct poolfs_err *err)
{
	struct patterns *patterns = builder->patterns;
	int result = build_lists(builder, err);

	if (result < 0)
		return result;
	if (patterns->count == 0)
		return poolfs_err_set(err, -EINVAL, "there is no rule (fatal, report) in it");
	prefilter_init(&patterns->prefilter, patterns->literals, patterns->sizes, patterns->count);
	patterns->limits = pcre2_match_context_create(NULL);
	patterns->match = pcre2_match_data_create(PATTERNS_GROUPS_MAX + 1, NULL);
	if (!patterns->limits || !patterns->match)
		return poolfs_err_set(err, -ENOMEM, "no memory");
	pcre2_set_match_limit(patterns->limits, MATCH_LIMIT);
	pcre2_set_depth_limit(patterns->limits, DEPTH_LIMIT);
	pcre2_set_heap_limit(patterns->limits, HEAP_LIMIT_KIB);
	*out = patterns;
	builder->patterns = memory_new(sizeof(*builder->patterns));
	return 0;
}

/* Frees; also one that was not built to its end. */
void patterns_free(struct patterns *patterns)
{
	if (!patterns)
		return;
	for (size_t i = 0; i < patterns->count; i++) {
		pcre2_code_free(patterns->rules[i].line);
		pcre2_code_free(patterns->rules[i].with);
		free(patterns->rules[i].title);
		free((char *)patterns->literals[i]);
	}
	for (int i = 0; i < PATTERNS_LISTS; i++)
		pcre2_code_free(patterns->lists[i]);
	pcre2_match_data_free(patterns->match);
	pcre2_match_context_free(patterns->limits);
	prefilter_done(&patterns->prefilter);
	free(patterns->rules);
	free(patterns->literals);
	free(patterns->sizes);
	free(patterns);
}

/* The filter. */
const struct prefilter *patterns_prefilter(const struct patterns *patterns)
{
	return &patterns->prefilter;
}

/* Whether an expression matches; the match stays in patterns->match. */
static bool matches(const struct patterns *patterns, const pcre2_code *code, const char *text,
	size_t size)
{
	return pcre2_match(code, (PCRE2_SPTR)text, size, 0, 0, patterns->match,
		patterns->limits) >= 0;
}

/* Whether a text is in a list. */
bool patterns_in(const struct patterns *patterns, enum patterns_list list, const char *text,
	size_t size, struct patterns_group *group)
{
	if (!patterns->lists[list] || !matches(patterns, patterns->lists[list], text, size))
		return false;
	if (!group)
		return true;
	const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(patterns->match);
	bool set = list == PATTERNS_FRAME && ends[2] != PCRE2_UNSET;
	*group = set ? (struct patterns_group){ text + ends[2], ends[3] - ends[2] }
		     : (struct patterns_group){ 0 };
	return true;
}

/* The first message that a rule fits. */
static bool rule_fits(const struct patterns *patterns, const struct patterns_rule *rule,
	const struct message *messages, size_t count, size_t *which)
{
	for (size_t i = 0; i < count; i++) {
		const struct message *message = &messages[i];

		if ((rule->stamped && !message->stamped) ||
			!matches(patterns, rule->line, message->text, message->size) ||
			patterns_in(patterns, PATTERNS_EXCEPT, message->text, message->size, NULL))
			continue;
		*which = i;
		return true;
	}
	return false;
}

/* Finds a rule. */
const struct patterns_rule *patterns_rule(const struct patterns *patterns,
	const struct prefilter_hits *hits, const struct message *messages, size_t count,
	size_t *which)
{
	for (size_t word = 0; word * 64 < patterns->count; word++) {
		for (uint64_t left = hits->bits[word]; left; left &= left - 1) {
			size_t index = word * 64 + (size_t)__builtin_ctzll(left);

			if (rule_fits(patterns, &patterns->rules[index], messages, count, which))
				return &patterns->rules[index];
		}
	}
	return NULL;
}

/* The groups of a match. */
bool patterns_groups(const struct patterns *patterns, const pcre2_code *expression,
	const char *text, size_t size, struct patterns_group groups[PATTERNS_GROUPS_MAX],
	unsigned *count)
{
	*count = group_count(expression);
	if (!expression || !matches(patterns, expression, text, size))
		return false;
	const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(patterns->match);
	for (unsigned i = 0; i < *count; i++) {
		PCRE2_SIZE from = ends[2 * i + 2], to = ends[2 * i + 3];
		bool set = from != PCRE2_UNSET && from <= to;

		groups[i] = set ? (struct patterns_group){ text + from, to - from }
				: (struct patterns_group){ 0 };
	}
	return true;
}
