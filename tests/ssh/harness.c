/* SPDX-License-Identifier: MIT */
#include "tests/ssh/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "backends/kinds.h"
#include "backends/ssh/keys.h"

#define DEADLINE_MS 20000

/* Quotes an argument for a shell. */
static void append_quoted(struct text *command, const char *argument)
{
	text_printf(command, " '%s'", argument);
}

/* Runs tests/lib/sshd.sh and gives its exit status. */
static int server_script(struct fixture *fixture, const char *verb, const char *const *lines)
{
	const char *script = getenv("POOLFS_SSHD");
	struct text command = { 0 };

	if (fixture->port)
		text_printf(&command, "SSHD_PORT=%d ", fixture->port);
	text_printf(&command, "%s %s", script ? script : "tests/lib/sshd.sh", verb);
	append_quoted(&command, fixture->directory);
	for (; lines && *lines; lines++)
		append_quoted(&command, *lines);
	FILE *pipe = popen(command.data, "re");

	text_done(&command);
	assert_non_null(pipe);
	int count = fscanf(pipe, "%d %d", &fixture->port, &fixture->server);
	int status = pclose(pipe);

	return WIFEXITED(status) && (count == 2 || verb[2] == 'o') ? WEXITSTATUS(status) : 1;
}

/* Starts the server. */
void server_start(struct fixture *fixture, const char *const *lines)
{
	int status = server_script(fixture, "start", lines);

	if (status == 77)
		exit(77);
	assert_int_equal(status, 0);
}

/* Stops the server; connections that it has go on. */
void server_stop(struct fixture *fixture)
{
	assert_int_equal(server_script(fixture, "stop", NULL), 0);
}

/* transport_events */
static void event_up(void *data)
{
	((struct fixture *)data)->up = true;
}

/* transport_events */
static void event_down(void *data, bool fatal, const char *reason)
{
	struct fixture *fixture = data;

	fixture->down = true;
	fixture->downs++;
	fixture->up = false;
	fixture->fatal = fatal;
	snprintf(fixture->reason, sizeof(fixture->reason), "%s", reason);
}

/* transport_events */
static void event_log(void *data, const char *message)
{
	text_printf(&((struct fixture *)data)->log, "%s\n", message);
}

/* transport_events */
static void event_status(void *data, const char *key, const char *value)
{
	text_printf(&((struct fixture *)data)->log, "status: %s %s\n", key, value);
}

static const struct transport_events events = { event_up, event_down, event_log, event_status };

static const struct poolfs_key *const tables[] = { kinds_pool_keys, poolfs_ssh_keys, NULL };

/* Sets one key. */
static void set(struct fixture *fixture, const char *key, const char *value)
{
	struct poolfs_err err = { "" };

	if (values_set(fixture->values, key, value, "/", &err))
		fail_msg("%s: %s", key, err.text);
}

/* Makes the transport. */
void transport_again(struct fixture *fixture, const char *const *keys)
{
	char id[96], user[64];
	struct poolfs_err err = { "" };
	bool key_set = false;

	if (fixture->transport)
		ssh_transport.free(fixture->transport);
	values_free(fixture->values);
	fixture->values = values_new(tables);
	for (; keys && keys[0]; keys += 2) {
		key_set |= !strcmp(keys[0], "ssh_key");
		if (*keys[1])
			set(fixture, keys[0], keys[1]);
	}
	snprintf(id, sizeof(id), "%s/id", fixture->directory);
	if (!key_set)
		set(fixture, "ssh_key", id);
	size_t size = sizeof(user);

	uv_passwd_t passwd;
	assert_int_equal(uv_os_get_passwd(&passwd), 0);
	snprintf(user, size, "%s", passwd.username);
	uv_os_free_passwd(&passwd);
	set(fixture, "ssh_user", user);
	values_defaults(fixture->values, "/");
	if (ssh_transport.new(&fixture->loop, fixture->values, &events, fixture,
		    &fixture->transport, &err))
		fail_msg("%s", err.text);
	fixture->up = fixture->down = false;
}

