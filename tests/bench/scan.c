/* SPDX-License-Identifier: MIT */
/*
 * How fast consoles are scanned for crashes: the detector over 64 MiB of a console, in pieces of
 * 4 KiB as they come from a machine, beside memchr(3) for each newline of it and beside `grep -c -E`
 * with the same rules.
 *
 *   bench_scan PATTERNS CONSOLE      (config/crash.patterns, and a saved console without a crash)
 *
 * Prints MB/s of each, the least of three rounds' times, and what share of one processor 10 MB/s
 * of console take.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/crash/scan.h"

#define SIZE (64u << 20)
#define PIECE 4096
#define ROUNDS 3

static struct patterns *patterns;
static unsigned long reports, newlines;

/* Seconds of a clock. */
static double now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void count(void *data, const struct scan_report *report)
{
	reports++;
}

static const struct scan_events events = { .report = count };

/* The detector. */
static void run_scan(const char *text)
{
	struct scan *scan = scan_new(patterns, &events, NULL);

	for (size_t at = 0; at < SIZE; at += PIECE)
		scan_feed(scan, text + at, PIECE);
	scan_end(scan);
	scan_free(scan);
}

/* What looking for lines alone costs. */
static void run_memchr(const char *text)
{
	const char *at = text, *end = text + SIZE;

	while ((at = memchr(at, '\n', (size_t)(end - at)))) {
		newlines++;
		at++;
	}
}

static char grep_command[256];

/* grep, of a file that is in memory. */
static void run_grep(const char *text)
{
	if (system(grep_command) < 0)
		exit(1);
}

/* The best of some rounds, in MB/s. */
static double measure(void (*run)(const char *text), const char *text, clockid_t clock)
{
	double best = 1e9;

	for (int i = 0; i < ROUNDS; i++) {
		double begun = now(clock);
		run(text);
		double took = now(clock) - begun;
		best = took < best ? took : best;
	}
	return SIZE / best / 1e6;
}

/* Writes the rules' expressions to a file for grep -E, one per line, in its notation. */
static void write_rules(const char *patterns_file, const char *to)
{
	char line[8192];
	FILE *in = fopen(patterns_file, "re"), *out = fopen(to, "we");

	if (!in || !out)
		exit(1);
	while (fgets(line, sizeof(line), in)) {
		char *at = strncmp(line, "report ", 7) == 0 ? line + 7 : line + 6;

		if (at == line + 6 && strncmp(line, "fatal ", 6) != 0)
			continue;
		at += strncmp(at, "stamped ", 8) == 0 ? 8 : 0;
		at += strncmp(at, "joins ", 6) == 0 ? 6 : 0;
		at += *at == '^'; /* a prefix stands before the message */
		for (; *at; at++) {
			if (strncmp(at, "(?:", 3) == 0) {
				fputc('(', out);
				at += 2;
			} else if (strncmp(at, "\\d", 2) == 0) {
				fputs("[0-9]", out);
				at++;
			} else if (*at == '?' && at[-1] && strchr("*+", at[-1])) {
				continue; /* grep knows no lazy match, which finds the same lines */
			} else {
				fputc(*at, out);
			}
		}
	}
	fclose(in);
	fclose(out);
}

/* Repeats the console to the size that is measured. */
static char *repeat(const char *file)
{
	char *text = memory_new(SIZE);
	FILE *in = fopen(file, "re");
	size_t size = in ? fread(text, 1, SIZE, in) : 0;

	if (size == 0) {
		fprintf(stderr, "bench_scan: %s: cannot be read\n", file);
		exit(1);
	}
	fclose(in);
	for (size_t at = size; at < SIZE; at += size)
		memcpy(text + at, text, SIZE - at < size ? SIZE - at : size);
	return text;
}

int main(int argc, char **argv)
{
	char rules[] = "/tmp/bench-rules.XXXXXX", console[] = "/tmp/bench-console.XXXXXX";
	struct poolfs_err err;

	if (argc != 3) {
		fprintf(stderr, "usage: bench_scan PATTERNS CONSOLE\n");
		return 2;
	}
	if (patterns_load(argv[1], NULL, &patterns, &err) < 0) {
		fprintf(stderr, "bench_scan: %s\n", err.text);
		return 1;
	}
	char *text = repeat(argv[2]);
	close(mkstemp(rules));
	int fd = mkstemp(console);
	for (size_t at = 0; at < SIZE; at += 1u << 20)
		if (write(fd, text + at, 1u << 20) != 1 << 20)
			return 1;
	close(fd);
	write_rules(argv[1], rules);
	snprintf(grep_command, sizeof(grep_command), "LC_ALL=C grep -a -c -E -f %s %s >/dev/null",
		rules, console);
	double scanned = measure(run_scan, text, CLOCK_PROCESS_CPUTIME_ID);
	double lines = measure(run_memchr, text, CLOCK_PROCESS_CPUTIME_ID);
	double grepped = measure(run_grep, text, CLOCK_MONOTONIC);
	printf("scan %.0f MB/s (%lu reports), memchr %.0f MB/s, grep -E %.0f MB/s\n", scanned,
		reports / ROUNDS, lines, grepped);
	printf("10 MB/s of console take %.2f %% of a processor; %.1f times as fast as grep\n",
		1000 / scanned, scanned / grepped);
	unlink(rules);
	unlink(console);
	free(text);
	patterns_free(patterns);
	return 0;
}
