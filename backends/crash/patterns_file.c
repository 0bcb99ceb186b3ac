/* SPDX-License-Identifier: MIT */
/* The files of patterns: lines of a word and its argument, and `include`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/installed.h"
#include "backends/base/memory.h"
#include "backends/crash/patterns_build.h"

/* One file that is being read. */
struct source {
	const char *file;
	unsigned depth;
	struct patterns_builder *builder;
};

static int read_file(const struct source *source, struct poolfs_err *err);

/* Takes a word and the spaces behind it from the front of *text. */
static bool take_word(const char **text, const char *word)
{
	size_t size = strlen(word);

	if (strncmp(*text, word, size) != 0 || !strchr(" \t", (*text)[size]) || !(*text)[size])
		return false;
	*text += size + strspn(*text + size, " \t");
	return true;
}

/* fatal, report */
static int take_rule(const struct source *source, int class, const char *argument,
	struct poolfs_err *err)
{
	bool stamped = false, joins = false;

	while (true) {
		if (take_word(&argument, "stamped"))
			stamped = true;
		else if (take_word(&argument, "joins"))
			joins = true;
		else
			break;
	}
	return patterns_add_rule(source->builder, (enum crash_class)class, stamped, joins, argument,
		err);
}

/* with */
static int take_with(const struct source *source, int unused, const char *argument,
	struct poolfs_err *err)
{
	return patterns_add_with(source->builder, argument, err);
}

/* title */
static int take_title(const struct source *source, int unused, const char *argument,
	struct poolfs_err *err)
{
	return patterns_add_title(source->builder, argument, err);
}

/* except, part, ... */
static int take_list(const struct source *source, int list, const char *argument,
	struct poolfs_err *err)
{
	return patterns_add_list(source->builder, (enum patterns_list)list, argument, err);
}

/* include: a relative name begins at the directory of the file that it stands in */
static int take_include(const struct source *source, int unused, const char *argument,
	struct poolfs_err *err)
{
	const char *slash = strrchr(source->file, '/');
	int length = *argument != '/' && slash ? (int)(slash + 1 - source->file) : 0;
	char *file = memory_format("%.*s%s", length, source->file, argument);
	struct source inner = { file, source->depth + 1, source->builder };
	int result = inner.depth > PATTERNS_DEPTH_MAX ?
		poolfs_err_set(err, -ELOOP, "files are included more than %d deep",
			PATTERNS_DEPTH_MAX) : read_file(&inner, err);

	free(file);
	return result;
}

static const struct {
	const char *word;
	int (*take)(const struct source *source, int value, const char *argument,
		struct poolfs_err *err);
	int value;
} words[] = {
	{ "fatal", take_rule, CRASH_FATAL },
	{ "report", take_rule, CRASH_REPORT },
	{ "with", take_with },
	{ "title", take_title },
	{ "except", take_list, PATTERNS_EXCEPT },
	{ "part", take_list, PATTERNS_PART },
	{ "frame", take_list, PATTERNS_FRAME },
	{ "end", take_list, PATTERNS_END },
	{ "last", take_list, PATTERNS_LAST },
	{ "skip", take_list, PATTERNS_SKIP },
	{ "include", take_include },
};
#define WORDS (sizeof(words) / sizeof(*words))

/* Takes one line without its newline. */
static int take_line(const struct source *source, char *line, struct poolfs_err *err)
{
	const char *argument = line + strspn(line, " \t");
	size_t size = strlen(line);

	while (size > 0 && strchr(" \t\r", line[size - 1]))
		line[--size] = '\0';
	if (!*argument || *argument == '#')
		return 0;
	const char *word = argument;
	for (size_t i = 0; i < WORDS; i++)
		if (take_word(&argument, words[i].word))
			return words[i].take(source, words[i].value, argument, err);
	for (size_t i = 0; i < WORDS; i++)
		if (strcmp(word, words[i].word) == 0)
			return poolfs_err_set(err, -EINVAL, "\"%s\" needs something behind it", word);
	return poolfs_err_set(err, -EINVAL, "\"%.*s\" is none of the words that a line begins with: "
		"fatal, report, with, title, except, part, frame, end, last, skip, include",
		(int)(strcspn(word, " \t") > 40 ? 40 : strcspn(word, " \t")), word);
}

/* Takes all lines of a file. */
static int take_lines(const struct source *source, char *text, size_t size, struct poolfs_err *err)
{
	char *end = text + size;
	unsigned number = 0;
	int result = 0;

	for (char *line = text, *next; line < end && result == 0; line = next) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		char *stop = newline ? newline : end;

		number++;
		next = stop + 1;
		*stop = '\0';
		if (stop - line > PATTERNS_LINE_MAX)
			result = poolfs_err_set(err, -EINVAL, "the line is longer than %d bytes",
				PATTERNS_LINE_MAX);
		else if (strlen(line) != (size_t)(stop - line))
			result = poolfs_err_set(err, -EINVAL, "there is a NUL byte; this is no text");
		else
			result = take_line(source, line, err);
		/* An included file has told its own place. */
		if (result < 0)
			poolfs_err_prefix(err, "%s:%u", source->file, number);
	}
	return result;
}

/* Reads a whole regular file; *text has a byte more than *size. */
static int load(const char *file, char **text, size_t *size, struct poolfs_err *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat stat_;

	if (fd < 0 || fstat(fd, &stat_) < 0) {
		int result = poolfs_err_set(err, -errno, "%s: %s", file, strerror(errno));
		if (fd >= 0)
			close(fd);
		return result;
	}
	int result = 0;
	if (!S_ISREG(stat_.st_mode) || stat_.st_size > PATTERNS_FILE_MAX)
		result = poolfs_err_set(err, -EINVAL, "%s: is not a file of patterns: %s", file,
			S_ISREG(stat_.st_mode) ? "too long" : "not a regular file");
	*text = result == 0 ? memory_new((size_t)stat_.st_size + 1) : NULL;
	*size = 0;
	for (ssize_t got = 1; result == 0 && got > 0 && *size < (size_t)stat_.st_size; ) {
		got = read(fd, *text + *size, (size_t)stat_.st_size - *size);
		if (got < 0)
			result = poolfs_err_set(err, -errno, "%s: %s", file, strerror(errno));
		else
			*size += (size_t)got;
	}
	close(fd);
	return result;
}

/* Reads one file, and those that it includes. */
static int read_file(const struct source *source, struct poolfs_err *err)
{
	char *text = NULL;
	size_t size = 0;
	int result = load(source->file, &text, &size, err);

	if (result == 0)
		result = take_lines(source, text, size, err);
	free(text);
	return result;
}

/* Reads all. */
int patterns_load(const char *file, const char *fallback, struct patterns **patterns,
	struct poolfs_err *err)
{
	struct source source = { .file = file, .builder = patterns_builder_new() };
	int result = file ? read_file(&source, err) : 0;

	if (result == 0 && fallback) {
		source.file = fallback;
		result = read_file(&source, err);
	}
	if (result == 0) {
		result = patterns_build(source.builder, patterns, err);
		if (result < 0)
			poolfs_err_prefix(err, "%s", file ? file : fallback);
	}
	patterns_builder_free(source.builder);
	return result;
}

/* Looks for the installed file: in a build directory, config/ is beside the programs. */
char *patterns_default(void)
{
	static const char *const places[] = { "config/crash.patterns",
		POOLFS_DATA_FROM_BIN "/crash.patterns", POOLFS_DATA_FROM_LIBEXEC "/crash.patterns", NULL };

	return installed_find(places, POOLFS_DATADIR "/crash.patterns");
}
