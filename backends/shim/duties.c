/* SPDX-License-Identifier: MIT */
#include "backends/shim/duties.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/shell.h"
#include "backends/base/values.h"
#include "backends/shim/errand.h"
#include "backends/shim/shim.h"

/* While a machine boots, it is asked this often, in milliseconds. */
#define BOOT_AGAIN_MS 1000u

/* For whatever shell the login has. */
static const char make_directory[] =
	"exec sh -c 'umask 077; exec mktemp -d \"${TMPDIR:-/tmp}/poolfs.XXXXXXXXXX\"'";
/* Another value after each boot: of Linux, else of BSD. */
static const char tell_boot[] =
	"exec sh -c 'cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.boottime'";

/* The text of a key that not every kind has. */
static const char *text_of(struct shim *shim, const char *key)
{
	const struct poolfs_values *values = shim->setup.values;

	return values_key(values, key) ? poolfs_string(values, key) : NULL;
}

/* Calls `then` after so many milliseconds. */
static void set_limit(struct shim *shim, uint64_t milliseconds, uv_timer_cb then)
{
	struct duties *duties = &shim->duties;

	if (!duties->timed)
		uv_timer_init(shim->loop, &duties->limit);
	duties->timed = true;
	duties->limit.data = shim;
	uv_update_time(shim->loop);
	uv_timer_start(&duties->limit, then, milliseconds, 0);
}

static void begin_end(struct shim *shim);

/* No command runs any more: goes on with what waits for that. */
static void quiet(struct shim *shim)
{
	struct duties *duties = &shim->duties;
	duties_done *done = duties->done;
	char *reason = duties->reason;

	if (duties->timed)
		uv_timer_stop(&duties->limit);
	errand_free(duties->errand);
	duties->errand = NULL;
	duties->killing = false;
	if (duties->ending) {
		duties->ending = false;
		begin_end(shim);
		return;
	}
	duties->reason = NULL;
	duties->done = NULL;
	if (done)
		done(shim, duties->result, reason);
	free(reason);
}

/* It cannot be killed, or not be reached. */
static void kill_limit(uv_timer_t *timer)
{
	quiet(timer->data);
}

/* Gives up the errand; a command that it has in the machine is killed first. */
static void give_up(struct shim *shim)
{
	struct duties *duties = &shim->duties;

	if (duties->killing)
		return;
	duties->killing = duties->errand && errand_kill(duties->errand);
	if (duties->killing)
		set_limit(shim, DUTIES_LEAVE_MS, kill_limit);
	else
		quiet(shim);
}

/* It is over, well or not. */
static void finish(struct shim *shim, int result, const char *text)
{
	struct duties *duties = &shim->duties;

	free(duties->reason);
	duties->result = result;
	duties->reason = memory_string(text);
	give_up(shim);
}

/* Goes on with a command; next gets its output. */
static void step(struct shim *shim, const char *command, uint64_t after,
	void (*next)(struct shim *shim, const char *output))
{
	shim->duties.next = next;
	errand_run(shim->duties.errand, command, shim->duties.directory, after, false);
}

static void end_reset(struct shim *shim, const char *output);

/* The command ended. What cannot be removed is no reason to leave the rest undone. */
static void errand_done(void *data, int result, const char *text)
{
	struct shim *shim = data;

	if (shim->duties.killing) {
		quiet(shim);
		return;
	}
	if (result == -EIO && shim->duties.next == end_reset) {
		journal_printf(shim, "%s is left in the machine: %s", shim->duties.directory, text);
		result = 0;
	}
	if (result < 0)
		finish(shim, result, text);
	else
		shim->duties.next(shim, text);
}

/* No connection yet: said when it takes too long. */
static void errand_trouble(void *data, const char *reason)
{
	life_trouble(data, reason);
}

/* Logged in: when it takes too long, it is for another reason. */
static void errand_entered(void *data)
{
	life_trouble(data, "logged in, but what runs first (mktemp, startup, reset) has not ended");
	duties_entered(data);
}

static const struct errand_events errand_events = {
	.done = errand_done,
	.trouble = errand_trouble,
	.entered = errand_entered,
};

/* Takes up work. false: that failed, and was told. */
static bool take_up(struct shim *shim, duties_done *done)
{
	struct duties *duties = &shim->duties;
	struct poolfs_err err = { "" };

	duties->done = done;
	int result = errand_new(shim, &duties->address, &errand_events, shim, &duties->errand, &err);
	if (result < 0)
		finish(shim, result, err.text);
	return result == 0;
}

/* All is done. */
static void all_done(struct shim *shim, const char *output)
{
	finish(shim, 0, "");
}

/* Runs `startup`, where there is one. */
static void begin_startup(struct shim *shim)
{
	const char *startup = text_of(shim, "startup");

	if (startup)
		step(shim, startup, 0, all_done);
	else
		finish(shim, 0, "");
}

