/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "backends/base/memory.h"
#include "backends/base/notation.h"
#include "backends/base/values.h"

static const char *const levels[] = { "low", "medium", "high", NULL };

static const struct poolfs_key first[] = {
	{ .name = "text", .type = POOLFS_STRING },
	{ .name = "flag", .type = POOLFS_BOOL, .fallback = "yes" },
	{ .name = "count", .type = POOLFS_INT, .fallback = "16", .min = 1, .max = 100 },
	{ .name = "offset", .type = POOLFS_INT },
	{ .name = "memory", .type = POOLFS_SIZE, .fallback = "1G", .min = 65536, .max = 1LL << 40 },
	{ .name = "free_size", .type = POOLFS_SIZE },
	{ .name = "delay", .type = POOLFS_SECONDS, .min = 500, .max = 86400000 },
	{ .name = "pause", .type = POOLFS_SECONDS },
	{ 0 }
};
static const struct poolfs_key second[] = {
	{ .name = "level", .type = POOLFS_CHOICE, .choices = levels },
	{ .name = "image", .type = POOLFS_PATH, .flags = POOLFS_KEY_REQUIRED | POOLFS_KEY_EXISTS },
	{ .name = "home", .type = POOLFS_PATH, .fallback = "~/x" },
	{ .name = "program", .type = POOLFS_PROGRAM, .flags = POOLFS_KEY_EXISTS, .fallback = "sh" },
	{ .name = "words", .type = POOLFS_WORDS },
	{ .name = "secret", .type = POOLFS_STRING, .flags = POOLFS_KEY_SECRET },
	{ .name = "command", .type = POOLFS_COMMAND, .flags = POOLFS_KEY_EXISTS },
	{ .name = "ctl.VERB", .type = POOLFS_COMMAND, .flags = POOLFS_KEY_FAMILY | POOLFS_KEY_EXISTS },
	{ .name = "env.NAME", .type = POOLFS_STRING, .flags = POOLFS_KEY_FAMILY },
	{ 0 }
};
static const struct poolfs_key *const tables[] = { first, second, NULL };

/* Sets one key of fresh values; gives the number or -1, and the error. */
static int64_t number(const char *key, const char *text, struct poolfs_err *err)
{
	struct poolfs_values *values = values_new(tables);
	int64_t result = -1;

	err->text[0] = '\0';
	if (values_set(values, key, text, "/", err) == 0)
		result = poolfs_number(values, key);
	else
		assert_false(poolfs_has(values, key));
	values_free(values);
	return result;
}

static void booleans(void **state)
{
	struct poolfs_err err;

	assert_int_equal(number("flag", "yes", &err), 1);
	assert_int_equal(number("flag", "On", &err), 1);
	assert_int_equal(number("flag", "1", &err), 1);
	assert_int_equal(number("flag", "true", &err), 1);
	assert_int_equal(number("flag", "no", &err), 0);
	assert_int_equal(number("flag", "off", &err), 0);
	assert_int_equal(number("flag", "0", &err), 0);
	assert_int_equal(number("flag", "false", &err), 0);
	assert_int_equal(number("flag", "maybe", &err), -1);
	assert_string_equal(err.text, "neither yes nor no: write yes or no");
	assert_int_equal(number("flag", "", &err), -1);
}

static void integers(void **state)
{
	struct poolfs_err err;

	assert_int_equal(number("count", "1", &err), 1);
	assert_int_equal(number("count", "100", &err), 100);
	assert_int_equal(number("offset", "-7", &err), -7);
	assert_int_equal(number("offset", "9223372036854775807", &err), INT64_MAX);
	static const char *const bad[] = { "", "-", "+1", "1 ", " 1", "1.5", "0x10", "1e3",
		"9223372036854775808", "99999999999999999999" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(number("count", bad[i], &err), -1);
		assert_string_equal(err.text, "not a number: write a whole number, such as 4");
	}
	assert_int_equal(number("count", "0", &err), -1);
	assert_string_equal(err.text, "too small: write a number from 1 to 100");
	assert_int_equal(number("count", "101", &err), -1);
	assert_string_equal(err.text, "too large: write a number from 1 to 100");
}

