/* SPDX-License-Identifier: MIT */
/* How connections of the SSH transport are made, refused, lost and given up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libssh2.h>

#include "tests/ssh/harness.h"
#include "tests/ssh/told.h"

/* libssh2 1.10 loses the two halves of a key (32 bytes each) when a session is freed in the middle
 * of the key exchange, which test_freed does. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libssh2.so\n";
}

/* Runs a command of this host, with the server's directory as its first argument. */
static void host(const struct fixture *fixture, const char *command)
{
	char full[1024];

	snprintf(full, sizeof(full), "set -e; cd '%s'; %s", fixture->directory, command);
	assert_int_equal(system(full), 0);
}

/* The server's process of this connection. */
static pid_t session_of(struct fixture *fixture)
{
	struct result result = { 0 };

	run(fixture, "echo $PPID", &result);
	pid_t pid = atoi(result.out.data);

	result_done(&result);
	assert_true(pid > 1);
	return pid;
}

/* Waits for the failure of a connection. */
static void expect_down(struct fixture *fixture, bool fatal, const char *word)
{
	await(fixture, &fixture->down);
	assert_int_equal(fixture->downs, 1);
	assert_int_equal(fixture->fatal, fatal);
	if (!strstr(fixture->reason, word))
		fail_msg("%s", fixture->reason);
	fixture->downs = 0;
}

/* The server's process is killed: all ends, and a new connection works. */
static void test_lost(void **state)
{
	struct fixture fixture;
	struct result results[3] = { 0 };
	struct file_request request = { .op = FILE_GETATTR };
	struct answer answer;

	fixture_open(&fixture, NULL, NULL);
	pid_t pid = session_of(&fixture);

	for (int i = 0; i < 3; i++)
		run_start(&fixture, "read x; exec sleep 5", &results[i]);
	await(&fixture, &results[0].started);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	ask_start(&fixture, &request, "", NULL, NULL, &answer);
	assert_int_equal(kill(pid, SIGKILL), 0);
	await(&fixture, &fixture.down);
	for (int i = 0; i < 3; i++) {
		assert_true(results[i].ended);
		assert_int_equal(results[i].state, RUN_LOST);
		assert_int_equal(results[i].status, 255);
		result_done(&results[i]);
	}
	assert_true(answer.done);
	assert_int_equal(answer.reply.error, -EHOSTDOWN);
	answer_done(&answer);
	assert_false(fixture.fatal);
	/* While down, everything fails at once. */
	assert_int_equal(ask(&fixture, &request, "", NULL, NULL, &answer), -EHOSTDOWN);
	answer_done(&answer);
	run(&fixture, "true", &results[0]);
	assert_int_equal(results[0].state, RUN_LOST);
	result_done(&results[0]);
	connect_to(&fixture, fixture.known_hosts);
	await(&fixture, &fixture.up);
	run(&fixture, "echo again", &results[0]);
	assert_string_equal(results[0].out.data, "again\n");
	result_done(&results[0]);
	assert_int_equal(ask(&fixture, &request, "", NULL, NULL, &answer), 0);
	answer_done(&answer);
	fixture_close(&fixture);
}

/* The server's process stands still: the keepalive notices. */
static void test_silent(void **state)
{
	const char *keys[] = { "ssh_keepalive", "1", NULL };
	struct fixture fixture;
	struct result result = { 0 };

	fixture_open(&fixture, NULL, keys);
	pid_t pid = session_of(&fixture);

	run_start(&fixture, "sleep 2.5; echo alive", &result);
	await(&fixture, &result.ended);
	assert_string_equal(result.out.data, "alive\n");
	result_done(&result);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	expect_down(&fixture, false, "nothing was heard");
	assert_int_equal(kill(pid, SIGKILL), 0);
	fixture_close(&fixture);
}

