/* SPDX-License-Identifier: MIT */
#include "backends/base/ports.h"

#include <errno.h>
#include <string.h>

/* Reads digits. */
int ports_parse(const char *text, size_t length)
{
	int number = 0;

	if (length == 0 || length > 5 || (length > 1 && text[0] == '0'))
		return -1;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		number = number * 10 + (text[i] - '0');
	}
	return number > 65535 ? -1 : number;
}

/* Reads a port or a range. */
static bool range(const char *word, int *from, int *to)
{
	size_t length = strcspn(word, "-");

	*from = *to = ports_parse(word, length);
	if (word[length])
		*to = ports_parse(word + length + 1, strlen(word + length + 1));
	return *from > 0 && *to >= *from;
}

/* Checks a list. */
int ports_check(const char *const *words, struct poolfs_err *err)
{
	int from, to;

	for (size_t i = 0; words[i]; i++) {
		if (strcmp(words[i], "none") == 0 && (i > 0 || words[1]))
			return poolfs_err_set(err, -EINVAL, "\"none\" stands alone");
		if (strcmp(words[i], "none") && strcmp(words[i], "any") && strcmp(words[i], "unix") &&
			!range(words[i], &from, &to))
			return poolfs_err_set(err, -EINVAL, "\"%s\" is no port and no range: write 8080, "
				"8000-8999, any, unix or none", words[i]);
	}
	return 0;
}

/* Looks. */
bool ports_allow(const char *const *words, int port)
{
	int from, to;

	for (size_t i = 0; words[i]; i++) {
		if (strcmp(words[i], port ? "any" : "unix") == 0)
			return true;
		if (port && range(words[i], &from, &to) && port >= from && port <= to)
			return true;
	}
	return false;
}