/* Servers whose test failed; the process ends them when it ends. */
static char *left[64];
static unsigned left_count;

/* Stops what failed tests left. */
static void stop_left(void)
{
	const char *script = getenv("POOLFS_SSHD");
	char command[512];

	for (unsigned i = 0; i < left_count; i++) {
		if (left[i]) {
			snprintf(command, sizeof(command), "%s stop %s; rm -rf %s",
				script ? script : "tests/lib/sshd.sh", left[i], left[i]);
			if (system(command))
				perror(command);
		}
		free(left[i]);
	}
}

/* Notes a server that is to be stopped, or that was. */
static void note(const char *directory, bool started)
{
	if (left_count == 0 && started)
		atexit(stop_left);
	if (started && left_count < 64) {
		left[left_count++] = memory_string(directory);
		return;
	}
	for (unsigned i = 0; i < left_count; i++) {
		if (!left[i] || strcmp(left[i], directory))
			continue;
		free(left[i]);
		left[i] = NULL;
	}
}

/* Starts everything but the connection. */
void fixture_start(struct fixture *fixture, const char *const *lines, const char *const *keys)
{
	memset(fixture, 0, sizeof(*fixture));
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/poolfs-ssh-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	snprintf(fixture->home, sizeof(fixture->home), "%s/ho'me", fixture->directory);
	snprintf(fixture->known_hosts, sizeof(fixture->known_hosts), "%s/known_hosts",
		fixture->directory);
	assert_int_equal(mkdir(fixture->home, 0755), 0);
	note(fixture->directory, true);
	server_start(fixture, lines);
	assert_int_equal(uv_loop_init(&fixture->loop), 0);
	uv_timer_init(&fixture->loop, &fixture->alarm);
	signal(SIGPIPE, SIG_IGN);
	transport_again(fixture, keys);
}

/* Connects. */
void connect_to(struct fixture *fixture, const char *known_hosts)
{
	struct poolfs_address address = { "127.0.0.1", (uint16_t)fixture->port, known_hosts };

	fixture->down = false;
	ssh_transport.connect(fixture->transport, &address);
}

/* Starts everything. */
void fixture_open(struct fixture *fixture, const char *const *lines, const char *const *keys)
{
	const char *defaults[] = { "files", NULL, NULL };

	memset(fixture, 0, sizeof(*fixture));
	fixture_start(fixture, lines, keys);
	if (!keys) {
		defaults[1] = fixture->home;
		transport_again(fixture, defaults);
	}
	connect_to(fixture, fixture->known_hosts);
	await(fixture, &fixture->up);
}

/* Ends everything; the loop must come to its end by itself. */
void fixture_close(struct fixture *fixture)
{
	char command[128];

	ssh_transport.free(fixture->transport);
	uv_close((uv_handle_t *)&fixture->alarm, NULL);
	assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&fixture->loop), 0);
	values_free(fixture->values);
	server_stop(fixture);
	note(fixture->directory, false);
	text_done(&fixture->log);
	snprintf(command, sizeof(command), "rm -rf '%s'", fixture->directory);
	assert_int_equal(system(command), 0);
}

/* The deadline has come. */
static void on_alarm(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Waits for a condition. */
void await_that(struct fixture *fixture, bool (*holds)(void *data), void *data)
{
	bool late = false;

	fixture->alarm.data = &late;
	uv_timer_start(&fixture->alarm, on_alarm, DEADLINE_MS, 0);
	while (!holds(data) && !late)
		uv_run(&fixture->loop, UV_RUN_ONCE);
	uv_timer_stop(&fixture->alarm);
	if (late)
		fail_msg("nothing happened; log: %s down: %s", fixture->log.data, fixture->reason);
}

/* A flag as a condition. */
static bool is_set(void *data)
{
	return *(const bool *)data;
}

/* Waits for a flag. */
void await(struct fixture *fixture, const bool *flag)
{
	await_that(fixture, is_set, (void *)(uintptr_t)flag);
}

/* transport_run_events */
static void run_started(void *data)
{
	struct result *result = data;

	assert_false(result->started);
	result->started = true;
}

/* transport_run_events */
static void run_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	struct result *result = data;

	assert_true(result->started && !result->ended);
	result->total += size;
	if (result->count)
		return;
	text_append(kind == SPOOL_STDERR ? &result->err : &result->out, bytes, size);
	text_append(&result->both, bytes, size);
}

