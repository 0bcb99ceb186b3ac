/* SPDX-License-Identifier: MIT */
/* Parts of commands, as a shell of this host takes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/shell.h"

/* Runs a script, and compares what it prints. */
static void prints(const char *script, const char *expected, size_t size)
{
	char file[] = "/tmp/test_shell.XXXXXX", command[64], out[4096];
	int fd = mkstemp(file);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, script, strlen(script)), (ssize_t)strlen(script));
	close(fd);
	snprintf(command, sizeof(command), "sh %s 2>&1", file);
	FILE *pipe = popen(command, "r");
	size_t got = fread(out, 1, sizeof(out), pipe);
	pclose(pipe);
	unlink(file);
	assert_int_equal(got, size);
	assert_memory_equal(out, expected, size);
}

static void words_stay_what_they_are(void **state)
{
	struct text script = { 0 };
	char all[256];
	size_t size = 0;

	for (int byte = 1; byte < 256; byte++)
		all[size++] = (char)byte;
	text_printf(&script, "printf %%s ");
	shell_word(&script, all, size);
	prints(script.data, all, size);
	text_done(&script);
	text_printf(&script, "printf '<%%s>' ");
	shell_word(&script, "", 0);
	text_printf(&script, " ");
	shell_word(&script, "it's '' \"$HOME\"", 15);
	prints(script.data, "<><it's '' \"$HOME\">", 19);
	text_done(&script);
}

static void directories_are_no_options(void **state)
{
	struct text text = { 0 };

	shell_cd(&text, NULL);
	shell_cd(&text, "");
	assert_int_equal(text.size, 0);
	shell_cd(&text, "-P");
	shell_cd(&text, "~/x y");
	shell_cd(&text, "/a'b");
	assert_string_equal(text.data, "cd './-P' || exit 255; cd './x y' || exit 255; "
		"cd '/a'\\''b' || exit 255; ");
	text_done(&text);
	shell_cd(&text, "/no/such/directory");
	text_printf(&text, "echo not here");
	struct text script = { 0 };
	text_printf(&script, "(%s) 2>/dev/null; echo $?", text.data);
	prints(script.data, "255\n", 4);
	text_done(&script);
	text_done(&text);
}

static void variables_are_exported(void **state)
{
	static const char lines[] = "A=it's\nB=\nA_1=$A=`x`\n";
	struct text text = { 0 };

	shell_export(&text, NULL, 0);
	assert_int_equal(text.size, 0);
	shell_export(&text, lines, sizeof(lines) - 1);
	assert_string_equal(text.data, "export A='it'\\''s' B='' A_1='$A=`x`'; ");
	text_printf(&text, "sh -c 'echo \"$A|$B|$A_1\"'");
	prints(text.data, "it's||$A=`x`\n", 13);
	text_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_stay_what_they_are),
		cmocka_unit_test(directories_are_no_options),
		cmocka_unit_test(variables_are_exported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
