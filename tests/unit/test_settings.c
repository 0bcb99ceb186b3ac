/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <cmocka.h>

#include "backends/protocol/protocol.h"
#include "fs/settings.h"

/* What a show function gives for settings. */
static void expect(void (*show)(const struct settings *, struct text *),
	const struct settings *settings, const char *text)
{
	struct text shown = { 0 };

	show(settings, &shown);
	assert_string_equal(shown.data ? shown.data : "", text);
	text_done(&shown);
}

static int store(int (*take)(struct settings *, const char *, size_t), struct settings *settings,
	const char *text)
{
	return take(settings, text, strlen(text));
}

static void time_limits_are_seconds(void **state)
{
	static const struct {
		const char *text;
		uint32_t ms;
		const char *shown;
	} good[] = { { "0\n", 0, "0\n" }, { "90", 90000, "90\n" }, { "1.5\n", 1500, "1.5\n" },
		{ "0.0001", 1, "0.001\n" }, { "3600000", 3600000000u, "3600000\n" } };
	static const char *const bad[] = { "", "\n", "-1", " 1", "1 s", "x", "inf", "nan", "0x10", "1e99",
		"3600001", "1\n2\n" };
	struct settings settings = { 0 };

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(store(settings_store_timeout, &settings, good[i].text), 0);
		assert_int_equal(settings.timeout_ms, good[i].ms);
		expect(settings_show_timeout, &settings, good[i].shown);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(store(settings_store_timeout, &settings, bad[i]), -EINVAL);
		assert_int_equal(settings.timeout_ms, 3600000000u);
	}
	settings_done(&settings);
}

static void terminals_have_columns_and_rows(void **state)
{
	static const char *const bad[] = { "", "1", "80x", "x24", "80x24x", "0x24", "80x0", "-1x24",
		"80 x 24", "99999x24", "80X24" };
	struct settings settings = { 0 };

	expect(settings_show_tty, &settings, "0\n");
	assert_int_equal(store(settings_store_tty, &settings, "80x24\n"), 0);
	expect(settings_show_tty, &settings, "80x24\n");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(store(settings_store_tty, &settings, bad[i]), -EINVAL);
	expect(settings_show_tty, &settings, "80x24\n");
	assert_int_equal(store(settings_store_tty, &settings, "0"), 0);
	assert_int_equal(settings.columns, 0);
	settings_done(&settings);
}

static void directories_are_one_line(void **state)
{
	struct settings settings = { 0 };

	assert_int_equal(store(settings_store_cwd, &settings, "/tmp/a b\n"), 0);
	expect(settings_show_cwd, &settings, "/tmp/a b\n");
	assert_int_equal(store(settings_store_cwd, &settings, "a\nb\n"), -EINVAL);
	assert_int_equal(settings_store_cwd(&settings, "a\0b", 3), -EINVAL);
	expect(settings_show_cwd, &settings, "/tmp/a b\n");
	assert_int_equal(store(settings_store_cwd, &settings, "\n"), 0);
	expect(settings_show_cwd, &settings, "");
	settings_done(&settings);
}

static int environment(struct settings *settings, const char *text, uint64_t offset)
{
	return settings_write_environment(settings, text, strlen(text), offset);
}

static void environments_are_written_as_files_are(void **state)
{
	struct settings settings = { 0 }, copy;

	assert_int_equal(environment(&settings, "A=1\n_b2=x=y z\n", 0), 0);
	assert_int_equal(environment(&settings, "C", 14), 0);
	assert_int_equal(environment(&settings, "D=", 15), 0);
	assert_int_equal(environment(&settings, "3", 17), 0);
	expect(settings_show_environment, &settings, "A=1\n_b2=x=y z\nCD=3");
	assert_int_equal(environment(&settings, "9", 2), 0);
	expect(settings_show_environment, &settings, "A=9\n_b2=x=y z\nCD=3");
	settings_copy(&copy, &settings);
	static const char *const bad[] = { "=1\n", "1A=2\n", "a b=2\n", "A\n", "A-B", "\xc3\xa4=1" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(environment(&settings, bad[i], 0), -EINVAL);
	assert_int_equal(environment(&settings, "A=1\n", 99), -EINVAL);
	expect(settings_show_environment, &copy, "A=9\n_b2=x=y z\nCD=3");
	settings_done(&settings);
	settings_done(&copy);
}

static void the_frame_holds_whole_lines(void **state)
{
	struct settings settings = { .timeout_ms = 1500, .columns = 80, .rows = 24 };
	struct text payload = { 0 };
	struct frame_run_setup setup;

	assert_int_equal(environment(&settings, "A=1\n\nB=2\nC", 0), 0);
	assert_int_equal(store(settings_store_cwd, &settings, "sub\n"), 0);
	settings_frame(&settings, true, &payload);
	memcpy(&setup, payload.data, sizeof(setup));
	assert_int_equal(setup.timeout_ms, 1500);
	assert_int_equal(setup.columns, 80);
	assert_int_equal(setup.rows, 24);
	assert_int_equal(setup.flags, RUN_INPUT);
	assert_int_equal(setup.environment_size, 8);
	assert_int_equal(setup.cwd_size, 3);
	assert_string_equal(payload.data + sizeof(setup), "A=1\nB=2\nsub");
	text_done(&payload);
	settings_done(&settings);
}

static int number(const char *name)
{
	return settings_signal(name, strlen(name));
}

static void signals_have_names_and_numbers(void **state)
{
	assert_int_equal(number("INT"), SIGINT);
	assert_int_equal(number("SIGKILL\n"), SIGKILL);
	assert_int_equal(number("15\n"), SIGTERM);
	static const char *const bad[] = { "", "\n", "int", "SIG", "0", "32", "99", "9x", "-9", "INT TERM" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(number(bad[i]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_limits_are_seconds),
		cmocka_unit_test(terminals_have_columns_and_rows),
		cmocka_unit_test(directories_are_one_line),
		cmocka_unit_test(environments_are_written_as_files_are),
		cmocka_unit_test(the_frame_holds_whole_lines),
		cmocka_unit_test(signals_have_names_and_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