/* What cannot work at all. */
static void test_refused(void **state)
{
	char other[96];
	const char *keys[] = { "ssh_key", other, NULL };
	struct poolfs_address nobody = { "127.0.0.1", 1, NULL };
	struct poolfs_address nameless = { "name.invalid", 22, NULL };
	struct fixture fixture;

	fixture_start(&fixture, NULL, NULL);
	ssh_transport.connect(fixture.transport, &nobody);
	expect_down(&fixture, false, "refused");
	fixture.down = false;
	ssh_transport.connect(fixture.transport, &nameless);
	expect_down(&fixture, false, "resolve");
	host(&fixture, "ssh-keygen -q -t ed25519 -N '' -f other");
	snprintf(other, sizeof(other), "%s/other", fixture.directory);
	transport_again(&fixture, keys);
	connect_to(&fixture, NULL);
	expect_down(&fixture, true, "/other failed");
	host(&fixture, "rm other; mkfifo other");
	connect_to(&fixture, NULL);
	expect_down(&fixture, true, "/other: not a regular file");
	fixture_close(&fixture);
}

/* Whether libssh2 has a cipher. */
static bool has_cipher(const char *name)
{
	LIBSSH2_SESSION *session = libssh2_session_init();
	const char **names = NULL;
	bool found = false;

	assert_non_null(session);
	int count = libssh2_session_supported_algs(session, LIBSSH2_METHOD_CRYPT_CS, &names);

	assert_true(count > 0);
	for (int i = 0; i < count; i++)
		found |= strcmp(names[i], name) == 0;
	libssh2_free(session, names);
	libssh2_session_free(session);
	return found;
}

/* Bytes both ways, more than one set of keys is for, and of every length that ends a packet. */
static void exchange(struct fixture *fixture)
{
	static char bytes[3000000];
	const struct transport_command copy = { .text = "cat", .size = 3, .input = true };
	struct result result = { 0 };
	char command[64];

	memset(bytes, 'y', sizeof(bytes));
	run_start_as(fixture, &copy, &result);
	feed(fixture, &result, bytes, sizeof(bytes));
	assert_int_equal(result.status, 0);
	assert_int_equal(result.out.size, sizeof(bytes));
	assert_memory_equal(result.out.data, bytes, sizeof(bytes));
	result_done(&result);
	for (int size = 1; size <= 40; size++) {
		snprintf(command, sizeof(command), "printf %%0%dd 7", size);
		run(fixture, command, &result);
		assert_int_equal(result.out.size, size);
		assert_int_equal(result.out.data[size - 1], '7');
		result_done(&result);
	}
	assert_int_equal(fixture->downs, 0);
}

/* Servers with a single cipher: all works with each that libssh2 has, the others are refused. */
static void test_ciphers(void **state)
{
	static const char *const ciphers[] = { "aes128-ctr", "aes192-ctr", "aes256-ctr",
		"aes128-gcm@openssh.com", "aes256-gcm@openssh.com" };

	for (size_t i = 0; i < sizeof(ciphers) / sizeof(*ciphers); i++) {
		char line[64];
		const char *const lines[] = { line, "RekeyLimit 1M", NULL };
		struct fixture fixture;

		snprintf(line, sizeof(line), "Ciphers %s", ciphers[i]);
		fixture_start(&fixture, lines, NULL);
		connect_to(&fixture, fixture.known_hosts);
		if (has_cipher(ciphers[i])) {
			await(&fixture, &fixture.up);
			exchange(&fixture);
		} else {
			expect_down(&fixture, false, "key exchange failed");
		}
		fixture_close(&fixture);
	}
}