/* mktemp printed a path. */
static void directory_made(struct shim *shim, const char *output)
{
	size_t length = strcspn(output, "\n");
	struct duties *duties = &shim->duties;

	if (output[0] != '/' || strcmp(output + length, "\n") != 0) {
		finish(shim, -EPROTO, "mktemp did not print the path of a directory for files/; set "
			"the key files");
		return;
	}
	free(duties->directory);
	duties->directory = memory_format("%.*s", (int)length, output);
	status_set(shim, "directory", duties->directory);
	begin_startup(shim);
}

/* Begins. */
void duties_begin(struct shim *shim, duties_done *done)
{
	const char *files = text_of(shim, "files");
	bool makes = values_key(shim->setup.values, "reset") && (!files || !*files);

	struct poolfs_err err = { "" };

	if (!makes && !text_of(shim, "startup") && !text_of(shim, "reset")) {
		done(shim, 0, "");
		return;
	}
	int result = door_address(shim->life.door, &shim->duties.address, &err);
	if (result < 0) {
		done(shim, result, err.text);
		return;
	}
	if (!makes && !text_of(shim, "startup")) {
		done(shim, 0, "");
		return;
	}
	if (!take_up(shim, done))
		return;
	if (makes)
		step(shim, make_directory, 0, directory_made);
	else
		begin_startup(shim);
}

/* Something of ours may be there. */
void duties_entered(struct shim *shim)
{
	shim->duties.entered = true;
}

/* Whether it is another boot, or still the old one. */
static void booted(struct shim *shim, const char *output)
{
	if (*output && strcmp(output, shim->duties.boot_id) != 0)
		finish(shim, 0, "");
	else
		step(shim, tell_boot, BOOT_AGAIN_MS, booted);
}

/* The machine goes down. */
static void going_down(struct shim *shim, const char *output)
{
	step(shim, tell_boot, BOOT_AGAIN_MS, booted);
}

/* Which boot it is: it is to end. */
static void boot_known(struct shim *shim, const char *output)
{
	struct duties *duties = &shim->duties;

	if (!*output) {
		finish(shim, -EPROTO, "the machine does not tell one boot from the next");
		return;
	}
	duties->boot_id = memory_string(output);
	duties->next = going_down;
	errand_run(duties->errand, "reboot", NULL, 0, true);
}

/* The directory is gone, or there was none: `reset`. */
static void end_reset(struct shim *shim, const char *output)
{
	const char *reset = text_of(shim, "reset");

	free(shim->duties.directory);
	shim->duties.directory = NULL;
	if (!reset)
		finish(shim, 0, "");
	else if (strcmp(reset, "reboot") == 0)
		step(shim, tell_boot, 0, boot_known);
	else
		step(shim, reset, 0, all_done);
}

/* It takes too long. */
static void end_limit(uv_timer_t *timer)
{
	struct shim *shim = timer->data;
	const char *trouble = shim->life.trouble;
	char *text = memory_format("it took more than reset_timeout%s%s", trouble ? ": " : "",
		trouble ? trouble : "");

	finish(shim, -ETIMEDOUT, text);
	free(text);
}

/* Begins the end. */
static void begin_end(struct shim *shim)
{
	struct duties *duties = &shim->duties;
	const char *reset = text_of(shim, "reset");
	uint64_t limit = reset ? (uint64_t)poolfs_number(shim->setup.values, "reset_timeout") :
				 DUTIES_LEAVE_MS;

	life_trouble(shim, NULL);
	if (!duties->entered || (!duties->directory && !reset)) {
		finish(shim, 0, "");
		return;
	}
	if (!take_up(shim, duties->done))
		return;
	set_limit(shim, limit, end_limit);
	if (!duties->directory) {
		end_reset(shim, "");
		return;
	}
	struct text command = { 0 };
	text_printf(&command, "rm -rf ");
	shell_word(&command, duties->directory, strlen(duties->directory));
	duties->next = end_reset;
	errand_run(duties->errand, command.data, "/", 0, false);
	text_done(&command);
}

/* Ends, when what is under way has ended. */
void duties_end(struct shim *shim, duties_done *done)
{
	struct duties *duties = &shim->duties;

	duties->done = done;
	duties->ending = true;
	give_up(shim);
}

/* Gives up. */
void duties_cancel(struct shim *shim)
{
	shim->duties.done = NULL;
	give_up(shim);
}

/* Frees. */
void duties_close(struct shim *shim)
{
	struct duties *duties = &shim->duties;

	errand_free(duties->errand);
	duties->errand = NULL;
	if (duties->timed)
		uv_close((uv_handle_t *)&duties->limit, NULL);
	free(duties->reason);
	free(duties->directory);
	free(duties->boot_id);
}
