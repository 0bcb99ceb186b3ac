/* SPDX-License-Identifier: MIT */
/* The transport "agent" against an agent that this test plays, also a hostile one. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "backends/agent/client.h"
#include "backends/agent/talk.h"
#include "backends/base/text.h"
#include "backends/base/values.h"
#include "backends/protocol/sockets.h"
#include "backends/transport.h"

static const struct poolfs_key keys[] = { { .name = "files", .type = POOLFS_STRING, .help = "" },
	{ 0 } };
static const struct poolfs_key *const tables[] = { keys, NULL };

/* Both ends, and what the transport told. */
static struct play {
	uv_loop_t loop;
	struct poolfs_values *values;
	struct transport *transport;
	int agent, files;	/* the agent's ends; files: -1 before they are sent */
	int shim;		/* the backend's end */
	unsigned ups, downs, logs;
	/* of one run */
	unsigned started, ended, drained;
	enum run_state state;
	int status;
	size_t room;
	struct text output;
	/* of one request */
	unsigned answers;
	int error;
} play;

static void on_up(void *data) { play.ups++; }
static void on_down(void *data, bool fatal, const char *reason) { play.downs++; }
static void on_log(void *data, const char *message) { play.logs++; }
static void on_status(void *data, const char *key, const char *value) { }

static const struct transport_events events = {
	.up = on_up, .down = on_down, .log = on_log, .status = on_status };

static void on_started(void *data) { play.started++; }
static size_t on_room(void *data) { return play.room; }
static void on_drained(void *data) { play.drained++; }

static void on_output(void *data, enum spool_kind kind, const void *bytes, size_t size)
{
	assert_true(size <= play.room);
	text_append(&play.output, bytes, size);
}

static void on_ended(void *data, enum run_state state, int status)
{
	play.ended++;
	play.state = state;
	play.status = status;
}

static const struct transport_run_events run_events = { .started = on_started, .room = on_room,
	.output = on_output, .drained = on_drained, .ended = on_ended };

static void on_answer(void *data, const struct file_reply *reply, const void *bytes, size_t size)
{
	play.answers++;
	play.error = reply->error;
}

/* Lets the transport work until nothing more is to be done at once. */
static void work(void)
{
	for (int i = 0; i < 20; i++)
		uv_run(&play.loop, UV_RUN_NOWAIT);
}

/* Sends as the agent. */
static void say(enum talk_type type, uint64_t id, int value, int fd)
{
	struct talk_message message = { .type = type, .id = id, .value = value };

	assert_int_equal(talk_send(play.agent, &message, &fd, fd >= 0 ? 1 : 0), 0);
	work();
}

/* What the transport said; type 0: nothing. */
static struct talk_message hear(int *fds, unsigned *count)
{
	struct talk_message message = { 0 };
	int spare[TALK_FDS_MAX];
	unsigned none = 0;

	work();
	if (talk_receive(play.agent, &message, fds ? fds : spare, count ? count : &none) <= 0)
		message.type = 0;
	return message;
}

static int set_up(void **state)
{
	const struct transport_ops *ops = &agent_transport;
	int ends[2];

	memset(&play, 0, sizeof(play));
	play.room = SIZE_MAX;
	play.files = -1;
	uv_loop_init(&play.loop);
	play.values = values_new(tables);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	play.agent = ends[0];
	play.shim = ends[1];
	ops->new(&play.loop, play.values, &events, NULL, &play.transport, NULL);
	ops->connect(play.transport, &(struct poolfs_address){ .agent = play.shim });
	assert_int_equal(hear(NULL, NULL).type, TALK_HELLO);
	return 0;
}

static int tear_down(void **state)
{
	agent_transport.free(play.transport);
	work();
	assert_int_equal(uv_loop_close(&play.loop), 0);
	values_free(play.values);
	text_done(&play.output);
	close(play.agent);
	close(play.shim);
	if (play.files >= 0)
		close(play.files);
	return 0;
}

/* The agent answers as it should. */
static void greet(void)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	say(TALK_HELLO, 0, TALK_VERSION, -1);
	assert_int_equal(play.ups, 0);
	say(TALK_FILES, 0, 0, ends[0]);
	close(ends[0]);
	play.files = ends[1];
	assert_int_equal(play.ups, 1);
}

/* Starts a command; what the agent got. */
static struct transport_run *begin(const struct transport_command *command, uint64_t *id, int *fds)
{
	struct transport_run *run = agent_transport.run(play.transport, command, &run_events, NULL);
	unsigned count = 0;
	struct talk_message message = hear(fds, &count);

