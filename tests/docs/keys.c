/* SPDX-License-Identifier: MIT */
/*
 * keys SAMPLE.INI MANUAL.5: whether every key of every table stands in the sample
 * configuration and in the manual, with its default, and every key there in a table; and
 * whether the sample is right when its commented keys are used.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/kinds.h"
#include "backends/module/modules.h"
#include "config/config.h"

static char *sample, *manual;
static struct modules *modules;

/* Reads a whole file; free() it. */
static char *contents(const char *file)
{
	struct text text = { 0 };
	char piece[4096];
	size_t got;
	FILE *in = fopen(file, "re");

	if (!in)
		return NULL;
	while ((got = fread(piece, 1, sizeof(piece), in)) > 0)
		text_append(&text, piece, got);
	fclose(in);
	return text.data;
}

/* Calls each for every key that there is. */
static void each_key(void (*each)(const struct poolfs_key *key, void *data), void *data)
{
	for (const struct poolfs_key *key = config_keys; key->name; key++)
		each(key, data);
	for (const struct poolfs_key *key = kinds_pool_keys; key->name; key++)
		each(key, data);
	for (size_t i = 0; kinds_all[i]; i++)
		for (const struct poolfs_key *const *table = kinds_all[i]->tables; *table; table++)
			for (const struct poolfs_key *key = *table; key->name; key++)
				each(key, data);
}

/* The line of text that begins with prefix, key and what follows the key; free() it. */
static char *line_of(const char *text, const char *prefix, const char *key, const char *after)
{
	char *begin = memory_format("%s%s%s", prefix, key, after);
	size_t length = strlen(begin);

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncmp(line, begin, length) == 0) {
			free(begin);
			return memory_format("%.*s", (int)strcspn(line, "\n"), line);
		}
	}
	free(begin);
	return NULL;
}

/* Whether a default can be written in a document: programs differ between machines. */
static bool has_one_default(const struct poolfs_key *key)
{
	return key->fallback && key->type != POOLFS_PROGRAM;
}

/* Counts a key that the sample lacks, or shows with another value than its default. */
static void check_sample(const struct poolfs_key *key, void *wrong)
{
	bool family = key->flags & POOLFS_KEY_FAMILY;
	/* A family's key has a name of the user's in the sample. */
	char *name = memory_format("%.*s", (int)(family ? strcspn(key->name, ".") + 1 : strlen(key->name)),
		key->name);
	char *line = line_of(sample, "#", name, family ? "" : " = ");

	if (!line)
		line = line_of(sample, "", name, family ? "" : " = ");
	free(name);
	char *expected = memory_format(" = %s", key->fallback ? key->fallback : "");
	if (!line || (has_one_default(key) && strcmp(strstr(line, " = "), expected) != 0)) {
		printf("sample: %s%s: \"%s\"\n", key->name, expected, line ? line : "missing");
		++*(int *)wrong;
	}
	free(expected);
	free(line);
}

/* The same for the manual. */
static void check_manual(const struct poolfs_key *key, void *wrong)
{
	char *line = line_of(manual, ".It Ic ", key->name, " No \\&= ");
	char *expected = memory_format(" Pq default: %s", key->fallback ? key->fallback : "");
	bool other = line && has_one_default(key) &&
		(!strstr(line, expected) || strcmp(strstr(line, expected), expected) != 0);

	if (!line || other || (!key->fallback && strstr(line, "default:"))) {
		printf("manual: %s%s: \"%s\"\n", key->name, expected, line ? line : "missing");
		++*(int *)wrong;
	}
	free(expected);
	free(line);
}

struct search {
	const char *name;
	size_t length;
	bool found;
};

/* Compares a key's name with the searched one. */
static void match(const struct poolfs_key *key, void *data)
{
	struct search *search = data;

	size_t length = strlen(key->name);
	bool family = key->flags & POOLFS_KEY_FAMILY;

	/* Of a family only what is before the dot is the table's. */
	if (family)
		length = strcspn(key->name, ".");
	if (length == search->length && strncmp(key->name, search->name, length) == 0 &&
	    family == (search->name[length] == '.'))
		search->found = true;
}

/* Counts names that no table has: those between prefix and " " or "=" on each line. */
static int unknown_names(const char *text, const char *prefix)
{
	int wrong = 0;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		struct search search = { .name = line + strlen(prefix) };

		if (strncmp(line, prefix, strlen(prefix)) != 0 ||
		    !islower((unsigned char)*search.name))
			continue;
		search.length = strspn(search.name, "abcdefghijklmnopqrstuvwxyz0123456789_");
		each_key(match, &search);
		if (!search.found) {
			printf("there is no key %.*s\n", (int)search.length, search.name);
			wrong++;
		}
	}
	return wrong;
}

static void every_key_is_described(void **state)
{
	int wrong = 0;

	each_key(check_sample, &wrong);
	each_key(check_manual, &wrong);
	assert_int_equal(wrong, 0);
}

static void every_described_key_exists(void **state)
{
	assert_int_equal(unknown_names(sample, "#"), 0);
	assert_int_equal(unknown_names(sample, ""), 0);
	assert_int_equal(unknown_names(manual, ".It Ic "), 0);
}

/* Writes the sample with its commented keys and sections in use. */
static void write_used(FILE *out)
{
	for (const char *line = sample; *line;) {
		size_t size = strcspn(line, "\n") + 1;
		bool key = line[0] == '#' && (islower((unsigned char)line[1]) || line[1] == '[');

		fwrite(line + key, 1, size - key, out);
		line += size;
	}
	fclose(out);
}

/* The files that it names are examples; everything else must be right. */
static void the_sample_is_right(void **state)
{
	char file[] = "/tmp/poolfs-sample.XXXXXX";
	struct text errors = { 0 };
	struct config *config = NULL;
	int fd = mkstemp(file);

	assert_true(fd >= 0);
	write_used(fdopen(fd, "w"));
	if (config_load(file, NULL, modules, &config, &errors) == 0)
		config_free(config);
	unlink(file);
	for (char *line = errors.data; line && *line; line += strcspn(line, "\n") + 1)
		if (!strstr(line, "No such file or directory") &&
		    !strstr(line, "not found in PATH"))
			fail_msg("%s", line);
	text_done(&errors);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_described),
		cmocka_unit_test(every_described_key_exists),
		cmocka_unit_test(the_sample_is_right),
	};

	if (argc != 3 || !(sample = contents(argv[1])) || !(manual = contents(argv[2])))
		return 2;
	modules = modules_new(NULL, "/nowhere");
	int result = cmocka_run_group_tests(tests, NULL, NULL);
	modules_free(modules);
	free(sample);
	free(manual);
	return result;
}
