/* SPDX-License-Identifier: MIT */
#include "backends/ssh/hostkey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/backend.h"
#include "backends/base/regular.h"

/* libssh2's numbers of a type of key in known_hosts and of a server's, and the methods that prove
 * such a key. */
static const struct {
	int mask, server;
	const char *methods;
} types[] = {
	{ LIBSSH2_KNOWNHOST_KEY_ED25519, LIBSSH2_HOSTKEY_TYPE_ED25519, "ssh-ed25519" },
	{ LIBSSH2_KNOWNHOST_KEY_ECDSA_256, LIBSSH2_HOSTKEY_TYPE_ECDSA_256, "ecdsa-sha2-nistp256" },
	{ LIBSSH2_KNOWNHOST_KEY_ECDSA_384, LIBSSH2_HOSTKEY_TYPE_ECDSA_384, "ecdsa-sha2-nistp384" },
	{ LIBSSH2_KNOWNHOST_KEY_ECDSA_521, LIBSSH2_HOSTKEY_TYPE_ECDSA_521, "ecdsa-sha2-nistp521" },
	{ LIBSSH2_KNOWNHOST_KEY_SSHRSA, LIBSSH2_HOSTKEY_TYPE_RSA,
		"rsa-sha2-512,rsa-sha2-256,ssh-rsa" },
};

#define TYPES (sizeof(types) / sizeof(*types))

/*
 * Reads a known_hosts file into two collections: keys, and revoked ones. Line by line, as
 * libssh2 gives a whole file up at the first line that it does not understand. Certificate
 * authorities are not supported by it. may_lack: without the file, nothing is known.
 */
static int read_file(const char *path, bool may_lack, LIBSSH2_KNOWNHOSTS *known,
	LIBSSH2_KNOWNHOSTS *revoked, struct poolfs_err *err)
{
	static const char revocation[] = "@revoked ";
	char *line = NULL;
	size_t capacity = 0;
	ssize_t size;
	int fd = regular_open(path, O_RDONLY, err);

	if (fd < 0)
		return fd == -ENOENT && may_lack ? 0 : fd;
	FILE *file = fdopen(fd, "r");
	if (!file)
		abort();
	while ((size = getline(&line, &capacity, file)) > 0) {
		LIBSSH2_KNOWNHOSTS *hosts = known;
		size_t skip = 0;

		if (!strncmp(line, revocation, strlen(revocation))) {
			hosts = revoked;
			skip = strlen(revocation);
		}
		if (line[skip] != '@')
			libssh2_knownhost_readline(hosts, line + skip, (size_t)size - skip,
				LIBSSH2_KNOWNHOST_FILE_OPENSSH);
	}
	free(line);
	fclose(file);
	return 0;
}

/* Looks a key up: one of LIBSSH2_KNOWNHOST_CHECK_... */
static int look_up(const struct hostkey *hostkey, LIBSSH2_KNOWNHOSTS *hosts, const struct text *key,
	int mask)
{
	return libssh2_knownhost_checkp(hosts, hostkey->host, hostkey->port, key->data, key->size,
		LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | mask, NULL);
}

/* Loads the file and calls look; the collections live during that call. */
static int with_file(struct hostkey *hostkey, struct session *session,
	int (*look)(struct hostkey *, struct session *, LIBSSH2_KNOWNHOSTS *, LIBSSH2_KNOWNHOSTS *))
{
	LIBSSH2_KNOWNHOSTS *known = libssh2_knownhost_init(session->ssh);
	LIBSSH2_KNOWNHOSTS *revoked = libssh2_knownhost_init(session->ssh);
	struct poolfs_err err = { "out of memory" };
	int result = -ENOMEM;

	if (known && revoked)
		result = read_file(hostkey->known_hosts, hostkey->accept_new, known, revoked, &err);
	if (result < 0)
		session_lose(session, result != -ENOMEM, "cannot read %s", err.text);
	else
		result = look(hostkey, session, known, revoked);
	if (known)
		libssh2_knownhost_free(known);
	if (revoked)
		libssh2_knownhost_free(revoked);
	return result;
}

