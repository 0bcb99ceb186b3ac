/* SPDX-License-Identifier: MIT */
#include "config/config.h"

/* In the order of enum log_level. */
static const char *const log_levels[] = { "error", "warning", "info", "debug", NULL };

const struct poolfs_key config_keys[] = {
	{ .name = "workdir",
	  .type = POOLFS_PATH,
	  .help = "The directory where the instances live: their disks, consoles and output. By "
		  "default each user and mount point has one of its own." },
	{ .name = "allow_other",
	  .type = POOLFS_BOOL,
	  .fallback = "no",
	  .help = "Lets other users into the mount; each instance stays its owner's. For a user "
		  "other than root, /etc/fuse.conf must have the line user_allow_other." },
	{ .name = "log_level",
	  .type = POOLFS_CHOICE,
	  .fallback = "info",
	  .choices = log_levels,
	  .help = "The least serious messages that are logged." },
	{ .name = "modules",
	  .type = POOLFS_WORDS,
	  .help = "Modules with further kinds of machines: files, or names without a slash in the "
		  "directory that poolfs has for them." },
	{ 0 }
};
