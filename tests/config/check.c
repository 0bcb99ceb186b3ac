/* SPDX-License-Identifier: MIT */
/*
 * check DIRECTORY: loads good/NAME.ini, which must pass, and bad/NAME.ini, which must
 * fail with exactly the lines of bad/NAME.expect (without the file's name in front).
 */
#include <glob.h>
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
#include "backends/module/modules.h"
#include "config/config.h"

static struct modules *modules;

/* Expands a pattern; fails the test when nothing matches. */
static glob_t files(const char *pattern)
{
	glob_t found;

	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	return found;
}

/* Reads a whole file; free() it. */
static char *contents(const char *file)
{
	struct text text = { 0 };
	char piece[4096];
	size_t got;
	FILE *in = fopen(file, "re");

	if (!in)
		fail_msg("%s is missing", file);
	while ((got = fread(piece, 1, sizeof(piece), in)) > 0)
		text_append(&text, piece, got);
	fclose(in);
	return text.data ? text.data : memory_string("");
}

/* Removes "FILE:" and a space after it from the beginning of each line, and makes the current
 * directory "@" in the rest. */
static char *without_file(const char *errors, const char *file)
{
	struct text text = { 0 };
	char *here = getcwd(NULL, 0);
	size_t length = strlen(file), above = strlen(here);

	for (const char *at = errors; *at; at++) {
		if (at == errors || at[-1] == '\n') {
			assert_int_equal(strncmp(at, file, length), 0);
			assert_int_equal(at[length], ':');
			at += length + 1 + (at[length + 1] == ' ');
		}
		if (strncmp(at, here, above) == 0) {
			text_append(&text, "@", 1);
			at += above;
		}
		text_append(&text, at, 1);
	}
	free(here);
	return text.data ? text.data : memory_string("");
}

static void good_files_pass(void **state)
{
	glob_t found = files("good/*.ini");

	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct text errors = { 0 };
		struct config *config = NULL;

		if (config_load(found.gl_pathv[i], NULL, modules, &config, &errors) != 0)
			fail_msg("%s", errors.data);
		assert_int_equal(errors.size, 0);
		assert_non_null(config);
		config_free(config);
		text_done(&errors);
	}
	globfree(&found);
}

static void bad_files_fail_as_expected(void **state)
{
	glob_t found = files("bad/*.ini");
	int wrong = 0;

	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *file = found.gl_pathv[i];
		char *expect = memory_format("%.*s.expect", (int)strlen(file) - 4, file);
		char *expected = contents(expect);
		struct text errors = { 0 };
		struct config *config = NULL;

		if (config_load(file, NULL, modules, &config, &errors) == 0) {
			config_free(config);
			text_append(&errors, "", 0);
		}
		char *got = without_file(errors.data, file);
		if (strcmp(got, expected) != 0) {
			/* print_message cuts at 1 KB. */
			printf("%s gives:\n%sexpected:\n%s", file, got, expected);
			wrong++;
		}
		free(got);
		free(expected);
		free(expect);
		text_done(&errors);
	}
	globfree(&found);
	assert_int_equal(wrong, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_files_pass),
		cmocka_unit_test(bad_files_fail_as_expected),
	};

	if (argc != 2 || chdir(argv[1]) < 0)
		return 2;
	modules = modules_new(NULL, "/nowhere");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	modules_free(modules);
	return failed;
}