	assert_int_equal(message.type, TALK_RUN);
	assert_int_equal(count, command->columns ? 1 : 4);
	assert_int_equal(message.text_size, command->size);
	*id = message.id;
	return run;
}

static void close_fds(int *fds, int count)
{
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

static void other_versions_are_refused(void **state)
{
	say(TALK_HELLO, 0, TALK_VERSION + 1, -1);
	assert_int_equal(play.downs, 1);
	assert_int_equal(play.ups, 0);
}

static void nonsense_ends_the_connection(void **state)
{
	greet();
	say(99, 0, 0, -1);
	assert_int_equal(play.downs, 1);
}

static void other_sizes_end_the_connection(void **state)
{
	greet();
	assert_int_equal(send(play.agent, "x", 1, 0), 1);
	work();
	assert_int_equal(play.downs, 1);
}

static void files_that_are_no_socket(void **state)
{
	struct file_request request = { .op = FILE_GETATTR };
	struct file_call call = { &request, "", "", NULL };
	int null = open("/dev/null", O_RDWR);

	say(TALK_HELLO, 0, TALK_VERSION, -1);
	say(TALK_FILES, 0, 0, null);
	close(null);
	agent_transport.file(play.transport, 1, &call, on_answer, NULL);
	assert_int_equal(play.answers, 0);
	work();
	assert_int_equal(play.answers, 1);
	assert_int_equal(play.error, -EIO);
}

static void a_command(void **state)
{
	struct transport_command command = { .text = "echo 'x\n", .size = 8, .environment = "A=1\n",
		.environment_size = 4, .cwd = "/d" };
	char parts[20] = "";
	uint64_t id;
	int fds[4];

	greet();
	begin(&command, &id, fds);
	assert_int_equal(pread(fds[0], parts, sizeof(parts), 0), 14);
	assert_memory_equal(parts, "echo 'x\nA=1\n/d", 14);
	say(TALK_EXITED, id, 5 << 8, -1);
	assert_int_equal(play.started, 0);
	say(TALK_STARTED, id, 0, -1);
	say(TALK_STARTED, id, 0, -1);
	assert_int_equal(play.started, 1);
	assert_int_equal(write(fds[2], "out", 3), 3);
	say(TALK_EXITED, id, 7 << 8, -1);
	assert_int_equal(play.ended, 0);
	close_fds(fds, 4);
	assert_int_equal(hear(NULL, NULL).type, TALK_RELEASE);
	assert_int_equal(play.ended, 1);
	assert_int_equal(play.state, RUN_EXITED);
	assert_int_equal(play.status, 7);
	assert_memory_equal(play.output.data, "out", 3);
	say(TALK_GONE, id, 0, -1);
	say(TALK_EXITED, id, 0, -1);
	assert_int_equal(play.ended, 1);
}

/* ---- Forwards ---------------------------------------------------------------- */

static struct {
	unsigned listening, failed, dials;
	uint16_t port;
	int error;
	int host;	/* what dial gives away */
} told;

static void on_listening(void *data, uint16_t port)
{
	told.listening++;
	told.port = port;
}

static void on_failed(void *data, int error, const char *reason)
{
	told.failed++;
	told.error = error;
}

static int on_dial(void *data)
{
	told.dials++;
	return told.host;
}

static const struct transport_forward_events forward_events = { .listening = on_listening,
	.failed = on_failed, .dial = on_dial };

static const struct sockets_place any_port = { .family = FORWARD_IPV4 };

/* Asks for a listener; the number of the wish. */
static struct transport_forward *want_listener(uint64_t *id)
{
	memset(&told, 0, sizeof(told));
	struct transport_forward *forward = agent_transport.forward_listen(play.transport,
		&any_port, &forward_events, NULL);
	struct talk_message message = hear(NULL, NULL);
	assert_int_equal(message.type, TALK_LISTEN);
	*id = message.id;
	return forward;
}

static void sockets_that_were_not_wanted(void **state)
{
	char text[SOCKETS_ADDRESS];
	int pair[2], listener = sockets_listen(&any_port, text);
	int plain = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
	int null = open("/dev/null", O_RDWR);
	int wrong[] = { plain, datagrams, null, -1 };
	uint64_t id;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	greet();
	/* Nobody's, and of a number that was never given. */
	say(TALK_SOCKET, 1, 0, listener);
	say(TALK_SOCKET, UINT64_MAX, INT32_MIN, -1);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct transport_forward *forward = want_listener(&id);

		say(TALK_SOCKET, id, 0, wrong[i]);
		assert_int_equal(told.failed, 1);
		assert_int_equal(told.error, -EPROTO);
		agent_transport.forward_end(forward);
	}
	for (int i = 0; i < 2; i++) {
		struct transport_forward *forward = want_listener(&id);

		say(TALK_SOCKET, id, i ? INT32_MIN : -EADDRINUSE, -1);
		assert_int_equal(told.error, i ? -EPROTO : -EADDRINUSE);
		agent_transport.forward_end(forward);
	}
	/* Too late. */
	agent_transport.forward_end(want_listener(&id));
	say(TALK_SOCKET, id, 0, listener);
	assert_int_equal(told.listening + told.failed, 0);
	assert_int_equal(play.downs, 0);
	close_fds((int[]){ listener, plain, datagrams, null, pair[0], pair[1] }, 6);
}

