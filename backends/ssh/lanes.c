/* SPDX-License-Identifier: MIT */
#include "backends/ssh/lanes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/ssh/bounds.h"

#define FAILURES 3u	/* in a row: then commands do not wait for a lane that may never be */

struct lane {
	TAILQ_ENTRY(lane) link;
	struct lanes *lanes;
	struct connection connection;
	uint64_t since;		/* in uv_now: it has been free from then on */
	bool used;		/* it has had a command */
};

/* Servers with the fault: the beginning of their software's name and, when it is followed by
 * "_YEAR.NUMBER", the numbers, which go on over the years. */
static const struct {
	const char *name;
	unsigned from, to;
} faulty[] = {
	/* https://github.com/mkj/dropbear/issues/321: since the commits 8e6f73e and a7ef149, which are
	 * in 2022.82; the cure is the pull request 326, in 2024.86. */
	{ "dropbear", 82, 85 },
};

/* Looks it up. A name without version (OpenWrt's Dropbear shows none) is taken for a faulty one. */
bool lanes_needed(const char *banner)
{
	static const char protocol[] = "SSH-2.0-";
	size_t skip = sizeof(protocol) - 1;

	if (!banner || strncmp(banner, protocol, skip) != 0)
		return false;
	for (size_t i = 0; i < sizeof(faulty) / sizeof(*faulty); i++) {
		size_t length = strlen(faulty[i].name);
		const char *rest = banner + skip + length;
		unsigned number;

		if (strncmp(banner + skip, faulty[i].name, length) != 0)
			continue;
		if (sscanf(rest, "_%*4u.%3u", &number) != 1)
			return *rest != '_';
		if (number >= faulty[i].from && number <= faulty[i].to)
			return true;
	}
	return false;
}

/* Starts without lanes. */
void lanes_init(struct lanes *lanes, struct connection *main, uint64_t keepalive)
{
	*lanes = (struct lanes){ .main = main, .keepalive = keepalive };
	TAILQ_INIT(&lanes->list);
}

/* Looks at the server. */
void lanes_begin(struct lanes *lanes)
{
	lanes->used = lanes_needed(libssh2_session_banner_get(lanes->main->session.ssh));
	lanes->main->exec.aside = lanes->used;
	lanes->failures = 0;
	lanes->retry_at = 0;
	lanes->given = lanes->now;
}

/* Whether it is logged in and has had a channel. */
static bool is_up(const struct lane *lane)
{
	return lane->connection.login.step == LOGIN_DONE;
}

/* Whether it can take a command. */
static bool is_free(const struct lane *lane)
{
	const struct connection *connection = &lane->connection;

	return is_up(lane) && !connection->session.lost && connection->channels.spare &&
		TAILQ_EMPTY(&connection->exec.queued);
}

/* Whether it will be able to without a command's end. */
static bool is_coming(const struct lane *lane)
{
	const struct channels *channels = &lane->connection.channels;

	return !lane->connection.session.lost && !is_free(lane) &&
		(!channels->used || !TAILQ_EMPTY(&channels->closing));
}

/* Begins a further connection. */
static void lane_new(struct lanes *lanes)
{
	const struct connection *main = lanes->main;
	struct lane *lane = memory_new(sizeof(*lane));
	struct connection *connection = &lane->connection;

	lane->lanes = lanes;
	lane->since = lanes->now;
	connection->session.wake = main->session.wake;
	connection->session.log = main->session.log;
	connection->session.status = main->session.status;
	connection->session.data = main->session.data;
	connection->proxy = main->proxy;
	connection->proxy_environment = main->proxy_environment;
	connection->login.hostkey = main->login.hostkey;
	connection->login.user = main->login.user;
	connection->login.key = main->login.key;
	connection->exec.control = main->exec.control;
	connection->exec.directory = main->exec.directory;
	connection->exec.buffer = main->exec.buffer;
	connection_init(connection, main->loop);
	connection->channels.serial = true;
	TAILQ_INSERT_TAIL(&lanes->list, lane, link);
	lanes->count++;
	connection_begin(connection);
}

/* Takes a lane away; its commands have ended. */
static void lane_free(struct lane *lane)
{
	struct lanes *lanes = lane->lanes;

	TAILQ_REMOVE(&lanes->list, lane, link);
	lanes->count--;
	lane->connection.exec.buffer = NULL;
	exec_done(&lane->connection.exec);
	connection_end(&lane->connection);
	free(lane);
}

/* A lane could not be made. Without any, commands go on as with other servers. */
static void note_failure(struct lanes *lanes, const char *reason)
{
	unsigned delay = LIMIT_LANE_RETRY >> (lanes->failures < 6 ? 6 - lanes->failures : 0);
	struct lane *lane;
	bool up = false;

	lanes->failures++;
	lanes->retry_at = lanes->now + delay;
	TAILQ_FOREACH(lane, &lanes->list, link)
		up |= is_up(lane);
	if (lanes->failures == 1 || (lanes->failures == FAILURES && !up))
		session_log(&lanes->main->session, "a further connection for commands failed%s: %s",
			lanes->failures == 1 ? "" : ", commands share the first one", reason);
	if (lanes->failures >= FAILURES && !up)
		lanes->main->exec.aside = false;
}

/* Ends a lane. Commands that it does not carry stay. */
static void lane_end(struct lane *lane)
{
	struct lanes *lanes = lane->lanes;
	struct connection *connection = &lane->connection;

	connection->session.lost = true;
	exec_return(&connection->exec, &lanes->main->exec);
	if (!is_up(lane))
		note_failure(lanes, connection->session.reason);
	else if (connection->exec.active_count)
		session_log(&lanes->main->session, "the connection of a command was lost: %s",
			connection->session.reason);
	exec_lose(&connection->exec);
	lane_free(lane);
}

