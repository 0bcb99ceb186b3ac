/* SPDX-License-Identifier: MIT */
#include "backends/remote/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/text.h"

/* What a name or an address of a machine is made of; '%' stands before an interface. */
#define HOST_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:%"

/* Complains about a word. */
static int wrong(struct poolfs_err *err, const char *word, const char *what)
{
	return poolfs_err_set(err, -EINVAL, "\"%s\": %s", word, what);
}

/* Copies length bytes; false: they are none, or too many. */
static bool copy(char *out, size_t size, const char *from, size_t length)
{
	if (length == 0 || length >= size)
		return false;
	memcpy(out, from, length);
	out[length] = '\0';
	return true;
}

/* Reads ":PORT"; 0: none there; -1: wrong. */
static int read_port(const char *text)
{
	char *end;

	if (!*text)
		return 0;
	if (text[0] != ':' || strspn(text + 1, "0123456789") != strlen(text + 1) || strlen(text) > 6)
		return -1;
	long port = strtol(text + 1, &end, 10);
	return port >= 1 && port <= 65535 ? (int)port : -1;
}

/* Whether a user's name can stand in what is written about it and given to other programs. */
static bool is_user(const char *user)
{
	for (const char *at = user; *at; at++)
		if ((unsigned char)*at <= ' ' || *at == 0x7f || strchr("\"'\\:/@", *at))
			return false;
	return user[0] != '-';
}

/* Reads "HOST[:PORT]", "[ADDRESS][:PORT]", or an IPv6 address alone. */
static int read_host(const char *text, struct target *target)
{
	const char *colon = strchr(text, ':'), *port;
	bool good;

	if (text[0] == '[') {
		size_t length = strcspn(text + 1, "]");

		good = text[1 + length] && copy(target->host, sizeof(target->host), text + 1, length);
		port = good ? text + length + 2 : "";
	} else {
		/* More than one colon: an address without port. */
		size_t length = colon && !strchr(colon + 1, ':') ? (size_t)(colon - text)
								  : strlen(text);

		good = copy(target->host, sizeof(target->host), text, length);
		port = text + length;
	}
	int number = read_port(port);
	good = good && number >= 0 && target->host[0] != '-' &&
		strspn(target->host, HOST_CHARACTERS) == strlen(target->host);
	target->port = (uint16_t)(good ? number : 0);
	return good ? 0 : -EINVAL;
}

/* Reads a machine. */
int target_parse_host(const char *word, struct target *target, struct poolfs_err *err)
{
	const char *at = strrchr(word, '@');

	struct target found = { 0 };

	if (at && (!copy(found.user, sizeof(found.user), word, (size_t)(at - word)) ||
		    !is_user(found.user)))
		return wrong(err, word, "no name of a login before the \"@\"");
	if (read_host(at ? at + 1 : word, &found) < 0)
		return wrong(err, word, "no machine: write USER@HOST:PORT or HOST; an IPv6 address "
			"with a port as [ADDRESS]:PORT");
	*target = found;
	return 0;
}

/* Reads a machine that may have a name. */
int target_parse(const char *word, struct target *target, struct poolfs_err *err)
{
	const char *equal = strchr(word, '=');
	struct target found;
	char name[sizeof(found.name)] = "";

	if (equal && (!copy(name, sizeof(name), word, (size_t)(equal - word)) ||
		    !text_is_name(name) || strncmp(name, "pool.", 5) == 0))
		return wrong(err, word, "no name that mkdir can take before the \"=\"");
	int result = target_parse_host(equal ? equal + 1 : word, &found, err);
	if (result < 0)
		return result;
	memcpy(found.name, name, sizeof(name));
	*target = found;
	return 0;
}