static void connections_from_the_machine(void **state)
{
	char text[SOCKETS_ADDRESS], byte;
	int listener = sockets_listen(&any_port, text), host[2];
	struct sockets_place place = { .family = FORWARD_IPV4 };
	uint64_t id;

	greet();
	want_listener(&id);
	say(TALK_SOCKET, id, 0, listener);
	say(TALK_SOCKET, id, 0, listener);
	assert_int_equal(told.listening, 1);
	place.port = told.port;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, host), 0);
	told.host = host[0];
	int client = sockets_connect(&place);
	work();
	assert_int_equal(told.dials, 1);
	assert_int_equal(send(client, "x", 1, 0), 1);
	work();
	assert_int_equal(recv(host[1], &byte, 1, MSG_DONTWAIT), 1);
	/* The end of it all takes the connection along. */
	agent_transport.disconnect(play.transport);
	work();
	assert_int_equal(recv(host[1], &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
	close_fds((int[]){ client, host[1], listener }, 3);
}

static void connections_to_the_machine(void **state)
{
	int host[2], machine[2];
	char byte;
	struct sockets_place place = { .family = FORWARD_UNIX, .path = "/x" };

	greet();
	struct transport_forward *forward = agent_transport.forward_reach(play.transport, &place,
		&forward_events, NULL);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, host), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, machine), 0);
		agent_transport.forward_carry(forward, host[0]);
		struct talk_message message = hear(NULL, NULL);
		assert_int_equal(message.type, TALK_CONNECT);
		assert_string_equal(message.place.path, "/x");
		if (i == 2)
			agent_transport.forward_end(forward);
		say(TALK_SOCKET, message.id, i == 1 ? -ENOENT : 0, i == 1 ? -1 : machine[0]);
		close(machine[0]);
		bool carried = send(machine[1], "y", 1, MSG_NOSIGNAL) == 1;
		work();
		assert_int_equal(carried, i == 0);
		assert_int_equal(recv(host[1], &byte, 1, MSG_DONTWAIT), i == 0);
		close(machine[1]);
		work();
		close(host[1]);
	}
}

static void impossible_statuses(void **state)
{
	static const struct {
		int said;
		enum run_state state;
		int status;
	} cases[] = { { 9, RUN_SIGNALED, 137 }, { 126, RUN_SIGNALED, 255 },
		{ INT32_MIN, RUN_EXITED, 0 }, { -1, RUN_SIGNALED, 137 } };
	struct transport_command command = { .text = "x", .size = 1 };

	greet();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t id;
		int fds[4];

		begin(&command, &id, fds);
		close_fds(fds, 4);
		say(TALK_STARTED, id, 0, -1);
		say(TALK_EXITED, id, cases[i].said, -1);
		assert_int_equal(hear(NULL, NULL).type, TALK_RELEASE);
		assert_int_equal(play.ended, i + 1);
		assert_int_equal(play.state, cases[i].state);
		assert_int_equal(play.status, cases[i].status);
	}
}

static void gone_before_it_began(void **state)
{
	struct transport_command command = { .text = "x", .size = 1 };
	uint64_t id;
	int fds[4];

	greet();
	begin(&command, &id, fds);
	say(TALK_GONE, id, 0, -1);
	close_fds(fds, 4);
	assert_int_equal(play.ended, 1);
	assert_int_equal(play.state, RUN_LOST);
}

