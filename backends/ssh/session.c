/* SPDX-License-Identifier: MIT */
#include "backends/ssh/session.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "backends/base/text.h"
#include "backends/ssh/bounds.h"
#ifdef QUICK_CIPHER
#include "backends/ssh/cipher.h"
#endif

/* Asks for a turn. */
void session_wake(struct session *session)
{
	session->wake(session->data);
}

/* Passes a message on. */
void session_log(struct session *session, const char *format, ...)
{
	char message[512];
	va_list args;

	if (session->muted)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	session->log(session->data, message);
}

/* Sets a number. */
void session_count(struct session *session, const char *key, uint64_t number)
{
	char value[24];

	if (session->muted)
		return;
	snprintf(value, sizeof(value), "%llu", (unsigned long long)number);
	session->status(session->data, key, value);
}

/* Notes the end. */
void session_lose(struct session *session, bool fatal, const char *format, ...)
{
	va_list args;

	if (session->lost)
		return;
	session->lost = true;
	session->fatal = fatal;
	if (!session->error)
		session->error = -EHOSTDOWN;
	va_start(args, format);
	vsnprintf(session->reason, sizeof(session->reason), format, args);
	va_end(args);
	/* What follows from the end of the wire is no reason of its own. */
	if (*session->ended && !fatal)
		snprintf(session->reason, sizeof(session->reason), "%s", session->ended);
	session_wake(session);
}

/*
 * libssh2 talks to the agent through the same callbacks, on the agent's own socket, and
 * blocks on it. This bounds each wait. Another thread is no way out, as it must not use
 * the session; the agent is a local process that answers at once, unless it asks its user
 * to confirm a key.
 */
static int agent_wait(libssh2_socket_t fd, short events)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	int count;

	do
		count = poll(&poll_fd, 1, LIMIT_AGENT);
	while (count < 0 && errno == EINTR);
	return count > 0 ? 0 : count ? -errno : -ETIMEDOUT;
}

/* libssh2 wants to send: all is taken, see wire.h. */
static ssize_t callback_send(libssh2_socket_t fd, const void *data, size_t size, int flags,
	void **abstract)
{
	struct session *session = *abstract;

	if (fd != session->fd) {
		int error = agent_wait(fd, POLLOUT);
		ssize_t sent = error ? error : send(fd, data, size, flags | MSG_NOSIGNAL);

		return sent < 0 && !error ? -errno : sent;
	}
	wire_send(session->wire, data, size);
	return (ssize_t)size;
}

/* libssh2 wants to receive. After the loss nothing is left to wait for, so that freeing a session
 * with open channels ends at once. */
static ssize_t callback_receive(libssh2_socket_t fd, void *data, size_t size, int flags,
	void **abstract)
{
	struct session *session = *abstract;

	if (fd != session->fd) {
		int error = agent_wait(fd, POLLIN);
		ssize_t got = error ? error : recv(fd, data, size, flags);

		return got < 0 && !error ? -errno : got;
	}
	return session->lost ? -ECONNRESET : wire_receive(session->wire, data, size);
}

/* Puts our own input and output under libssh2. */
static void set_callbacks(LIBSSH2_SESSION *ssh)
{
#if LIBSSH2_VERSION_NUM >= 0x010b01
	libssh2_session_callback_set2(ssh, LIBSSH2_CALLBACK_SEND,
		(libssh2_cb_generic *)callback_send);
	libssh2_session_callback_set2(ssh, LIBSSH2_CALLBACK_RECV,
		(libssh2_cb_generic *)callback_receive);
#else
	/* The old interface takes functions as object pointers, which POSIX allows. */
	union {
		ssize_t (*send)(libssh2_socket_t, const void *, size_t, int, void **);
		ssize_t (*receive)(libssh2_socket_t, void *, size_t, int, void **);
		void *pointer;
	} cast;

	cast.send = callback_send;
	libssh2_session_callback_set(ssh, LIBSSH2_CALLBACK_SEND, cast.pointer);
	cast.receive = callback_receive;
	libssh2_session_callback_set(ssh, LIBSSH2_CALLBACK_RECV, cast.pointer);
#endif
}

/* Whether name (length bytes) is one of the names. */
static bool among(const char **names, int count, const char *name, size_t length)
{
	for (int i = 0; i < count; i++)
		if (strlen(names[i]) == length && !memcmp(names[i], name, length))
			return true;
	return false;
}

/* libssh2 passes over what it does not know, but 1.10 moves the rest with memcpy over itself: so
 * what it does not know is left out here. */
