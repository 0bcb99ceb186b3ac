/* SPDX-License-Identifier: MIT */
#include "backends/remote/jump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"

#define WORDS_MAX 40

/* Whether new hosts are trusted. */
bool jump_accepts_new(const struct poolfs_values *values)
{
	const char *trust = poolfs_string(values, "host_key");

	return trust && strcmp(trust, "accept-new") == 0;
}

/* A path as ssh_config(5) takes it: in quotes, and without the tokens that "%" begins. */
static char *quoted(const char *option, const char *path)
{
	struct text text = { 0 };

	text_printf(&text, "%s=\"", option);
	for (; *path; path++)
		text_printf(&text, "%s%c", *path == '%' ? "%" : "", *path);
	text_printf(&text, "\"");
	return text.data;
}

/* Whether a path can be written so. */
static int check_path(const struct poolfs_values *values, const char *key, struct poolfs_err *err)
{
	const char *path = poolfs_string(values, key);

	if (path && strpbrk(path, "\"\\\n$"))
		return poolfs_err_set(err, -EINVAL, "%s: with a jump, the path may have no quote, "
			"backslash or dollar sign: %s", key, path);
	return 0;
}

/* Looks at the key, and at the paths that go to ssh. */
int jump_check(const struct poolfs_values *values, struct poolfs_err *err)
{
	const char *word = poolfs_string(values, "jump");
	struct target between;

	if (!word)
		return 0;
	int result = target_parse_host(word, &between, err);
	if (result < 0) {
		poolfs_err_prefix(err, "jump");
		return result;
	}
	result = check_path(values, "known_hosts", err);
	return result < 0 ? result : check_path(values, "ssh_key", err);
}

/* Appends one word, which becomes the list's. */
static void add(char **words, char *word)
{
	size_t count = 0;

	while (words[count])
		count++;
	if (count < WORDS_MAX - 1)
		words[count] = word;
	else
		free(word);
}

/* Appends "-o OPTION". */
static void add_option(char **words, char *option)
{
	add(words, memory_string("-o"));
	add(words, option);
}

/* How it logs in, and whom it trusts: as we do. */
static void add_login(char **words, const struct poolfs_values *values)
{
	const char *key = poolfs_string(values, "ssh_key");

	add_option(words, quoted("UserKnownHostsFile", poolfs_string(values, "known_hosts")));
	add_option(words, memory_format("StrictHostKeyChecking=%s",
		jump_accepts_new(values) ? "accept-new" : "yes"));
	if (key) {
		add_option(words, quoted("IdentityFile", key));
		add_option(words, memory_string("IdentitiesOnly=yes"));
		add_option(words, memory_string("IdentityAgent=none"));
	}
}

/* Makes the command. */
int jump_make(const struct poolfs_values *values, const struct target *target, struct jump *jump,
	struct poolfs_err *err)
{
	static const char *const options[] = { "BatchMode=yes", "ConnectTimeout=15",
		"GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no", "ForwardAgent=no",
		"ServerAliveInterval=15", "LogLevel=ERROR", "ControlPath=none" };
	const char *agent = getenv("SSH_AUTH_SOCK");
	struct target between;
	int result = target_parse_host(poolfs_string(values, "jump"), &between, err);

	if (result < 0)
		return result;
	char **words = jump->words = memory_new(WORDS_MAX * sizeof(*words));
	jump->environment = memory_new(2 * sizeof(*jump->environment));
	if (agent && !poolfs_has(values, "ssh_key"))
		jump->environment[0] = memory_format("SSH_AUTH_SOCK=%s", agent);
	add(words, memory_string("ssh"));
	/* The configuration of whoever runs poolfs is not ours. */
	add(words, memory_string("-F"));
	add(words, memory_string("none"));
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		add_option(words, memory_string(options[i]));
	add_login(words, values);
	add(words, memory_string("-l"));
	add(words, memory_string(*between.user ? between.user : poolfs_string(values, "ssh_user")));
	add(words, memory_string("-p"));
	add(words, memory_format("%u", between.port ? between.port : 22));
	add(words, memory_string("-W"));
	add(words, memory_format(strchr(target->host, ':') ? "[%s]:%u" : "%s:%u", target->host,
		target->port));
	add(words, memory_string("--"));
	add(words, memory_string(between.host));
	return 0;
}

/* Frees. */
void jump_done(struct jump *jump)
{
	for (size_t i = 0; jump->words && jump->words[i]; i++)
		free(jump->words[i]);
	if (jump->environment)
		free(jump->environment[0]);
	free(jump->words);
	free(jump->environment);
	*jump = (struct jump){ 0 };
}
