/* SPDX-License-Identifier: MIT */
/*
 * How long a command takes through the transport, through libssh2 alone and through
 * ssh(1) with a shared connection; and how fast a large file comes and goes.
 * Not a test: prints numbers. `bench_ssh [ROUNDS]`, an optimised build without sanitizers.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <libssh2.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/ssh/harness.h"

#define FILE_SIZE (256u * 1048576u)
#define AT_ONCE	  8u

static unsigned rounds = 200;

/* For qsort. */
static int compare(const void *one, const void *two)
{
	double difference = *(const double *)one - *(const double *)two;

	return (difference > 0) - (difference < 0);
}

/* Milliseconds. */
static double now(void)
{
	return (double)uv_hrtime() / 1e6;
}

/* Prints a row. */
static void report(const char *what, double *times)
{
	qsort(times, rounds, sizeof(*times), compare);
	printf("%-28s median %6.2f ms, fastest tenth %6.2f, slowest tenth %6.2f\n", what,
		times[rounds / 2], times[rounds / 10], times[rounds - 1 - rounds / 10]);
}

/* Through the transport. */
static void bench_transport(struct fixture *fixture, double *times)
{
	struct result result = { 0 };

	for (unsigned i = 0; i < rounds; i++) {
		double start = now();

		run(fixture, "true", &result);
		times[i] = now() - start;
		result_done(&result);
	}
	report("transport", times);
}

/* A blocking session with libssh2. */
static LIBSSH2_SESSION *log_in(struct fixture *fixture, int *fd)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)fixture->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	LIBSSH2_SESSION *session = libssh2_session_init();
	char key[128];
	int one = 1;

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	snprintf(key, sizeof(key), "%s/id", fixture->directory);
	if (connect(*fd, (struct sockaddr *)&address, sizeof(address)) ||
		libssh2_session_handshake(session, *fd) ||
		libssh2_userauth_publickey_fromfile(session,
			poolfs_string(fixture->values, "ssh_user"), NULL, key, NULL))
		abort();
	return session;
}

/* Through libssh2: open, exec, read to the end, close. */
static void bench_library(struct fixture *fixture, double *times)
{
	int fd;
	LIBSSH2_SESSION *session = log_in(fixture, &fd);
	char byte;

	for (unsigned i = 0; i < rounds; i++) {
		double start = now();
		LIBSSH2_CHANNEL *channel = libssh2_channel_open_session(session);

		libssh2_channel_exec(channel, "true");
		while (libssh2_channel_read(channel, &byte, 1) > 0)
			;
		libssh2_channel_close(channel);
		libssh2_channel_get_exit_status(channel);
		libssh2_channel_free(channel);
		times[i] = now() - start;
	}
	report("libssh2, blocking", times);
	libssh2_session_disconnect(session, "");
	libssh2_session_free(session);
	close(fd);
}

/* Through ssh(1), whose master is running. */
static void bench_program(struct fixture *fixture, double *times)
{
	char options[512], command[700];

	snprintf(options, sizeof(options), "-F none -i %s/id -o UserKnownHostsFile=%s "
		"-o ControlPath=%s/control -p %d %s@127.0.0.1", fixture->directory,
		fixture->known_hosts, fixture->directory, fixture->port,
		poolfs_string(fixture->values, "ssh_user"));
	snprintf(command, sizeof(command), "ssh -o ControlMaster=yes -o ControlPersist=60 -fN %s",
		options);
	if (system(command))
		abort();
	snprintf(command, sizeof(command), "exec ssh %s true", options);
	for (unsigned i = 0; i < rounds; i++) {
		double start = now();

		if (system(command))
			abort();
		times[i] = now() - start;
	}
	report("ssh with ControlMaster", times);
	snprintf(command, sizeof(command), "ssh -O exit %s 2>/dev/null", options);
	if (system(command))
		abort();
}

/* Whether all answers are there. */
static bool all_done(void *data)
{
	struct answer *answers = data;

	for (unsigned i = 0; i < AT_ONCE; i++)
		if (!answers[i].done)
			return false;
	return true;
}

/* A large file, in requests of one MiB, several at once. */
static void bench_file(struct fixture *fixture, enum file_op op)
{
	char *data = calloc(1, FILES_DATA_MAX);
	struct answer answers[AT_ONCE];
	uint64_t handle;
	double start = now();

	if (ask_open(fixture, "large", op == FILE_WRITE ? O_RDWR | O_CREAT : O_RDONLY, &handle))
		abort();
	for (uint64_t offset = 0; offset < FILE_SIZE;) {
		for (unsigned i = 0; i < AT_ONCE; i++, offset += FILES_DATA_MAX) {
			struct file_request request = { .op = op, .handle = handle,
				.offset = offset, .length = FILES_DATA_MAX,
				.data_size = op == FILE_WRITE ? FILES_DATA_MAX : 0 };

			ask_start(fixture, &request, NULL, NULL, data, &answers[i]);
		}
		await_that(fixture, all_done, answers);
		for (unsigned i = 0; i < AT_ONCE; i++)
			answer_done(&answers[i]);
	}
	ask_handle(fixture, FILE_CLOSE, handle, &answers[0]);
	printf("%-28s %6.0f MiB/s\n", op == FILE_WRITE ? "write 256 MiB" : "read 256 MiB",
		FILE_SIZE / 1048576.0 / ((now() - start) / 1000));
	free(data);
}

int main(int argc, char **argv)
{
	struct fixture fixture;

	if (argc > 1)
		rounds = (unsigned)atoi(argv[1]);
	double *times = calloc(rounds, sizeof(*times));

	fixture_open(&fixture, NULL, NULL);
	bench_transport(&fixture, times);
	bench_library(&fixture, times);
	bench_program(&fixture, times);
	bench_file(&fixture, FILE_WRITE);
	bench_file(&fixture, FILE_READ);
	fixture_close(&fixture);
	free(times);
	return 0;
}
