/* SPDX-License-Identifier: MIT */
#include "fs/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"

/* One table for parsing and for --help. */
static const struct {
	char letter;
	const char *name, *argument, *help;
} table[] = {
	{ 'f', "foreground", NULL, "stay in the foreground, messages to standard error" },
	{ 'd', "debug", NULL, "the same, with debugging messages" },
	{ 'o', NULL, "OPTION[,...]", "mount options, as for mount(8) and libfuse" },
	{ 'D', "demo", NULL, "mount a pool of containers; takes no CONFIG" },
	{ 'm', "module", "FILE", "load a module with a kind of machine; may be repeated" },
	{ 'c', "check", NULL, "check the configuration, mount nothing" },
	{ 'b', "backends", NULL, "list the kinds of machines" },
	{ 'k', "help-backend", "TYPE", "list the keys of a kind" },
	{ 's', "scan-console", NULL, "print the crash reports of a saved console: [FILE]" },
	{ 't', "title", NULL, "with --scan-console: only their titles" },
	{ 'p', "crash-patterns", "FILE", "with --scan-console: patterns before poolfs' own" },
	{ 'V', "version", NULL, "print the version" },
	{ 'h', "help", NULL, "print this" },
};
#define COUNT (sizeof(table) / sizeof(*table))

/* The options that have a short form. */
static const char short_letters[] = "fdoVh";

/* Joins mount options. */
static void add_mount_option(struct options *options, const char *more)
{
	char *joined = options->mount_options ? memory_format("%s,%s", options->mount_options, more)
					      : memory_string(more);

	free(options->mount_options);
	options->mount_options = joined;
}

/* Takes one option. Below 0: unknown; getopt has said so. */
static int take(struct options *options, int letter)
{
	switch (letter) {
	case 'd':
		options->debug = true;
		/* fall through */
	case 'f':
		options->foreground = true;
		return 0;
	case 'o':
		add_mount_option(options, optarg);
		return 0;
	case 'D':
		options->demo = true;
		return 0;
	case 'm':
		options->modules = memory_grow(options->modules,
			(options->module_count + 1) * sizeof(*options->modules));
		options->modules[options->module_count++] = optarg;
		return 0;
	case 'c':
		options->action = OPTIONS_CHECK;
		return 0;
	case 'b':
		options->action = OPTIONS_BACKENDS;
		return 0;
	case 'k':
		options->action = OPTIONS_HELP_BACKEND;
		options->kind = optarg;
		return 0;
	case 's':
		options->action = OPTIONS_SCAN_CONSOLE;
		return 0;
	case 't':
		options->titles = true;
		return 0;
	case 'p':
		options->patterns = optarg;
		return 0;
	case 'V':
		options->action = OPTIONS_VERSION;
		return 0;
	case 'h':
		options->action = OPTIONS_HELP;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Takes the file of --scan-console. */
static int check_scan(struct options *options, int rest, char **argv)
{
	if (rest > 1) {
		fprintf(stderr, "poolfs: --scan-console takes one file, or standard input\n");
		return -EINVAL;
	}
	options->file = rest == 1 ? argv[optind] : NULL;
	return 0;
}

/* Takes the mount point of --demo. */
static int check_demo(struct options *options, int rest, char **argv)
{
	if (options->action != OPTIONS_MOUNT || rest != 1) {
		fprintf(stderr, "poolfs: --demo takes a mount point, and no configuration; usage: "
				"poolfs --demo MOUNTPOINT\n");
		return -EINVAL;
	}
	options->mount_point = argv[optind];
	return 0;
}

/* Checks that the arguments fit the action. */
static int check(struct options *options, int argc, char **argv)
{
	int rest = argc - optind;
	bool mounts = options->action == OPTIONS_MOUNT;

	if (options->action != OPTIONS_SCAN_CONSOLE && (options->titles || options->patterns)) {
		fprintf(stderr, "poolfs: --title and --crash-patterns go with --scan-console\n");
		return -EINVAL;
	}
	if (options->demo)
		return check_demo(options, rest, argv);
	if (options->action == OPTIONS_SCAN_CONSOLE)
		return check_scan(options, rest, argv);
	if (options->action > OPTIONS_CHECK)
		return 0;
	if (rest < (mounts ? 2 : 1) || rest > 2) {
		fprintf(stderr,
			"poolfs: %s; usage: poolfs [options] CONFIG MOUNTPOINT (poolfs --help tells more)\n",
			rest > 2 ? "too many arguments" : mounts ? "a configuration file and a mount point "
								   "are needed"
								 : "a configuration file is needed");
		return -EINVAL;
	}
	options->config = argv[optind];
	options->mount_point = rest == 2 ? argv[optind + 1] : NULL;
	return 0;
}

/* Parses. */
int options_parse(int argc, char **argv, struct options *options)
{
	struct option longs[COUNT + 1] = { 0 };
	char letters[2 * COUNT + 1] = "";
	int letter, result = 0;

	for (size_t i = 0; i < COUNT; i++) {
		longs[i] = (struct option){ .name = table[i].name ? table[i].name : "mount-options",
			.has_arg = table[i].argument ? required_argument : no_argument,
			.val = table[i].letter };
		if (strchr(short_letters, table[i].letter))
			sprintf(letters + strlen(letters), "%c%s", table[i].letter,
				table[i].argument ? ":" : "");
	}
	*options = (struct options){ .action = OPTIONS_MOUNT };
	while (result == 0 && (letter = getopt_long(argc, argv, letters, longs, NULL)) != -1)
		result = take(options, letter);
	if (result < 0)
		fprintf(stderr, "poolfs: poolfs --help lists the options\n");
	return result < 0 ? result : check(options, argc, argv);
}

/* Frees. */
void options_done(struct options *options)
{
	free(options->mount_options);
	free(options->modules);
}

/* Prints the help. */
void options_help(void)
{
	printf("usage: poolfs [options] CONFIG MOUNTPOINT\n"
	       "       poolfs [options] --demo MOUNTPOINT\n\n"
	       "Shows pools of machines as directories: mkdir MOUNTPOINT/POOL/NAME boots one,\n"
	       "writing to its cmd runs a command, rmdir destroys it. CONFIG says what the pools\n"
	       "are, see poolfs.conf(5). fusermount3 -u MOUNTPOINT ends it all.\n\n");
	for (size_t i = 0; i < COUNT; i++) {
		char left[64];
		const char *argument = table[i].argument ? table[i].argument : "";

		if (!table[i].name)
			snprintf(left, sizeof(left), "-%c %s", table[i].letter, argument);
		else if (!strchr(short_letters, table[i].letter))
			snprintf(left, sizeof(left), "    --%s %s", table[i].name, argument);
		else
			snprintf(left, sizeof(left), "-%c, --%s %s", table[i].letter, table[i].name, argument);
		printf("  %-26s %s\n", left, table[i].help);
	}
}