void session_prefer(struct session *session, int method, const char *names)
{
	const char **known = NULL;
	struct text list = { 0 };
	int count = libssh2_session_supported_algs(session->ssh, method, &known);

	while (*names) {
		size_t length = strcspn(names, ",");

		if (count > 0 && among(known, count, names, length)) {
			text_append(&list, ",", list.size != 0);
			text_append(&list, names, length);
		}
		names += length + (names[length] == ',');
	}
	if (list.size)
		libssh2_session_method_pref(session->ssh, method, list.data);
	if (count > 0)
		libssh2_free(session->ssh, known);
	text_done(&list);
}

/* Ciphers that cost least first: libssh2 may not know all of them. */
static void prefer_fast(struct session *session)
{
#ifdef QUICK_CIPHER
	static const char ciphers[] = "aes128-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
				      "aes192-ctr,aes256-ctr";
#else
	static const char ciphers[] = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,"
				      "aes192-ctr,aes256-ctr";
#endif
	static const char macs[] = "hmac-sha2-256-etm@openssh.com,hmac-sha2-256,"
				   "hmac-sha2-512-etm@openssh.com,hmac-sha2-512,hmac-sha1";

	session_prefer(session, LIBSSH2_METHOD_CRYPT_CS, ciphers);
	session_prefer(session, LIBSSH2_METHOD_CRYPT_SC, ciphers);
	session_prefer(session, LIBSSH2_METHOD_MAC_CS, macs);
	session_prefer(session, LIBSSH2_METHOD_MAC_SC, macs);
}

/* libssh2 keeps whatever a server sends and nobody asks for: what it allocates is counted. */
static void *count_realloc(void *old, size_t size, void **abstract)
{
	struct session *session = *abstract;
	size_t before = malloc_usable_size(old);

	if (session->memory - before + size > LIMIT_MEMORY) {
		session_lose(session, false, "the server sent more than is kept of what waits");
		return NULL;
	}
	void *new = realloc(old, size);
	if (new)
		session->memory += malloc_usable_size(new) - before;
	return new;
}

/* libssh2 allocates. */
static void *count_alloc(size_t size, void **abstract)
{
	return count_realloc(NULL, size, abstract);
}

/* libssh2 frees. */
static void count_free(void *old, void **abstract)
{
	struct session *session = *abstract;

	session->memory -= malloc_usable_size(old);
	free(old);
}

/* Makes the session. */
int session_begin(struct session *session)
{
	session->memory = 0;
	session->unclear = false;
	session->ssh = libssh2_session_init_ex(count_alloc, count_free, count_realloc, session);
	if (!session->ssh)
		return -ENOMEM;
#ifdef QUICK_CIPHER
	/* Where it cannot be, all is well but slow. */
	cipher_install();
#endif
	session->fd = wire_fd(session->wire);
	libssh2_session_set_blocking(session->ssh, 0);
	set_callbacks(session->ssh);
	prefer_fast(session);
	/* The transport decides when to send one; libssh2 then waits 2 seconds at least. */
	libssh2_keepalive_config(session->ssh, 1, 2);
	return 0;
}

/* Says good-bye and frees. */
void session_end(struct session *session)
{
	session->lost = true;
	if (session->ssh) {
		libssh2_session_disconnect(session->ssh, "closed");
		if (session->wire)
			wire_flush(session->wire);
		/* Nothing can be waited for any more; the bound is against libssh2's own faults. */
		for (int i = 0; i < 1000; i++)
			if (libssh2_session_free(session->ssh) != LIBSSH2_ERROR_EAGAIN)
				break;
		session->ssh = NULL;
	}
	wire_free(session->wire);
	session->wire = NULL;
}

/* The last error as text. */
const char *session_error(struct session *session)
{
	char *text = NULL;

	libssh2_session_last_error(session->ssh, &text, NULL, 0);
	return text && *text ? text : "unknown error";
}

/* Sorts a result. */
int session_result(struct session *session, long result)
{
	switch (result) {
	case LIBSSH2_ERROR_EAGAIN:
		return -EAGAIN;
	case LIBSSH2_ERROR_CHANNEL_FAILURE:
	case LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED:
	case LIBSSH2_ERROR_CHANNEL_UNKNOWN:
	case LIBSSH2_ERROR_CHANNEL_CLOSED:
	case LIBSSH2_ERROR_CHANNEL_EOF_SENT:
		return -EIO;
	default:
		break;
	}
	if (result >= 0)
		return result > INT_MAX ? INT_MAX : (int)result;
	session_lose(session, false, "the connection broke: %s (%ld)", session_error(session),
		result);
	return -ECONNRESET;
}
