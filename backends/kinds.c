/* SPDX-License-Identifier: MIT */
#include "backends/kinds.h"

#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/ports.h"
#include "backends/container/container.h"
#include "backends/exec/exec.h"
#include "backends/qemu/qemu.h"
#include "backends/remote/remote.h"

const struct poolfs_kind *const kinds_all[] = {
	&qemu_kind,
	&container_kind,
	&remote_kind,
	&exec_kind,
	NULL,
};

static const char *const crash_levels[] = { "any", "fatal", "never", NULL };
static const char *const crash_ends[] = { "keep", "reset", "destroy", NULL };
static const char *const files_modes[] = { "strict", "eager", NULL };
static const char *const owners[] = { "mount", "guest", NULL };

const struct poolfs_key kinds_pool_keys[] = {
	{ .name = "type",
	  .type = POOLFS_STRING,
	  .flags = POOLFS_KEY_REQUIRED,
	  .help = "The kind of machine; poolfs --backends lists the kinds." },
	{ .name = "count",
	  .type = POOLFS_INT,
	  .fallback = "16",
	  .min = 1,
	  .max = 100000,
	  .help = "How many instances the pool may have at the same time; mkdir of one more fails "
		  "with ENOSPC." },
	{ .name = "boot_timeout",
	  .type = POOLFS_SECONDS,
	  .fallback = "120",
	  .min = 1000,
	  .max = 86400000,
	  .help = "How long a boot may take until the login works; then the instance is failed." },
	{ .name = "timeout",
	  .type = POOLFS_SECONDS,
	  .fallback = "0",
	  .min = 0,
	  .max = 3600000000,
	  .help = "The time limit that runs get unless they set their own; 0 is none. A run that "
		  "reaches it is stopped, with the status 124." },
	{ .name = "files",
	  .type = POOLFS_STRING,
	  .help = "The guest's directory that files/ shows and that commands start in; by default "
		  "the home of the login, for type ssh a directory that is made for the instance and "
		  "removed with it." },
	{ .name = "cache",
	  .type = POOLFS_SECONDS,
	  .fallback = "1",
	  .min = 0,
	  .max = 3600000,
	  .help = "How long names, absent names and attributes below files/ are believed; 0 is not at "
		  "all. What commands written to cmd change is seen at their end." },
	{ .name = "files_mode",
	  .type = POOLFS_CHOICE,
	  .choices = files_modes,
	  .fallback = "strict",
	  .help = "Whether what is made and written below files/ is answered when the guest has done it: "
		  "strict; or before, with errors told afterwards: eager." },
	{ .name = "owner",
	  .type = POOLFS_CHOICE,
	  .choices = owners,
	  .fallback = "mount",
	  .help = "Whose files below files/ seem to be: mount, the instance's owner's; guest, those of "
		  "the guest's numbers, which chown can then change." },
	{ .name = "console_limit",
	  .type = POOLFS_SIZE,
	  .fallback = "16M",
	  .min = 65536,
	  .max = 1099511627776,
	  .help = "How many bytes of an instance's console are kept; beyond it the oldest go." },
	{ .name = "console_filter",
	  .type = POOLFS_BOOL,
	  .fallback = "no",
	  .help = "Replaces the control characters in what the console shows, except newline and tab, "
		  "by '?' (a carriage return by a space): it is then safe to look at in a terminal." },
	{ .name = "crash_on",
	  .type = POOLFS_CHOICE,
	  .choices = crash_levels,
	  .fallback = "any",
	  .help = "Which reports of the kernel on the console make an instance crashed: any, also "
		  "warnings and hung tasks; fatal, only those after which it does not go on; never." },
	{ .name = "on_crash",
	  .type = POOLFS_CHOICE,
	  .choices = crash_ends,
	  .fallback = "keep",
	  .help = "What becomes of a crashed instance: keep leaves it to be looked at; reset "
		  "boots its machine anew; destroy ends it as rmdir does." },
	{ .name = "on_crash_sysrq",
	  .type = POOLFS_STRING,
	  .help = "SysRq keys, such as \"wt\", that a crashed machine gets before its report is "
		  "complete, which then holds what it prints. For kinds that have the verb sysrq." },
	{ .name = "quiet_timeout",
	  .type = POOLFS_SECONDS,
	  .fallback = "0",
	  .min = 0,
	  .max = 3600000000,
	  .help = "A ready machine whose console and runs print nothing for so long is called quiet, "
		  "in events and in status; 0 is never." },
	{ .name = "crash_patterns",
	  .type = POOLFS_PATH,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "A file of patterns of crashes, which come before those that poolfs has." },
	{ .name = "output_limit",
	  .type = POOLFS_SIZE,
	  .fallback = "256M",
	  .min = 65536,
	  .max = 1099511627776,
	  .help = "How many bytes of each run's output are kept; beyond it the oldest go." },
	{ .name = "queue_limit",
	  .type = POOLFS_INT,
	  .fallback = "1024",
	  .min = 1,
	  .max = 100000,
	  .help = "How many runs of an instance may be queued or running; a write to cmd beyond it "
		  "fails with EAGAIN." },
	{ .name = "runs_kept",
	  .type = POOLFS_INT,
	  .fallback = "64",
	  .min = 1,
	  .max = 100000,
	  .help = "How many finished numbered runs of an instance are remembered; older ones are "
		  "forgotten. Named runs stay until rmdir." },
	{ .name = "forward_allow",
	  .type = POOLFS_WORDS,
	  .fallback = "any unix",
	  .help = "What forward/ may reach on the host: ports, ranges such as 8000-8999, any for "
		  "all ports, unix for unix sockets; none for nothing. A guest reaches only what a "
		  "user made a file in forward/ for." },
	{ 0 }
};

/* Looks a kind up by name. */
const struct poolfs_kind *kinds_find(const char *name)
{
	for (size_t i = 0; kinds_all[i]; i++)
		if (strcmp(kinds_all[i]->name, name) == 0)
			return kinds_all[i];
	return NULL;
}

/* Looks at values together. */
int kinds_check(const struct poolfs_kind *kind, const struct poolfs_values *values,
	struct poolfs_err *err)
{
	int result = ports_check(poolfs_words(values, "forward_allow"), err);

	if (result < 0) {
		poolfs_err_prefix(err, "forward_allow");
		return result;
	}
	return kind->check ? kind->check(values, err) : 0;
}

/* Joins the common table and the kind's. */
const struct poolfs_key **kinds_tables(const struct poolfs_kind *kind)
{
	size_t count = 0;

	while (kind->tables[count])
		count++;
	const struct poolfs_key **tables = memory_new((count + 2) * sizeof(*tables));
	tables[0] = kinds_pool_keys;
	memcpy(tables + 1, kind->tables, count * sizeof(*tables));
	return tables;
}