/* Host keys: in the file, missing, hashed, revoked, changed. */
static void test_known_hosts(void **state)
{
	struct fixture fixture;

	fixture_start(&fixture, NULL, NULL);
	host(&fixture,
		"ssh-keygen -q -t ed25519 -N '' -f other; mv known_hosts good; cp good hashed;"
		"ssh-keygen -q -H -f hashed >/dev/null 2>&1; { echo '# x'; echo garbage; echo;"
		"echo '@cert-authority * ssh-rsa A'; cat hashed; } >known_hosts");
	connect_to(&fixture, fixture.known_hosts);
	await(&fixture, &fixture.up);
	ssh_transport.disconnect(fixture.transport);
	host(&fixture, "{ printf '@revoked '; cat good; cat good; } >known_hosts");
	connect_to(&fixture, fixture.known_hosts);
	expect_down(&fixture, true, "revoked");
	host(&fixture, "echo \"$(cut -d' ' -f1 good) $(cut -d' ' -f1,2 other.pub)\" >known_hosts");
	connect_to(&fixture, fixture.known_hosts);
	expect_down(&fixture, true, "not the one in");
	host(&fixture, "sed s/127/128/ good >known_hosts");
	connect_to(&fixture, fixture.known_hosts);
	expect_down(&fixture, true, "ssh-keyscan");
	host(&fixture, "rm known_hosts");
	connect_to(&fixture, fixture.known_hosts);
	expect_down(&fixture, true, "cannot read");
	host(&fixture, "mkfifo known_hosts");
	connect_to(&fixture, fixture.known_hosts);
	expect_down(&fixture, true, "not a regular file");
	connect_to(&fixture, "/dev/null");
	expect_down(&fixture, true, "is not in /dev/null");
	fixture_close(&fixture);
}

/* Without a file, the first key is the right one. */
static void test_pinned(void **state)
{
	struct fixture fixture;

	fixture_start(&fixture, NULL, NULL);
	connect_to(&fixture, NULL);
	await(&fixture, &fixture.up);
	ssh_transport.disconnect(fixture.transport);
	fixture.up = false;
	connect_to(&fixture, NULL);
	await(&fixture, &fixture.up);
	ssh_transport.disconnect(fixture.transport);
	server_stop(&fixture);
	host(&fixture, "rm host_key host_key.pub");
	server_start(&fixture, NULL);
	connect_to(&fixture, NULL);
	expect_down(&fixture, true, "changed");
	fixture_close(&fixture);
}

/* Keys of the agent; the first one is refused. */
static void test_agent(void **state)
{
	struct fixture fixture;
	char path[96];

	fixture_start(&fixture, NULL, NULL);
	host(&fixture,
		"ssh-keygen -q -t ed25519 -N '' -f other; eval $(ssh-agent -a agent) >/dev/null;"
		"echo $SSH_AGENT_PID >agent.pid; ssh-add -q other id");
	snprintf(path, sizeof(path), "%s/agent", fixture.directory);
	setenv("SSH_AUTH_SOCK", path, 1);
	transport_again(&fixture, (const char *[]){ "ssh_key", "", NULL });
	connect_to(&fixture, NULL);
	await(&fixture, &fixture.up);
	ssh_transport.disconnect(fixture.transport);
	host(&fixture, "kill $(cat agent.pid)");
	connect_to(&fixture, NULL);
	expect_down(&fixture, true, "agent");
	fixture_close(&fixture);
}

/* A user who frees in each of the callbacks. */
struct freer {
	struct fixture *fixture;
	bool freed;
};

/* Frees, once. */
static void free_now(struct freer *freer)
{
	assert_false(freer->freed);
	freer->freed = true;
	ssh_transport.free(freer->fixture->transport);
	freer->fixture->transport = NULL;
}

/* transport_run_events */
static void free_started(void *data)
{
	free_now(data);
}

/* transport_run_events */
static void free_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	free_now(data);
}

/* transport_run_events */
static void free_ended(void *data, enum run_state run_state, int status)
{
	free_now(data);
}

/* transport_run_events */
static void ignore_started(void *data)
{
}

/* transport_run_events */
static void ignore_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
}

/* transport_file_done */
static void free_done(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	free_now(data);
}