/* Whether the collection has a key of that type (-1: of any) for the host: one that nobody has tells by
 * MISMATCH that there is another. */
static bool is_listed(const struct hostkey *hostkey, LIBSSH2_KNOWNHOSTS *known, int type)
{
	struct text none = { .data = (char *)"none", .size = 4 };

	for (size_t i = 0; i < TYPES; i++)
		if ((type < 0 || i == (size_t)type) &&
			look_up(hostkey, known, &none, types[i].mask) ==
				LIBSSH2_KNOWNHOST_CHECK_MISMATCH)
			return true;
	return false;
}

/* Sets the order of host key methods: those of known types first. */
static int prefer_known(struct hostkey *hostkey, struct session *session,
	LIBSSH2_KNOWNHOSTS *known, LIBSSH2_KNOWNHOSTS *revoked)
{
	struct text order = { 0 };

	for (int want = 1; want >= 0; want--)
		for (size_t i = 0; i < TYPES; i++)
			if (is_listed(hostkey, known, (int)i) == (bool)want)
				text_printf(
					&order, "%s%s", order.size ? "," : "", types[i].methods);
	session_prefer(session, LIBSSH2_METHOD_HOSTKEY, order.data);
	text_done(&order);
	return 0;
}

/* The type of the pinned key, its first string, goes first: a server with several keys must show
 * the same one again. */
static void prefer_pinned(struct hostkey *hostkey, struct session *session)
{
	struct text order = { 0 };

	for (int want = 1; want >= 0; want--) {
		for (size_t i = 0; i < TYPES; i++) {
			const char *name = strrchr(types[i].methods, ',');

			name = name ? name + 1 : types[i].methods;
			bool is = hostkey->pinned.size > 4 + strlen(name) &&
				  !memcmp(hostkey->pinned.data + 4, name, strlen(name));

			if (is == (bool)want)
				text_printf(
					&order, "%s%s", order.size ? "," : "", types[i].methods);
		}
	}
	session_prefer(session, LIBSSH2_METHOD_HOSTKEY, order.data);
	text_done(&order);
}

/* Chooses the methods. */
int hostkey_prepare(struct hostkey *hostkey, struct session *session)
{
	if (hostkey->known_hosts)
		return with_file(hostkey, session, prefer_known);
	if (hostkey->pinned.size)
		prefer_pinned(hostkey, session);
	return 0;
}

/* The server's key; points into the session. */
static struct text server_key(struct session *session)
{
	struct text key = { 0 };
	int type;

	key.data = (char *)libssh2_session_hostkey(session->ssh, &key.size, &type);
	if (!key.data)
		key.size = 0;
	return key;
}

/* The host as the file names it: with its port, where that is not SSH's own. */
static void file_name(const struct hostkey *hostkey, char *name, size_t size)
{
	snprintf(name, size, hostkey->port == 22 ? "%s" : "[%s]:%u", hostkey->host, hostkey->port);
}

/* The line of the file for the server's key, with its newline, in `line`. 0 or a negative errno. */
static int make_line(const struct hostkey *hostkey, struct session *session,
	LIBSSH2_KNOWNHOSTS *known, struct text *line)
{
	struct libssh2_knownhost *entry = NULL;
	struct text key = { 0 };
	int type = 0, mask = 0;
	char name[300], buffer[4096];
	size_t size = 0;

	key.data = (char *)libssh2_session_hostkey(session->ssh, &key.size, &type);
	for (size_t i = 0; i < TYPES; i++)
		if (types[i].server == type)
			mask = types[i].mask;
	file_name(hostkey, name, sizeof(name));
	if (!mask || !key.data ||
		libssh2_knownhost_addc(known, name, NULL, key.data, key.size, NULL, 0,
			LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | mask, &entry) ||
		libssh2_knownhost_writeline(known, entry, buffer, sizeof(buffer), &size,
			LIBSSH2_KNOWNHOST_FILE_OPENSSH))
		return -EINVAL;
	text_append(line, buffer, size);
	return 0;
}

