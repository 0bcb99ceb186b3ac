/* SPDX-License-Identifier: MIT */
#include "backends/base/notation.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"

static const struct {
	char letter;
	int shift;
} size_units[] = { { 'T', 40 }, { 'G', 30 }, { 'M', 20 }, { 'K', 10 } };

/* Reads digits into *number; returns what follows them, NULL without digits or on overflow. */
static const char *digits(const char *text, int64_t *number)
{
	int64_t value = 0;

	if (!isdigit((unsigned char)*text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *text - '0', &value))
			return NULL;
	}
	*number = value;
	return text;
}

/* BOOL. */
static int parse_bool(const char *text, int64_t *number, struct poolfs_err *err)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*number = i & 1;
			return 0;
		}
	}
	return poolfs_err_set(err, -EINVAL, "neither yes nor no: write yes or no");
}

/* INT. */
static int parse_int(const char *text, int64_t *number, struct poolfs_err *err)
{
	bool negative = *text == '-';
	int64_t value;
	const char *end = digits(text + negative, &value);

	if (!end || *end)
		return poolfs_err_set(err, -EINVAL, "not a number: write a whole number, such "
			"as 4");
	*number = negative ? -value : value;
	return 0;
}

/* The shift that a size's suffix stands for, -1 when there is no such suffix. */
static int size_shift(const char *suffix)
{
	if (!*suffix)
		return 0;
	for (size_t i = 0; i < sizeof(size_units) / sizeof(*size_units); i++)
		if (toupper((unsigned char)suffix[0]) == size_units[i].letter &&
		    (!suffix[1] || strcasecmp(suffix + 1, "iB") == 0))
			return size_units[i].shift;
	return -1;
}

/* SIZE. */
static int parse_size(const char *text, int64_t *number, struct poolfs_err *err)
{
	int64_t value;
	const char *end = digits(text, &value);
	int shift = end ? size_shift(end + strspn(end, " \t")) : -1;

	if (shift < 0 || value > INT64_MAX >> shift)
		return poolfs_err_set(err, -EINVAL, "not a size: write a number of bytes, or with "
			"K, M, G or T, such as 256M");
	*number = value << shift;
	return 0;
}

