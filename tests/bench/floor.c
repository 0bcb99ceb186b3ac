/* SPDX-License-Identifier: MIT */
/*
 * What a command or a forward over SSH costs at least: libssh2 alone, blocking, on a session that is
 * open already. No daemon, no FUSE. It has the cipher of poolfs, and asks for the same methods.
 *
 *   floor PORT USER KEYFILE
 *
 * Logs in at 127.0.0.1, and does what each line on standard input says:
 *
 *   run COMMAND      opens a channel, executes, reads to the end, closes
 *   take PORT SIZE   connects to a port of the server's host, the one of forward.py, and reads
 *   give PORT SIZE   the same, and writes
 *
 * and prints the milliseconds that it took; what is read is dropped.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <libssh2.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef QUICK_CIPHER
#include "backends/ssh/cipher.h"
#endif

/* A packet, and what a command may send ahead, in bytes. */
#define PACKET 32768
#define WINDOW (2 << 20)

/* Milliseconds of the monotonic clock. */
static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* Ends the program where a step failed. */
static void need(int succeeded, const char *step)
{
	if (succeeded)
		return;
	fprintf(stderr, "floor: %s failed\n", step);
	exit(1);
}

/* Connects and logs in. */
static LIBSSH2_SESSION *log_in(int port, const char *user, const char *key)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	LIBSSH2_SESSION *session = libssh2_session_init();

	need(fd >= 0 && session, "set-up");
#ifdef QUICK_CIPHER
	cipher_install();
#endif
	libssh2_session_method_pref(session, LIBSSH2_METHOD_CRYPT_CS, "aes128-ctr");
	libssh2_session_method_pref(session, LIBSSH2_METHOD_CRYPT_SC, "aes128-ctr");
	libssh2_session_method_pref(session, LIBSSH2_METHOD_MAC_CS, "hmac-sha2-256");
	libssh2_session_method_pref(session, LIBSSH2_METHOD_MAC_SC, "hmac-sha2-256");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	need(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
	need(libssh2_session_handshake(session, fd) == 0, "handshake");
	need(libssh2_userauth_publickey_fromfile(session, user, NULL, key, NULL) == 0, "login");
	return session;
}

static char buffer[WINDOW / 8];

/* One command. */
static void run(LIBSSH2_SESSION *session, const char *command)
{
	LIBSSH2_CHANNEL *channel = libssh2_channel_open_ex(session, "session", 7, WINDOW, PACKET, NULL, 0);

	need(channel != NULL, "channel");
	need(libssh2_channel_exec(channel, command) == 0, "exec");
	while (libssh2_channel_read(channel, buffer, sizeof(buffer)) > 0)
		;
	libssh2_channel_close(channel);
	need(libssh2_channel_get_exit_status(channel) == 0, "the command");
	libssh2_channel_free(channel);
}

/* Writes all of size bytes, which are any. */
static void put(LIBSSH2_CHANNEL *channel, uint64_t size)
{
	while (size) {
		ssize_t done = libssh2_channel_write(channel, buffer, size < sizeof(buffer) ? size : sizeof(buffer));

		need(done > 0, "write");
		size -= (uint64_t)done;
	}
}

/* Reads size bytes. */
static void get(LIBSSH2_CHANNEL *channel, uint64_t size)
{
	while (size) {
		ssize_t done = libssh2_channel_read(channel, buffer, size < sizeof(buffer) ? size : sizeof(buffer));

		need(done > 0, "read");
		size -= (uint64_t)done;
	}
}

/* One connection: 8 bytes say how many shall come; none: those that we send are counted. */
static void carry(LIBSSH2_SESSION *session, int port, uint64_t take, uint64_t give)
{
	LIBSSH2_CHANNEL *channel = libssh2_channel_direct_tcpip(session, "127.0.0.1", port);

	need(channel != NULL, "forward");
	need(libssh2_channel_write(channel, (const char *)&take, sizeof(take)) == sizeof(take), "question");
	put(channel, give);
	libssh2_channel_send_eof(channel);
	get(channel, take ? take : sizeof(take));
	libssh2_channel_free(channel);
}

/* Does what a line says. */
static void obey(LIBSSH2_SESSION *session, const char *line)
{
	uint64_t size;
	int port;

	if (strncmp(line, "run ", 4) == 0)
		run(session, line + 4);
	else if (sscanf(line, "take %d %" SCNu64, &port, &size) == 2)
		carry(session, port, size, 0);
	else if (sscanf(line, "give %d %" SCNu64, &port, &size) == 2)
		carry(session, port, 0, size);
	else
		need(0, line);
}

int main(int argc, char **argv)
{
	char line[4096];

	need(argc == 4, "floor PORT USER KEYFILE: the command line");
	LIBSSH2_SESSION *session = log_in(atoi(argv[1]), argv[2], argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		double start = now();

		line[strcspn(line, "\n")] = '\0';
		obey(session, line);
		printf("%.3f\n", now() - start);
	}
	libssh2_session_disconnect(session, "");
	libssh2_session_free(session);
	return 0;
}