/* Adds a line to the file, in one write, so that others may add theirs at the same time. */
static int add_line(const char *path, const struct text *line)
{
	struct text whole = { 0 };
	char last = '\n';
	int fd = regular_open(path, O_RDWR | O_CREAT | O_APPEND, NULL);

	if (fd < 0)
		return fd;
	off_t end = lseek(fd, 0, SEEK_END);
	if (end > 0 && pread(fd, &last, 1, end - 1) < 1)
		last = '\n';
	text_append(&whole, "\n", last != '\n');
	text_append(&whole, line->data, line->size);
	ssize_t count = write(fd, whole.data, whole.size);
	int result = count < 0 ? -errno : (size_t)count < whole.size ? -ENOSPC : 0;
	text_done(&whole);
	close(fd);
	return result;
}

/* The file has no key of the host: takes the server's where that is the rule. */
static int check_new(struct hostkey *hostkey, struct session *session, LIBSSH2_KNOWNHOSTS *known)
{
	struct text line = { 0 };
	int result = make_line(hostkey, session, known, &line);
	size_t size = line.size && line.data[line.size - 1] == '\n' ? line.size - 1 : line.size;

	if (result == 0 && hostkey->accept_new)
		result = add_line(hostkey->known_hosts, &line);
	if (result == 0 && hostkey->accept_new)
		session_log(session, "the host key of %s port %u is new, and added to %s",
			hostkey->host, hostkey->port, hostkey->known_hosts);
	else if (result == 0)
		session_lose(session, true, "the host key of %s port %u is not in %s: compare what "
			"ssh-keyscan -p %u %s prints with the machine's own, and add it; or set "
			"host_key = accept-new. The key that was shown is: %.*s", hostkey->host,
			hostkey->port, hostkey->known_hosts, hostkey->port, hostkey->host, (int)size,
			line.data);
	else
		session_lose(session, true, "the host key of %s port %u is not in %s, and cannot be "
			"added: %s", hostkey->host, hostkey->port, hostkey->known_hosts,
			strerror(-result));
	text_done(&line);
	return session->lost ? -EACCES : 0;
}

/* Compares the server's key with the file. */
static int check_known(struct hostkey *hostkey, struct session *session,
	LIBSSH2_KNOWNHOSTS *known, LIBSSH2_KNOWNHOSTS *revoked)
{
	struct text key = server_key(session);
	char name[300];

	if (look_up(hostkey, revoked, &key, 0) == LIBSSH2_KNOWNHOST_CHECK_MATCH) {
		session_lose(session, true, "the host key of %s is revoked in %s", hostkey->host,
			hostkey->known_hosts);
		return -EACCES;
	}
	if (look_up(hostkey, known, &key, 0) == LIBSSH2_KNOWNHOST_CHECK_MATCH)
		return 0;
	if (!is_listed(hostkey, known, -1))
		return check_new(hostkey, session, known);
	file_name(hostkey, name, sizeof(name));
	session_lose(session, true,
		"the host key of %s port %u is not the one in %s: another machine answers, or it was "
		"installed anew; only then, ssh-keygen -f %s -R '%s' forgets the old one",
		hostkey->host, hostkey->port, hostkey->known_hosts, hostkey->known_hosts, name);
	return -EACCES;
}

/* Compares the server's key with what is known. */
int hostkey_check(struct hostkey *hostkey, struct session *session)
{
	struct text key = server_key(session);

	if (!key.size) {
		session_lose(session, false, "the server showed no host key");
		return -EACCES;
	}
	if (hostkey->known_hosts)
		return with_file(hostkey, session, check_known);
	if (!hostkey->pinned.size || (hostkey->pinned.size == key.size &&
					     !memcmp(hostkey->pinned.data, key.data, key.size)))
		return 0;
	session_lose(session, true,
		"the host key of %s port %u changed since the first connection: another machine "
		"answers",
		hostkey->host, hostkey->port);
	return -EACCES;
}

/* Pins the server's key. */
void hostkey_pin(struct hostkey *hostkey, struct session *session)
{
	struct text key = server_key(session);

	if (!hostkey->known_hosts && !hostkey->pinned.size)
		text_append(&hostkey->pinned, key.data, key.size);
}