/* transport_run_events */
static void run_ended(void *data, enum run_state state, int status)
{
	struct result *result = data;

	assert_false(result->ended);
	result->ended = true;
	result->state = state;
	result->status = status;
}

/* transport_run_events */
static void run_drained(void *data)
{
	((struct result *)data)->drained = true;
}

static const struct transport_run_events run_events = { .started = run_started,
	.output = run_output, .drained = run_drained, .ended = run_ended };

/* Starts a command. */
void run_start_as(struct fixture *fixture, const struct transport_command *command,
	struct result *result)
{
	bool count = result->count;

	memset(result, 0, sizeof(*result));
	result->count = count;
	text_append(&result->out, "", 0);
	text_append(&result->err, "", 0);
	result->run = ssh_transport.run(fixture->transport, command, &run_events, result);
	assert_false(result->started || result->ended);
}

/* Starts a command with nothing but a text. */
void run_start(struct fixture *fixture, const char *text, struct result *result)
{
	struct transport_command command = { .text = text, .size = strlen(text) };

	run_start_as(fixture, &command, result);
}

/* Runs a command. */
void run(struct fixture *fixture, const char *text, struct result *result)
{
	run_start(fixture, text, result);
	await(fixture, &result->ended);
}

/* Frees. */
void result_done(struct result *result)
{
	text_done(&result->out);
	text_done(&result->err);
	text_done(&result->both);
}

/* transport_file_done */
static void file_done(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	struct answer *answer = data;

	assert_false(answer->done);
	answer->done = true;
	answer->reply = *reply;
	text_append(&answer->bytes, bytes, size);
}

/* Starts a request. */
void ask_start(struct fixture *fixture, struct file_request *request, const char *path,
	const char *path2, const void *data, struct answer *answer)
{
	struct file_call call = { request, path ? path : "", path2 ? path2 : "", data };

	memset(answer, 0, sizeof(*answer));
	request->path_size = (uint32_t)strlen(call.path);
	request->path2_size = (uint32_t)strlen(call.path2);
	ssh_transport.file(
		fixture->transport, (uint64_t)(uintptr_t)answer, &call, file_done, answer);
	assert_false(answer->done);
}

/* Asks. */
int ask(struct fixture *fixture, struct file_request *request, const char *path, const char *path2,
	const void *data, struct answer *answer)
{
	ask_start(fixture, request, path, path2, data, answer);
	await(fixture, &answer->done);
	return answer->reply.error;
}

/* By path. */
int ask_path(struct fixture *fixture, enum file_op op, const char *path, struct answer *answer)
{
	struct file_request request = { .op = op };

	return ask(fixture, &request, path, NULL, NULL, answer);
}

/* By handle. */
int ask_handle(struct fixture *fixture, enum file_op op, uint64_t handle, struct answer *answer)
{
	struct file_request request = { .op = op, .handle = handle };

	return ask(fixture, &request, NULL, NULL, NULL, answer);
}

/* Opens. */
int ask_open(struct fixture *fixture, const char *path, uint32_t flags, uint64_t *handle)
{
	struct file_request request = { .op = FILE_OPEN, .flags = flags, .attr.mode = 0640 };
	struct answer answer;
	int error = ask(fixture, &request, path, NULL, NULL, &answer);

	if (!error)
		*handle = answer.reply.handle;
	answer_done(&answer);
	return error;
}

/* Frees. */
void answer_done(struct answer *answer)
{
	text_done(&answer->bytes);
}