/* The first channel is open. */
static void lane_up(struct lane *lane)
{
	struct lanes *lanes = lane->lanes;

	login_enter(&lane->connection.login, LOGIN_DONE);
	/* Signs of life keep what lies between awake; nobody waits for an answer. */
	libssh2_keepalive_config(lane->connection.session.ssh, 0, 2);
	lane->since = lanes->now;
	lanes->failures = 0;
	lanes->main->exec.aside = true;
}

/* One round. */
static bool serve_once(void *data)
{
	struct lane *lane = data;
	struct connection *connection = &lane->connection;

	connection_take(connection);
	if (connection->login.step == LOGIN_SESSION && connection->channels.spare)
		lane_up(lane);
	return !connection->session.lost && exec_turn(&connection->exec);
}

/*
 * Whether a command's output waits: what a command is to be stopped for may be just this output, and
 * on a small machine the processes that send it leave the shell for signals no time. On one
 * connection they would share it with the shell.
 */
static bool is_held(const struct connection *connection)
{
	return control_busy(connection->exec.control) &&
		wire_waiting(connection->session.wire) > LIMIT_LANE_HELD;
}

/* Moves one lane on. Where a command was cut off, it may still end at any moment; and the server
 * closed a channel that idled, which it should not. */
static void lane_turn(struct lane *lane)
{
	struct connection *connection = &lane->connection;

	connection_set_clocks(connection);
	connection_login(connection);
	if (connection->login.step >= LOGIN_SESSION && !is_held(connection))
		connection_serve(connection, serve_once, lane);
	if (connection->channels.cut || connection->channels.spare_died)
		session_lose(&connection->session, false, "it is of no further use");
	connection_flush(connection);
	if (!is_free(lane))
		lane->since = lane->lanes->now;
}

/* Gives commands that wait to free lanes. */
static void give_queued(struct lanes *lanes)
{
	struct exec *exec = &lanes->main->exec;
	struct lane *lane;

	TAILQ_FOREACH(lane, &lanes->list, link) {
		if (!exec->aside || TAILQ_EMPTY(&exec->queued))
			break;
		if (!is_free(lane))
			continue;
		exec_give(exec, &lane->connection.exec);
		if (lane->used)
			lanes->given = lanes->now;
		lane->used = true;
		lane_turn(lane);
	}
	if (TAILQ_EMPTY(&exec->queued))
		lanes->given = lanes->now;
}

/* Whether one more lane is to be made. */
static bool want_more(const struct lanes *lanes)
{
	unsigned coming = 0, logging_in = 0;
	const struct lane *lane;

	if (lanes->now < lanes->retry_at || lanes->main->session.lost)
		return false;
	TAILQ_FOREACH(lane, &lanes->list, link) {
		coming += is_coming(lane);
		logging_in += !is_up(lane);
	}
	if (!lanes->count)
		return true;
	if (logging_in >= LIMIT_LANES_LOGIN ||
		exec_queued(&lanes->main->exec, coming + 1) <= coming)
		return false;
	if (lanes->count < LIMIT_LANES)
		return true;
	return lanes->count < LIMIT_LANES_EVER && lanes->now - lanes->given >= LIMIT_LANE_WAIT;
}

/* Moves all on. */
void lanes_turn(struct lanes *lanes)
{
	struct lane *lane, *next;

	if (!lanes->used)
		return;
	TAILQ_FOREACH(lane, &lanes->list, link)
		lane_turn(lane);
	give_queued(lanes);
	for (lane = TAILQ_FIRST(&lanes->list); lane; lane = next) {
		next = TAILQ_NEXT(lane, link);
		if (lane->connection.session.lost)
			lane_end(lane);
	}
	while (want_more(lanes))
		lane_new(lanes);
}

/* Sends a sign of life over a lane that is silent. */
static void keep_alive(struct lane *lane)
{
	struct connection *connection = &lane->connection;
	uint64_t now = lane->lanes->now, interval = lane->lanes->keepalive;
	int next;

	if (now - wire_heard(connection->session.wire) < interval || now - connection->asked < interval)
		return;
	connection->asked = now;
	session_result(&connection->session,
		libssh2_keepalive_send(connection->session.ssh, &next));
}

/* Looks at the limits. */
void lanes_clock(struct lanes *lanes)
{
	struct lane *lane;
	unsigned count = lanes->count;

	TAILQ_FOREACH(lane, &lanes->list, link) {
		struct connection *connection = &lane->connection;

		if (connection->session.lost)
			continue;
		connection_set_clocks(connection);
		login_clock(&connection->login);
		exec_clock(&connection->exec);
		if (is_up(lane))
			keep_alive(lane);
		if (is_free(lane) && count > 1 && lanes->now - lane->since >= LIMIT_LANE_IDLE) {
			session_lose(&connection->session, false, "it idles");
			count--;
		}
	}
	/* What was refused, or has waited, is tried again. */
	if (lanes->used)
		session_wake(&lanes->main->session);
}

/* Silences all. */
void lanes_mute(struct lanes *lanes)
{
	struct lane *lane;

	TAILQ_FOREACH(lane, &lanes->list, link)
		lane->connection.session.muted = true;
}

/* Ends all. */
void lanes_lose(struct lanes *lanes)
{
	struct lane *lane;

	lanes->used = false;
	lanes->main->exec.aside = false;
	while ((lane = TAILQ_FIRST(&lanes->list))) {
		lane->connection.session.lost = true;
		exec_lose(&lane->connection.exec);
		lane_free(lane);
	}
}

/* Frees all. */
void lanes_done(struct lanes *lanes)
{
	struct lane *lane;

	while ((lane = TAILQ_FIRST(&lanes->list))) {
		lane->connection.session.lost = true;
		lane_free(lane);
	}
}
