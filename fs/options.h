/* SPDX-License-Identifier: MIT */
/*
 * The command line: poolfs [options] CONFIG MOUNTPOINT, also in the form in which
 * mount(8) calls it.
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum options_action {
	OPTIONS_MOUNT,
	OPTIONS_CHECK,		/* --check: config is set, mount_point may be */
	OPTIONS_BACKENDS,
	OPTIONS_HELP_BACKEND,	/* kind is set */
	OPTIONS_SCAN_CONSOLE,	/* file may be set */
	OPTIONS_HELP,
	OPTIONS_VERSION,
};

struct options {
	enum options_action action;
	bool foreground;
	bool debug;
	bool demo;		/* --demo: there is no config */
	bool titles;		/* --title */
	const char *config, *mount_point, *kind;
	const char *file;	/* to be scanned; NULL: standard input */
	const char *patterns;	/* --crash-patterns; NULL: none */
	char *mount_options;	/* all -o, joined by commas; NULL: none */
	const char **modules;	/* --module; module_count, the array is allocated */
	size_t module_count;
};

/* Parses; strings point into argv but for mount_options; options_done frees. Below 0: it was wrong, and
 * standard error says what. */
int options_parse(int argc, char **argv, struct options *options);

void options_done(struct options *options);

/* What --help prints, on standard output. */
void options_help(void);

#endif