static void signals_and_stops(void **state)
{
	struct transport_command command = { .text = "x", .size = 1 };
	uint64_t id;
	int fds[4];

	greet();
	struct transport_run *run = begin(&command, &id, fds);
	close_fds(fds, 4);
	agent_transport.run_signal(run, SIGTERM);
	assert_int_equal(hear(NULL, NULL).type, 0);
	say(TALK_STARTED, id, 0, -1);
	struct talk_message message = hear(NULL, NULL);
	assert_int_equal(message.type, TALK_SIGNAL);
	assert_int_equal(message.value, SIGTERM);
	agent_transport.run_await_all(run);
	say(TALK_EXITED, id, SIGTERM, -1);
	assert_int_equal(play.ended, 0);
	say(TALK_GONE, id, 0, -1);
	assert_int_equal(play.ended, 1);
	assert_int_equal(play.status, 143);
	run = begin(&command, &id, fds);
	close_fds(fds, 4);
	agent_transport.run_abandon(run);
	assert_int_equal(play.ended, 1);
	assert_int_equal(hear(NULL, NULL).type, TALK_ABANDON);
	assert_int_equal(play.ended, 2);
	assert_int_equal(play.state, RUN_STOPPED);
}

static void output_waits_for_room(void **state)
{
	struct transport_command command = { .text = "x", .size = 1 };
	uint64_t id;
	int fds[4];

	greet();
	struct transport_run *run = begin(&command, &id, fds);
	say(TALK_STARTED, id, 0, -1);
	play.room = 0;
	assert_int_equal(write(fds[2], "abcdef", 6), 6);
	close_fds(fds, 4);
	say(TALK_EXITED, id, 0, -1);
	say(TALK_GONE, id, 0, -1);
	assert_int_equal(play.output.size, 0);
	assert_int_equal(play.ended, 0);
	play.room = 4;
	agent_transport.run_more(run);
	work();
	assert_memory_equal(play.output.data, "abcdef", 6);
	assert_int_equal(play.ended, 1);
}

static void input(void **state)
{
	struct transport_command command = { .text = "x", .size = 1, .input = true };
	static char bytes[300000];
	size_t got = 0, taken;
	uint64_t id;
	int fds[4];

	greet();
	struct transport_run *run = begin(&command, &id, fds);
	taken = agent_transport.run_input(run, bytes, sizeof(bytes));
	assert_true(taken > 0 && taken < sizeof(bytes));
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	for (ssize_t size = 1; size > 0 || got < taken; got += size > 0 ? (size_t)size : 0) {
		work();
		size = read(fds[1], bytes, sizeof(bytes));
	}
	assert_int_equal(got, taken);
	assert_true(play.drained > 0);
	agent_transport.run_eof(run);
	work();
	assert_int_equal(read(fds[1], bytes, 1), 0);
	assert_int_equal(agent_transport.run_input(run, bytes, 1), 0);
	close_fds(fds, 4);
}

/* What is sent in a terminal's place could make reads wait. */
static void a_terminal_that_is_none(void **state)
{
	struct transport_command command = { .text = "x", .size = 1, .columns = 80, .rows = 24 };
	uint64_t id;
	int fds[4], ends[2];

	greet();
	begin(&command, &id, fds);
	close(fds[0]);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "no", 2), 2);
	say(TALK_STARTED, id, 0, ends[0]);
	say(TALK_EXITED, id, 0, -1);
	assert_int_equal(play.output.size, 0);
	assert_int_equal(play.ended, 1);
	close_fds(ends, 2);
}

static void the_agent_goes(void **state)
{
	struct file_request request = { .op = FILE_GETATTR };
	struct file_call call = { &request, "", "", NULL };
	struct transport_command command = { .text = "x", .size = 1 };
	uint64_t id;
	int fds[4];

	greet();
	begin(&command, &id, fds);
	close_fds(fds, 4);
	agent_transport.file(play.transport, 1, &call, on_answer, NULL);
	shutdown(play.agent, SHUT_RDWR);
	work();
	assert_int_equal(play.ended, 1);
	assert_int_equal(play.state, RUN_LOST);
	assert_int_equal(play.answers, 1);
	assert_int_equal(play.error, -EHOSTDOWN);
	assert_int_equal(play.downs, 1);
}

static void malformed_answers(void **state)
{
	struct file_request request = { .op = FILE_GETATTR };
	struct file_call call = { &request, "", "", NULL };
	struct frame_header header = { .type = FRAME_FILE_REPLY, .id = 999 };

	greet();
	agent_transport.file(play.transport, 1, &call, on_answer, NULL);
	assert_int_equal(write(play.files, &header, sizeof(header)), sizeof(header));
	work();
	assert_int_equal(play.answers, 1);
	assert_int_equal(play.error, -EIO);
	assert_int_equal(play.downs, 0);
}