/* The milliseconds that a duration's suffix stands for, 0 when there is no such suffix. */
static int64_t seconds_unit(const char *suffix)
{
	static const struct {
		const char *suffix;
		int64_t unit;
	} units[] = { { "", 1000 }, { "s", 1000 }, { "ms", 1 }, { "m", 60000 }, { "h", 3600000 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (strcmp(suffix, units[i].suffix) == 0)
			return units[i].unit;
	return 0;
}

/* SECONDS, rounded up to milliseconds so that only zero is zero. */
static int parse_seconds(const char *text, int64_t *number, struct poolfs_err *err)
{
	int64_t whole, fraction = 0, scale = 1, unit, value;
	const char *end = digits(text, &whole);

	if (end && *end == '.') {
		const char *first = end + 1;

		end = digits(first, &fraction);
		if (end && end - first > 9)
			end = NULL;
		for (const char *at = first; end && at < end; at++)
			scale *= 10;
	}
	unit = end ? seconds_unit(end + strspn(end, " \t")) : 0;
	if (!unit || __builtin_mul_overflow(whole, unit, &value) ||
	    __builtin_add_overflow(value, (fraction * unit + scale - 1) / scale, &value))
		return poolfs_err_set(err, -EINVAL, "not a time: write seconds, such as 90 or 1.5, "
			"or a number with ms, s, m or h");
	*number = value;
	return 0;
}

/* Any number, then its bounds. */
int notation_number(const struct poolfs_key *key, const char *text, int64_t *number,
	struct poolfs_err *err)
{
	int64_t value = 0;
	int result = -EINVAL;
	char range[80];

	switch (key->type) {
	case POOLFS_BOOL:
		return parse_bool(text, number, err);
	case POOLFS_INT:
		result = parse_int(text, &value, err);
		break;
	case POOLFS_SIZE:
		result = parse_size(text, &value, err);
		break;
	case POOLFS_SECONDS:
		result = parse_seconds(text, &value, err);
		break;
	default:
		assert(!"a number");
	}
	if (result < 0)
		return result;
	if (notation_bounded(key) && (value < key->min || value > key->max)) {
		notation_range(key, range, sizeof(range));
		return poolfs_err_set(err, -EINVAL, "too %s: write a %s %s",
			value < key->min ? "small" : "large", key->type == POOLFS_SIZE ? "size" :
			key->type == POOLFS_SECONDS ? "time" : "number", range);
	}
	*number = value;
	return 0;
}

/* Says whether there are bounds. */
bool notation_bounded(const struct poolfs_key *key)
{
	return key->min != 0 || key->max != 0;
}

/* Writes seconds without needless zeros. */
static void format_seconds(int64_t number, char *out, size_t size)
{
	int64_t rest = number % 1000;
	int places = 3;

	if (!rest) {
		snprintf(out, size, "%" PRId64, number / 1000);
		return;
	}
	for (; rest % 10 == 0; rest /= 10)
		places--;
	snprintf(out, size, "%" PRId64 ".%0*" PRId64, number / 1000, places, rest);
}

/* Writes a number as the file would. */
void notation_format(enum poolfs_key_type type, int64_t number, char *out, size_t size)
{
	if (type == POOLFS_BOOL) {
		snprintf(out, size, "%s", number ? "yes" : "no");
		return;
	}
	if (type == POOLFS_SECONDS) {
		format_seconds(number, out, size);
		return;
	}
	for (size_t i = 0; type == POOLFS_SIZE && number &&
	     i < sizeof(size_units) / sizeof(*size_units); i++) {
		if (number % ((int64_t)1 << size_units[i].shift))
			continue;
		snprintf(out, size, "%" PRId64 "%c", number >> size_units[i].shift,
			size_units[i].letter);
		return;
	}
	snprintf(out, size, "%" PRId64, number);
}

/* Writes the bounds. */
void notation_range(const struct poolfs_key *key, char *out, size_t size)
{
	const char *unit = key->type == POOLFS_SECONDS ? " seconds" : "";
	char low[32], high[32];

	notation_format(key->type, key->min, low, sizeof(low));
	notation_format(key->type, key->max, high, sizeof(high));
	if (key->max == INT64_MAX)
		snprintf(out, size, "of at least %s%s", low, unit);
	else
		snprintf(out, size, "from %s to %s%s", low, high, unit);
}

/* One of the choices. */
int notation_choice(const struct poolfs_key *key, const char *text, struct poolfs_err *err)
{
	struct text list = { 0 };

	for (size_t i = 0; key->choices[i]; i++) {
		if (strcmp(text, key->choices[i]) == 0) {
			text_done(&list);
			return 0;
		}
		text_printf(&list, "%s%s", !i ? "" : key->choices[i + 1] ? ", " : " or ",
			key->choices[i]);
	}
	poolfs_err_set(err, -EINVAL, "not a choice: write %s", list.data ? list.data : "nothing");
	text_done(&list);
	return -EINVAL;
}

/* Reads a '..' or ".." part into word; returns what follows it, NULL where its end is missing. */
static const char *quoted(const char *in, struct text *word)
{
	char quote = *in++;

	for (; *in && *in != quote; in++) {
		if (quote == '"' && *in == '\\' && in[1] && strchr("\"\\$`", in[1]))
			in++;
		text_append(word, in, 1);
	}
	return *in ? in + 1 : NULL;
}

/* Reads one word; returns what follows it, NULL where a quote is not closed. */
static const char *next_word(const char *in, struct text *word)
{
	while (in && *in && !strchr(" \t\n", *in)) {
		if (*in == '\'' || *in == '"') {
			in = quoted(in, word);
			continue;
		}
		if (*in == '\\' && !*++in)
			return NULL;
		text_append(word, in++, 1);
	}
	return in;
}

/* Splits text as a shell does. */
int notation_words(const char *text, char ***words, struct poolfs_err *err)
{
	char **list = memory_new(sizeof(*list));
	size_t count = 0;
	const char *in = text + strspn(text, " \t");

	while (*in) {
		struct text one = { 0 };

		if (*in == '\n') {
			notation_words_free(list);
			return poolfs_err_set(err, -EINVAL, "there is a newline outside of quotes");
		}
		in = next_word(in, &one);
		if (!in) {
			text_done(&one);
			notation_words_free(list);
			return poolfs_err_set(err, -EINVAL, "a quote is not closed: end it, or "
				"write \\ before a quote that is meant as such");
		}
		in += strspn(in, " \t");
		list = memory_grow(list, (count + 2) * sizeof(*list));
		list[count++] = memory_string(one.data ? one.data : "");
		list[count] = NULL;
		text_done(&one);
	}
	*words = list;
	return 0;
}

/* The same for backends. */
int poolfs_split(const char *text, char ***words, struct poolfs_err *err)
{
	return notation_words(text, words, err);
}

/* Frees what it made. */
void poolfs_split_free(char **words)
{
	notation_words_free(words);
}

/* Whether a word needs no quotes. */
static bool is_plain(const char *word)
{
	return *word && strcspn(word, " \t\n'\"\\") == strlen(word);
}

/* Writes words. */
char *notation_words_text(const char *const *words)
{
	struct text text = { 0 };

	text_append(&text, "", 0);
	for (size_t i = 0; words[i]; i++) {
		const char *word = words[i];

		text_printf(&text, "%s%s", i ? " " : "", is_plain(word) ? word : "'");
		for (; !is_plain(words[i]) && *word; word++)
			text_printf(&text, *word == '\'' ? "'\\''" : "%c", *word);
		text_printf(&text, "%s", is_plain(words[i]) ? "" : "'");
	}
	return text.data;
}

/* Frees words. */
void notation_words_free(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}

/* The home directory, NULL where there is none. */
static const char *home(void)
{
	const char *path = getenv("HOME");

	if (!path || *path != '/') {
		struct passwd *user = getpwuid(getuid());
		path = user ? user->pw_dir : NULL;
	}
	return path && *path == '/' ? path : NULL;
}

/* Removes "//", "/./" and a "/" at the end, in place. */
static void tidy(char *path)
{
	char *out = path;

	for (const char *in = path; *in;) {
		in += strspn(in, "/");
		size_t length = strcspn(in, "/");

		if (length && !(length == 1 && *in == '.')) {
			*out++ = '/';
			memmove(out, in, length);
			out += length;
		}
		in += length;
	}
	if (out == path)
		*out++ = '/';
	*out = '\0';
}

/* Makes a path absolute. */
int notation_path(const char *text, const char *directory, char **path, struct poolfs_err *err)
{
	char *whole;

	if (!*text)
		return poolfs_err_set(err, -EINVAL, "empty: write the path of a file");
	if (*text == '~') {
		if (text[1] && text[1] != '/')
			return poolfs_err_set(err, -EINVAL, "only ~/ is understood, not ~NAME: "
				"write the whole path");
		directory = home();
		if (!directory)
			return poolfs_err_set(err, -EINVAL, "~ stands for nothing here, HOME is "
				"not set: write the whole path");
		text += 1 + strspn(text + 1, "/");
	}
	whole = *text == '/' ? memory_string(text) : memory_format("%s/%s", directory, text);
	tidy(whole);
	if (strlen(whole) >= PATH_MAX) {
		free(whole);
		return poolfs_err_set(err, -EINVAL, "too long for a path: %d bytes at most",
			PATH_MAX - 1);
	}
	*path = whole;
	return 0;
}