static void sizes(void **state)
{
	struct poolfs_err err;

	assert_int_equal(number("memory", "65536", &err), 65536);
	assert_int_equal(number("memory", "256M", &err), 256 << 20);
	assert_int_equal(number("memory", "256m", &err), 256 << 20);
	assert_int_equal(number("memory", "2 GiB", &err), 2LL << 30);
	assert_int_equal(number("memory", "100KiB", &err), 100 << 10);
	assert_int_equal(number("memory", "1T", &err), 1LL << 40);
	assert_int_equal(number("free_size", "8388607T", &err), 8388607LL << 40);
	static const char *const bad[] = { "", "M", "1.5G", "-1", "1X", "1KB", "1Kib2", "1 K M",
		"8388608T", "9223372036854775808" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(number("free_size", bad[i], &err), -1);
		assert_string_equal(err.text, "not a size: write a number of bytes, or with K, M, "
			"G or T, such as 256M");
	}
	assert_int_equal(number("memory", "1", &err), -1);
	assert_string_equal(err.text, "too small: write a size from 64K to 1T");
	assert_int_equal(number("memory", "2T", &err), -1);
	assert_string_equal(err.text, "too large: write a size from 64K to 1T");
}

static void durations(void **state)
{
	struct poolfs_err err;

	assert_int_equal(number("pause", "90", &err), 90000);
	assert_int_equal(number("pause", "1.5", &err), 1500);
	assert_int_equal(number("pause", "1.25 s", &err), 1250);
	assert_int_equal(number("pause", "500ms", &err), 500);
	assert_int_equal(number("pause", "2m", &err), 120000);
	assert_int_equal(number("pause", "1.5h", &err), 5400000);
	assert_int_equal(number("pause", "0", &err), 0);
	assert_int_equal(number("pause", "0.0001", &err), 1);
	assert_int_equal(number("pause", "0.999999999h", &err), 3600000);
	static const char *const bad[] = { "", "s", ".5", "1.", "1,5", "-1", "1d", "1 M",
		"0.1234567890", "9223372036854775807", "9223372036854775807ms1", "inf", "nan" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(number("pause", bad[i], &err), -1);
		assert_string_equal(err.text, "not a time: write seconds, such as 90 or 1.5, or a "
			"number with ms, s, m or h");
	}
	assert_int_equal(number("delay", "100ms", &err), -1);
	assert_string_equal(err.text, "too small: write a time from 0.5 to 86400 seconds");
}