/* Freed from within a callback, everything goes and nobody is called any more. */
static void test_freed(void **state)
{
	static const struct transport_run_events events[] = {
		{ .started = free_started, .output = ignore_output, .ended = free_ended },
		{ .started = ignore_started, .output = free_output, .ended = free_ended },
		{ .started = ignore_started, .output = ignore_output, .ended = free_ended },
	};
	static const struct transport_command command = { .text = "echo x; echo y >&2", .size = 18 };
	struct fixture fixture;

	fixture_open(&fixture, NULL, NULL);
	for (int i = 0; i < 5; i++) {
		struct freer freer = { &fixture, false };
		struct file_request request = { .op = FILE_GETATTR };
		struct file_call call = { &request, "", "", NULL };

		transport_again(&fixture, NULL);
		connect_to(&fixture, NULL);
		if (i != 4)
			await(&fixture, &fixture.up);
		if (i < 3)
			ssh_transport.run(fixture.transport, &command, &events[i], &freer);
		else
			ssh_transport.file(fixture.transport, 1, &call, free_done, &freer);
		if (i == 2)
			ssh_transport.disconnect(fixture.transport);
		await(&fixture, &freer.freed);
	}
	/* In the middle of each step. */
	for (int i = 0; i < 12; i++) {
		transport_again(&fixture, NULL);
		connect_to(&fixture, NULL);
		for (int turns = 0; turns < i; turns++)
			uv_run(&fixture.loop, UV_RUN_ONCE);
	}
	assert_int_equal(fixture.downs, 0);
	fixture_close(&fixture);
}

/* Requests that come before the connection is there wait for it. */
static void test_early(void **state)
{
	struct fixture fixture;
	struct file_request request = { .op = FILE_GETATTR };
	struct result result = { 0 };
	struct answer answer;

	fixture_start(&fixture, NULL, NULL);
	connect_to(&fixture, NULL);
	ask_start(&fixture, &request, "", NULL, NULL, &answer);
	run(&fixture, "echo early", &result);
	assert_string_equal(result.out.data, "early\n");
	await(&fixture, &answer.done);
	assert_int_equal(answer.reply.error, 0);
	answer_done(&answer);
	result_done(&result);
	fixture_close(&fixture);
}

/* A machine without SFTP runs commands all the same, and by them has files, unless that is not wanted. */
static void without_sftp(const char *by, int expected)
{
	const char *keys[] = { "files_by", by, NULL };
	struct fixture fixture;
	struct file_request request = { .op = FILE_GETATTR };
	struct result result = { 0 };
	struct answer answer;

	setenv("SSHD_SFTP", "none", 1);
	fixture_start(&fixture, NULL, keys);
	unsetenv("SSHD_SFTP");
	connect_to(&fixture, NULL);
	assert_int_equal(ask(&fixture, &request, "", NULL, NULL, &answer), expected);
	answer_done(&answer);
	run(&fixture, "echo x", &result);
	assert_string_equal(result.out.data, "x\n");
	result_done(&result);
	fixture_close(&fixture);
}

static void test_no_files(void **state)
{
	without_sftp("auto", 0);
	without_sftp("sftp", -EOPNOTSUPP);
}

/* What speaks in place of the SFTP server is found out. */
static void test_garbage(void **state)
{
	const char *lines[] = { "ForceCommand echo forced", NULL };
	struct fixture fixture;
	struct file_request request = { .op = FILE_GETATTR };
	struct answer answer;

	fixture_start(&fixture, lines, NULL);
	connect_to(&fixture, NULL);
	/* "forc" is the length of a packet. */
	ask_start(&fixture, &request, "", NULL, NULL, &answer);
	expect_down(&fixture, false, "breaks the protocol");
	assert_int_equal(answer.reply.error, -EIO);
	answer_done(&answer);
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_ciphers),
		cmocka_unit_test(test_known_hosts),
		cmocka_unit_test(test_pinned),
		cmocka_unit_test(test_agent),
		cmocka_unit_test(test_freed),
		cmocka_unit_test(test_early),
		cmocka_unit_test(test_no_files),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
