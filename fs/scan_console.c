/* SPDX-License-Identifier: MIT */
#include "fs/scan_console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/crash/patterns.h"
#include "backends/crash/scan.h"

#define PIECE 65536

struct printer {
	bool titles;
	unsigned long count;
};

/* Says what failed. */
static int complain(const char *what, const char *why)
{
	fprintf(stderr, "poolfs: error: %s: %s\n", what, why);
	return 2;
}

/* Prints one report: title, text, an empty line. */
static void print_report(void *data, const struct scan_report *report)
{
	struct printer *printer = data;

	printer->count++;
	printf("%s\n", report->title);
	if (!printer->titles)
		printf("%s\n", report->text);
	fflush(stdout);
}

static const struct scan_events events = { .report = print_report };

/* Reads to the end. */
static int scan_all(int fd, const char *name, struct scan *scan)
{
	char piece[PIECE];
	ssize_t count;

	while ((count = read(fd, piece, sizeof(piece))) != 0) {
		if (count > 0)
			scan_feed(scan, piece, (size_t)count);
		else if (errno != EINTR)
			return complain(name, strerror(errno));
	}
	scan_end(scan);
	return 0;
}

/* Scans. */
int scan_console(const char *file, const char *patterns_file, bool titles)
{
	struct printer printer = { .titles = titles };
	const char *name = file ? file : "standard input";
	struct poolfs_err err = { "" };
	struct patterns *patterns = NULL;
	char *fallback = patterns_default();
	int result = patterns_load(patterns_file, fallback, &patterns, &err);

	free(fallback);
	if (result < 0)
		return complain("crash patterns", err.text);
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (fd < 0) {
		patterns_free(patterns);
		return complain(name, strerror(errno));
	}
	struct scan *scan = scan_new(patterns, &events, &printer);
	int status = scan_all(fd, name, scan);
	scan_free(scan);
	patterns_free(patterns);
	if (file)
		close(fd);
	if (status == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		status = complain("standard output", strerror(errno));
	return status ? status : printer.count == 0;
}