static void numbers_are_written_as_they_are_read(void **state)
{
	static const struct {
		enum poolfs_key_type type;
		int64_t number;
		const char *text;
	} cases[] = {
		{ POOLFS_SIZE, 0, "0" }, { POOLFS_SIZE, 1000, "1000" },
		{ POOLFS_SIZE, 1536, "1536" }, { POOLFS_SIZE, 3LL << 30, "3G" },
		{ POOLFS_SECONDS, 0, "0" }, { POOLFS_SECONDS, 1500, "1.5" },
		{ POOLFS_SECONDS, 90000, "90" }, { POOLFS_SECONDS, 1, "0.001" },
		{ POOLFS_SECONDS, 1020, "1.02" }, { POOLFS_INT, -5, "-5" },
		{ POOLFS_BOOL, 1, "yes" }, { POOLFS_BOOL, 0, "no" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct poolfs_key key = { .name = "x", .type = cases[i].type };
		char text[32];
		int64_t back;

		notation_format(cases[i].type, cases[i].number, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
		assert_int_equal(notation_number(&key, text, &back, NULL), 0);
		assert_int_equal(back, cases[i].number);
	}
}

static void choices(void **state)
{
	struct poolfs_values *values = values_new(tables);
	struct poolfs_err err;

	assert_null(poolfs_string(values, "level"));
	assert_int_equal(values_set(values, "level", "higher", "/", &err), -EINVAL);
	assert_string_equal(err.text, "not a choice: write low, medium or high");
	assert_int_equal(values_set(values, "level", "high", "/", &err), 0);
	assert_string_equal(poolfs_string(values, "level"), "high");
	values_free(values);
}

/* Splits text and compares with the words, which are separated by '|'. */
static void expect_words(const char *text, const char *expected)
{
	struct poolfs_values *values = values_new(tables);
	struct poolfs_err err;
	char joined[256] = "";

	assert_null(poolfs_words(values, "words")[0]);
	assert_int_equal(values_set(values, "words", text, "/", &err), 0);
	for (const char *const *word = poolfs_words(values, "words"); *word; word++) {
		strcat(joined, *word);
		strcat(joined, "|");
	}
	assert_string_equal(joined, expected);
	values_free(values);
}

static void words_are_quoted_as_in_a_shell(void **state)
{
	expect_words("", "");
	expect_words("  ", "");
	expect_words("a", "a|");
	expect_words(" a\tb  c ", "a|b|c|");
	expect_words("'a b' \"c d\" e\\ f", "a b|c d|e f|");
	expect_words("a'b'\"c\"d", "abcd|");
	expect_words("'' \"\"", "||");
	expect_words("'\\n' \"\\n \\\" \\\\ \\$x\" \\n", "\\n|\\n \" \\ $x|n|");
	expect_words("$HOME `x` *", "$HOME|`x`|*|");
	expect_words("'a\nb' \"\n\" c\\\nd", "a\nb|\n|c\nd|");
	expect_words("it\\'s", "it's|");

	static const char *const bad[] = { "'a", "\"a", "a\"", "a\\", "\"a\\\"", "'it's'" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct poolfs_values *values = values_new(tables);
		struct poolfs_err err;

		assert_int_equal(values_set(values, "words", bad[i], "/", &err), -EINVAL);
		assert_non_null(strstr(err.text, "a quote is not closed"));
		assert_false(poolfs_has(values, "words"));
		values_free(values);
	}

	struct poolfs_err err;
	char **words;
	assert_int_equal(poolfs_split("a 'b\nc'\nd", &words, &err), -EINVAL);
	assert_string_equal(err.text, "there is a newline outside of quotes");
	assert_int_equal(poolfs_split("\n", &words, &err), -EINVAL);
	assert_int_equal(poolfs_split("a 'b c'", &words, &err), 0);
	assert_string_equal(words[1], "b c");
	assert_null(words[2]);
	poolfs_split_free(words);
	poolfs_split_free(NULL);
}

/* Sets the path and compares what became of it; NULL: it must be refused. */
static void expect_path(const char *text, const char *expected)
{
	struct poolfs_values *values = values_new(tables);
	struct poolfs_err err;
	int result = values_set(values, "image", text, "/etc/pools", &err);

	assert_int_equal(result, expected ? 0 : -EINVAL);
	if (expected)
		assert_string_equal(poolfs_string(values, "image"), expected);
	values_free(values);
}

static void paths_become_absolute(void **state)
{
	char *old = memory_string(getenv("HOME"));
	char longest[PATH_MAX + 8];

	setenv("HOME", "/home/me", 1);
	expect_path("/a/b", "/a/b");
	expect_path("/", "/");
	expect_path("//a//./b/.", "/a/b");
	expect_path("disk.img", "/etc/pools/disk.img");
	expect_path("./images/disk.img", "/etc/pools/images/disk.img");
	expect_path("../disk.img", "/etc/pools/../disk.img");
	expect_path("~/disk", "/home/me/disk");
	expect_path("~", "/home/me");
	expect_path("a~b", "/etc/pools/a~b");
	expect_path("~root/x", NULL);
	expect_path("", NULL);
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[PATH_MAX] = '\0';
	expect_path(longest, NULL);
	longest[PATH_MAX - 1] = '\0';
	expect_path(longest, longest);
	if (old)
		setenv("HOME", old, 1);
	else
		unsetenv("HOME");
	free(old);
}

static void keys_are_set_once(void **state)
{
	struct poolfs_values *values = values_new(tables);
	struct poolfs_err err;

	assert_int_equal(values_set(values, "nothing", "x", "/", &err), -ENOENT);
	assert_int_equal(values_set(values, "text", "x", "/", &err), 0);
	assert_int_equal(values_set(values, "text", "y", "/", &err), -EEXIST);
	assert_string_equal(poolfs_string(values, "text"), "x");
	assert_true(poolfs_has(values, "text"));
	assert_false(poolfs_has(values, "count"));
	assert_int_equal(poolfs_number(values, "count"), 0);
	values_defaults(values, "/");
	assert_int_equal(poolfs_number(values, "count"), 16);
	assert_int_equal(poolfs_number(values, "memory"), 1 << 30);
	assert_int_equal(poolfs_number(values, "flag"), 1);
	assert_false(poolfs_has(values, "offset"));
	assert_ptr_equal(values_key(values, "level"), &second[0]);
	assert_null(values_key(values, "levels"));
	values_free(values);
	values_free(NULL);
}

static void similar_names(void **state)
{
	struct poolfs_values *values = values_new(tables);
	char longest[300];

	assert_string_equal(values_similar(values, "memroy"), "memory");
	assert_string_equal(values_similar(values, "Count"), "count");
	assert_string_equal(values_similar(values, "free-size"), "free_size");
	assert_null(values_similar(values, "kernel"));
	assert_null(values_similar(values, ""));
	memset(longest, 'm', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_null(values_similar(values, longest));
	values_free(values);
}

/* Checks one key set to text; gives the result. */
static int checked(const char *key, const char *text, struct poolfs_err *err)
{
	struct poolfs_values *values = values_new(tables);

	if (text)
		assert_int_equal(values_set(values, key, text, "/", err), 0);
	int result = values_check(values, values_key(values, key), err);
	values_free(values);
	return result;
}

static void checks_look_at_files(void **state)
{
	struct poolfs_err err;

	assert_int_equal(checked("text", NULL, &err), 0);
	assert_int_equal(checked("image", NULL, &err), -EINVAL);
	assert_string_equal(err.text, "missing: write \"image = ...\"");
	assert_int_equal(checked("image", "/dev/null", &err), 0);
	assert_int_equal(checked("image", "/nowhere/image", &err), -ENOENT);
	assert_string_equal(err.text,
		"/nowhere/image: No such file or directory: write the path of a file");
	assert_int_equal(checked("image", "/dev", &err), -EISDIR);
	assert_int_equal(checked("program", "sh", &err), 0);
	assert_int_equal(checked("program", "/bin/sh", &err), 0);
	assert_int_equal(checked("program", "/dev/null", &err), -ENOENT);
	assert_int_equal(checked("program", "/bin", &err), -ENOENT);
	assert_int_equal(checked("program", "poolfs-no-such-program", &err), -ENOENT);
	assert_non_null(strstr(err.text, "is not found in PATH"));
}

static void programs_are_absolute(void **state)
{
	struct poolfs_values *values = values_new(tables);

	assert_int_equal(values_set(values, "program", "", "/", NULL), -EINVAL);
	assert_int_equal(values_set(values, "program", "sh", "/", NULL), 0);
	assert_int_equal(poolfs_string(values, "program")[0], '/');
	assert_int_equal(access(poolfs_string(values, "program"), X_OK), 0);
	values_free(values);

	values = values_new(tables);
	values_set(values, "program", "bin/x", "/etc", NULL);
	assert_string_equal(poolfs_string(values, "program"), "/etc/bin/x");
	values_free(values);
}

/* Collects "key=text " of the keys that are set. */
static void collect(void *data, const struct poolfs_key *key, const char *text)
{
	if (text)
		sprintf((char *)data + strlen(data), "%s=%s ", key->name, text);
}

static void json_carries_all_values(void **state)
{
	struct poolfs_values *values = values_new(tables);
	struct poolfs_err err;
	char before[1024] = "", after[1024] = "";

	values_set(values, "text", "a \"b\" \xc3\xa4", "/", NULL);
	values_set(values, "image", "disk", "/images", NULL);
	values_set(values, "words", "a 'b c'", "/", NULL);
	values_set(values, "delay", "1.5", "/", NULL);
	values_set(values, "program", "/bin/sh", "/", NULL);
	values_set(values, "secret", "hush", "/", NULL);
	values_set(values, "command", "./x 'it'\\''s' \"\"", "/there", NULL);
	values_set(values, "env.B", "1", "/", NULL);
	values_set(values, "ctl.go", "sh -c 'a  b'", "/", NULL);
	values_set(values, "env.A", "", "/", NULL);
	values_defaults(values, "/");
	values_each(values, collect, before);
	assert_non_null(strstr(before, "image=/images/disk "));
	assert_non_null(strstr(before, "memory=1G "));
	assert_non_null(strstr(before, "secret=(secret) "));

	json_t *object = values_to_json(values);
	assert_string_equal(json_string_value(json_object_get(object, "image")), "/images/disk");
	values_free(values);
	values = values_from_json(tables, object, &err);
	assert_non_null(values);
	values_each(values, collect, after);
	assert_string_equal(after, before);
	assert_string_equal(poolfs_words(values, "words")[1], "b c");
	assert_string_equal(poolfs_string(values, "secret"), "hush");
	assert_int_equal(poolfs_number(values, "delay"), 1500);
	assert_string_equal(poolfs_words(values, "command")[0], "/there/x");
	assert_string_equal(poolfs_words(values, "command")[1], "it's");
	assert_string_equal(poolfs_words(values, "command")[2], "");
	assert_string_equal(poolfs_words(values, "ctl.go")[2], "a  b");
	assert_string_equal(poolfs_member(values, "env.NAME", 1), "env.A");
	values_free(values);

	json_object_set_new(object, "flag", json_string("perhaps"));
	assert_null(values_from_json(tables, object, &err));
	assert_string_equal(err.text, "flag: neither yes nor no: write yes or no");
	json_object_set_new(object, "flag", json_true());
	assert_null(values_from_json(tables, object, &err));
	json_object_set_new(object, "flag", json_string("yes"));
	json_object_set_new(object, "unknown", json_string("x"));
	assert_null(values_from_json(tables, object, &err));
	json_object_del(object, "unknown");
	json_object_set_new(object, "text", json_stringn("a\0b", 3));
	assert_null(values_from_json(tables, object, &err));
	json_decref(object);
	assert_null(values_from_json(tables, NULL, &err));
}

static void commands_begin_with_a_program(void **state)
{
	struct poolfs_values *values = values_new(tables);
	const struct poolfs_key *key = values_key(values, "command");
	struct poolfs_err err;

	assert_int_equal(values_set(values, "command", "", "/", &err), -EINVAL);
	assert_int_equal(values_set(values, "command", "'' x", "/", &err), -EINVAL);
	assert_int_equal(values_set(values, "command", "a 'b", "/", &err), -EINVAL);
	assert_int_equal(values_check(values, key, &err), 0);
	assert_int_equal(values_set(values, "command", "bin/x  -y", "/etc", &err), 0);
	assert_string_equal(poolfs_words(values, "command")[0], "/etc/bin/x");
	assert_int_equal(values_check(values, key, &err), -ENOENT);
	values_free(values);

	values = values_new(tables);
	assert_int_equal(values_set(values, "command", "/etc/passwd", "/", &err), 0);
	assert_int_equal(values_check(values, values_key(values, "command"), &err), -EACCES);
	values_free(values);

	values = values_new(tables);
	assert_int_equal(values_set(values, "command", "sh", "/", &err), 0);
	assert_string_equal(poolfs_words(values, "command")[0], "sh");
	assert_int_equal(values_check(values, values_key(values, "command"), &err), 0);
	values_free(values);
}

static void families_have_keys_of_the_users(void **state)
{
	struct poolfs_values *values = values_new(tables);
	char name[32];
	struct poolfs_err err;

	assert_null(poolfs_member(values, "ctl.VERB", 0));
	assert_false(poolfs_has(values, "ctl.x"));
	assert_null(poolfs_string(values, "env.x"));
	assert_null(poolfs_words(values, "ctl.x")[0]);
	assert_int_equal(values_set(values, "ctl.", "sh", "/", &err), -ENOENT);
	assert_int_equal(values_set(values, "ctl", "sh", "/", &err), -ENOENT);
	assert_int_equal(values_set(values, "ctl.x", "'", "/", &err), -EINVAL);
	assert_null(poolfs_member(values, "ctl.VERB", 0));
	assert_int_equal(values_set(values, "ctl.x", "no-such-program", "/", &err), 0);
	assert_int_equal(values_set(values, "ctl.x", "sh", "/", &err), -EEXIST);
	assert_int_equal(values_set(values, "env.x", "1", "/", &err), 0);
	assert_int_equal(values_set(values, "ctl.y", "sh", "/", &err), 0);
	assert_string_equal(poolfs_member(values, "ctl.VERB", 0), "ctl.x");
	assert_string_equal(poolfs_member(values, "ctl.VERB", 1), "ctl.y");
	assert_null(poolfs_member(values, "ctl.VERB", 2));
	assert_int_equal(values_check(values, values_key(values, "ctl.x"), &err), -ENOENT);
	assert_int_equal(values_check(values, values_key(values, "ctl.y"), &err), 0);
	for (int i = 0; i < 253; i++) {
		sprintf(name, "env.v%d", i);
		assert_int_equal(values_set(values, name, "", "/", &err), 0);
	}
	assert_int_equal(values_set(values, "env.more", "", "/", &err), -EINVAL);
	values_free(values);
}

static void json_refuses_what_is_not_utf8(void **state)
{
	struct poolfs_values *values = values_new(tables);

	values_set(values, "text", "\xff", "/", NULL);
	assert_null(values_to_json(values));
	values_free(values);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(booleans),
		cmocka_unit_test(integers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(durations),
		cmocka_unit_test(numbers_are_written_as_they_are_read),
		cmocka_unit_test(choices),
		cmocka_unit_test(words_are_quoted_as_in_a_shell),
		cmocka_unit_test(paths_become_absolute),
		cmocka_unit_test(keys_are_set_once),
		cmocka_unit_test(similar_names),
		cmocka_unit_test(checks_look_at_files),
		cmocka_unit_test(programs_are_absolute),
		cmocka_unit_test(commands_begin_with_a_program),
		cmocka_unit_test(families_have_keys_of_the_users),
		cmocka_unit_test(json_carries_all_values),
		cmocka_unit_test(json_refuses_what_is_not_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