/* A cancelled open that succeeds all the same is closed. */
static void cancelled_opens(void **state)
{
	struct file_request request = { .op = FILE_OPEN, .path_size = 1 };
	struct file_call call = { &request, "x", "", NULL };
	struct {
		struct frame_header header;
		struct file_request request;
		char rest[64];
	} asked;
	struct {
		struct frame_header header;
		struct file_reply reply;
	} said = { .header = { .type = FRAME_FILE_REPLY, .size = sizeof(said.reply) } };

	greet();
	agent_transport.file(play.transport, 5, &call, on_answer, NULL);
	assert_true(read(play.files, &asked, sizeof(asked)) > 0);
	agent_transport.file_cancel(play.transport, 5);
	said.header.id = asked.header.id;
	said.reply.handle = 12345;
	said.reply.attr = (struct file_attr){ .valid = 15, .mode = S_IFREG };
	assert_int_equal(write(play.files, &said, sizeof(said)), sizeof(said));
	work();
	uint64_t handle = asked.request.handle;
	assert_true(read(play.files, &asked, sizeof(asked)) > 0);
	assert_int_equal(asked.request.op, FILE_CLOSE);
	assert_int_equal(asked.request.handle, handle);
	assert_int_equal(play.answers, 0);
}

static void on_wake(void *data) { }

/* A request that is not answered in time fails, and later ones do not wait behind it. */
static void silence(void **state)
{
	struct client client = { .loop = &play.loop, .root = "/", .wake = on_wake, .log = on_log };
	struct file_request request = { .op = FILE_GETATTR };
	struct file_call call = { &request, "", "", NULL };
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	client_init(&client);
	client_connect(&client, ends[0]);
	client_file(&client, 1, &call, on_answer, NULL);
	assert_false(client_clock(&client));
	client.limit = 0;
	assert_true(client_clock(&client));
	client_turn(&client);
	assert_int_equal(play.answers, 1);
	assert_int_equal(play.error, -ETIMEDOUT);
	client_file(&client, 2, &call, on_answer, NULL);
	client_turn(&client);
	assert_int_equal(play.error, -EIO);
	client_done(&client);
	close(ends[1]);
}

/* Lets so many milliseconds pass by the loop's clock. */
static void pass(uint64_t milliseconds)
{
	uint64_t end = uv_now(&play.loop) + milliseconds;

	while (uv_now(&play.loop) < end)
		uv_run(&play.loop, UV_RUN_NOWAIT);
}

/* One after the other is answered: how long the last one waits in all is not the agent's silence. */
static void a_long_queue(void **state)
{
	struct client client = { .loop = &play.loop, .root = "/", .wake = on_wake, .log = on_log };
	struct file_request request = { .op = FILE_UNLINK, .path_size = 1 };
	struct file_call call = { &request, "x", "", NULL };
	struct {
		struct frame_header header;
		struct file_reply reply;
	} said = { .header = { .type = FRAME_FILE_REPLY, .size = sizeof(said.reply), .id = 1 } };
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	client_init(&client);
	client_connect(&client, ends[0]);
	client_file(&client, 1, &call, on_answer, NULL);
	client_file(&client, 2, &call, on_answer, NULL);
	client.limit = 20;
	pass(25);
	assert_int_equal(write(ends[1], &said, sizeof(said)), sizeof(said));
	while (!play.answers)
		uv_run(&play.loop, UV_RUN_NOWAIT);
	assert_false(client_clock(&client));
	pass(25);
	assert_true(client_clock(&client));
	client_done(&client);
	close(ends[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(other_versions_are_refused),
		TEST(nonsense_ends_the_connection),
		TEST(other_sizes_end_the_connection),
		TEST(files_that_are_no_socket),
		TEST(a_command),
		TEST(impossible_statuses),
		TEST(sockets_that_were_not_wanted),
		TEST(connections_from_the_machine),
		TEST(connections_to_the_machine),
		TEST(gone_before_it_began),
		TEST(signals_and_stops),
		TEST(output_waits_for_room),
		TEST(input),
		TEST(a_terminal_that_is_none),
		TEST(the_agent_goes),
		TEST(malformed_answers),
		TEST(cancelled_opens),
		TEST(silence),
		TEST(a_long_queue),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
