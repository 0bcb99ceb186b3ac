/* SPDX-License-Identifier: MIT */
#include "backends/ssh/hostkey.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libssh2's number of a type of key in known_hosts, and the methods that prove such a key. */
static const struct {
	int mask;
	const char *methods;
} types[] = {
	{ LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519" },
	{ LIBSSH2_KNOWNHOST_KEY_ECDSA_256, "ecdsa-sha2-nistp256" },
	{ LIBSSH2_KNOWNHOST_KEY_ECDSA_384, "ecdsa-sha2-nistp384" },
	{ LIBSSH2_KNOWNHOST_KEY_ECDSA_521, "ecdsa-sha2-nistp521" },
	{ LIBSSH2_KNOWNHOST_KEY_SSHRSA, "rsa-sha2-512,rsa-sha2-256,ssh-rsa" },
};

#define TYPES (sizeof(types) / sizeof(*types))

/*
 * Reads a known_hosts file into two collections: keys, and revoked ones. Line by line, as
 * libssh2 gives a whole file up at the first line that it does not understand. Certificate
 * authorities are not supported by it.
 */
static int read_file(const char *path, LIBSSH2_KNOWNHOSTS *known, LIBSSH2_KNOWNHOSTS *revoked)
{
	static const char revocation[] = "@revoked ";
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t capacity = 0;
	ssize_t size;

	if (!file)
		return -errno;
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
	int result = -ENOMEM;

	if (known && revoked)
		result = read_file(hostkey->known_hosts, known, revoked);
	if (result < 0)
		session_lose(session, result != -ENOMEM, "cannot read %s: %s", hostkey->known_hosts,
			strerror(-result));
	else
		result = look(hostkey, session, known, revoked);
	if (known)
		libssh2_knownhost_free(known);
	if (revoked)
		libssh2_knownhost_free(revoked);
	return result;
}

/* Sets the order of host key methods: those of known types first. */
static int prefer_known(struct hostkey *hostkey, struct session *session,
	LIBSSH2_KNOWNHOSTS *known, LIBSSH2_KNOWNHOSTS *revoked)
{
	struct text order = { 0 }, none = { 0 };
	bool found = false;

	/* A key that nobody has tells by MISMATCH that there is one of this type. */
	text_append(&none, "none", 4);
	for (int want = 1; want >= 0; want--) {
		for (size_t i = 0; i < TYPES; i++) {
			bool is = look_up(hostkey, known, &none, types[i].mask) ==
				  LIBSSH2_KNOWNHOST_CHECK_MISMATCH;

			if (is == (bool)want)
				text_printf(
					&order, "%s%s", order.size ? "," : "", types[i].methods);
			found |= is;
		}
	}
	session_prefer(session, LIBSSH2_METHOD_HOSTKEY, order.data);
	text_done(&order);
	text_done(&none);
	if (found)
		return 0;
	session_lose(session, true, "the host key of %s port %u is not in %s; ssh-keyscan shows it",
		hostkey->host, hostkey->port, hostkey->known_hosts);
	return -EACCES;
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

/* Compares the server's key with the file. */
static int check_known(struct hostkey *hostkey, struct session *session,
	LIBSSH2_KNOWNHOSTS *known, LIBSSH2_KNOWNHOSTS *revoked)
{
	struct text key = server_key(session);

	if (look_up(hostkey, revoked, &key, 0) == LIBSSH2_KNOWNHOST_CHECK_MATCH)
		session_lose(session, true, "the host key of %s is revoked in %s", hostkey->host,
			hostkey->known_hosts);
	else if (look_up(hostkey, known, &key, 0) != LIBSSH2_KNOWNHOST_CHECK_MATCH)
		session_lose(session, true,
			"the host key of %s port %u is not the one in %s: another machine answers, "
			"or it was installed anew",
			hostkey->host, hostkey->port, hostkey->known_hosts);
	else
		return 0;
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
