/* SPDX-License-Identifier: MIT */
/* Names in forward/ and expose/, and the words of forward_allow. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/base/ports.h"
#include "fs/forward_name.h"

/* Parses a name that is right. */
static struct forward_name parsed(enum forward_direction direction, const char *name)
{
	struct forward_name result;
	struct poolfs_err err = { "" };

	if (forward_name_parse(direction, name, &result, &err) != 0)
		fail_msg("%s: %s", name, err.text);
	return result;
}

/* An end, as text. */
static const char *shown(const struct forward_name_end *end)
{
	static const char *const families[] = { "ipv4", "ipv6", "unix" };
	static char text[2][160];
	static int turn;
	char *to = text[turn ^= 1];

	snprintf(to, sizeof(text[0]), "%s %u %s", families[end->family], end->port, end->path);
	return to;
}

static void names(void **state)
{
	static const struct {
		const char *name, *target, *listen;
	} rows[] = {
		{ "80", "ipv4 80 ", "ipv4 0 " },
		{ "1", "ipv4 1 ", "ipv4 0 " },
		{ "65535:65535", "ipv4 65535 ", "ipv4 65535 " },
		{ "80:8080", "ipv4 80 ", "ipv4 8080 " },
		{ "80:0", "ipv4 80 ", "ipv4 0 " },
		{ "tcp:127.0.0.1:8080", "ipv4 8080 ", "ipv4 0 " },
		{ "tcp:localhost:8080", "ipv4 8080 ", "ipv4 0 " },
		{ "tcp:[::1]:80", "ipv6 80 ", "ipv4 0 " },
		{ "tcp:[::1]:80:81", "ipv6 80 ", "ipv4 81 " },
		{ "tcp:[::1]:80:tcp:[::1]:0", "ipv6 80 ", "ipv6 0 " },
		{ "80:tcp:127.0.0.1:81", "ipv4 80 ", "ipv4 81 " },
		{ "unix:%2Frun%2Fx.sock", "unix 0 /run/x.sock", "ipv4 0 " },
		{ "unix:%2frun%2fa%3Ab%25", "unix 0 /run/a:b%", "ipv4 0 " },
		{ "unix:%2Fx:90", "unix 0 /x", "ipv4 90 " },
		{ "unix:%2F%80%0a", "unix 0 /\x80\n", "ipv4 0 " },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (int direction = 0; direction < FORWARD_DIRECTIONS; direction++) {
			struct forward_name name = parsed(direction, rows[i].name);

			assert_string_equal(shown(&name.target), rows[i].target);
			assert_string_equal(shown(&name.listen), rows[i].listen);
		}
	}
	struct forward_name name = parsed(FORWARD_TO_GUEST, "unix:%2Fa:unix:%2Fb");
	assert_string_equal(shown(&name.target), "unix 0 /a");
	assert_string_equal(shown(&name.listen), "unix 0 /b");
}

static void wrong_names(void **state)
{
	static const char *const rows[] = { "", ":", "0", "00", "080", "65536", "99999999999", "-1", "+1",
		" 80", "80 ", "80x", "80:", ":80", "80::81", "80:81:82", "80:x", "80:65536", "tcp:",
		"tcp:80", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:127.0.0.1:0", "tcp:127.0.0.2:80",
		"tcp:0.0.0.0:80", "tcp:::1:80", "tcp:[::1]", "tcp:[::1:80", "tcp:[::]:80", "tcp:example:80",
		"TCP:127.0.0.1:80", "unix:", "unix:x", "unix:%2", "unix:%2G", "unix:%", "unix:%00",
		"unix:%2Fa%00", "unix:%2Fa b", "unix:%2Fa\nb", "unix:%2Fa\x80", "unix:%2Fa:", "udp:1" };
	struct forward_name result;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (int direction = 0; direction < FORWARD_DIRECTIONS; direction++) {
			struct poolfs_err err = { "" };

			if (forward_name_parse(direction, rows[i], &result, &err) != -EINVAL)
				fail_msg("\"%s\" is taken", rows[i]);
			assert_true(err.text[0]);
		}
	}
}

static void sizes_of_names(void **state)
{
	struct forward_name result;
	struct poolfs_err err;
	char name[400] = "unix:%2F";

	memset(name + 8, 'x', PROTOCOL_FORWARD_PATH_MAX - 1);
	assert_int_equal(forward_name_parse(FORWARD_TO_GUEST, name, &result, &err), 0);
	assert_int_equal(strlen(result.target.path), PROTOCOL_FORWARD_PATH_MAX);
	name[8 + PROTOCOL_FORWARD_PATH_MAX - 1] = 'x';
	assert_int_equal(forward_name_parse(FORWARD_TO_GUEST, name, &result, &err), -ENAMETOOLONG);
	memset(name, '0', sizeof(name) - 1);
	assert_int_equal(forward_name_parse(FORWARD_TO_GUEST, name, &result, &err), -ENAMETOOLONG);
	assert_int_equal(forward_name_parse(FORWARD_TO_HOST, "80:unix:%2Fx", &result, &err),
		-EOPNOTSUPP);
}

static void ports(void **state)
{
	static const char *const list[] = { "80", "8000-8002", NULL };
	static const char *const any[] = { "any", NULL }, *const local[] = { "unix", NULL };
	static const char *const none[] = { "none", NULL }, *const empty[] = { NULL };

	for (int port = 1; port <= 65535; port++) {
		assert_int_equal(ports_allow(list, port), port == 80 || (port >= 8000 && port <= 8002));
		assert_true(ports_allow(any, port));
		assert_false(ports_allow(local, port) || ports_allow(none, port) ||
			ports_allow(empty, port));
	}
	assert_true(ports_allow(local, 0));
	assert_false(ports_allow(any, 0) || ports_allow(list, 0) || ports_allow(none, 0));
}

static void words_of_ports(void **state)
{
	static const char *const right[][4] = { { NULL }, { "any" }, { "none" }, { "unix", "any" },
		{ "1", "65535", "1-65535" }, { "80-80" } };
	static const char *const wrong[][4] = { { "0" }, { "65536" }, { "80-" }, { "-80" }, { "90-80" },
		{ "http" }, { "80,81" }, { "none", "80" }, { "80", "none" }, { "" }, { "1-2-3" } };
	struct poolfs_err err;

	for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++)
		assert_int_equal(ports_check(right[i], &err), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(ports_check(wrong[i], &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(wrong_names),
		cmocka_unit_test(sizes_of_names),
		cmocka_unit_test(ports),
		cmocka_unit_test(words_of_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
