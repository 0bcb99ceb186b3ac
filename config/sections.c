/* SPDX-License-Identifier: MIT */
/*
 * inih reads lines through our reader, which looks at each of them first and gives
 * inih an empty one in place of a wrong one. It is needed because inih
 * - cuts lines at a length that was chosen when it was built, and takes the rest for another line;
 * - keeps 49 bytes of a section's name;
 * - takes an indented line for one more value of the key before it;
 * - ignores what follows the ']' of a section;
 * - reports only the first of the lines that it does not understand.
 */
#include "config/sections.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "config/complaints.h"

/* Larger files are no configuration. */
#define FILE_MAX (1 << 20)
/* The longest line where inih lets us choose. */
#define LINE_LENGTH 8192
/* A line's end, "\r\n" and the NUL, counts for inih. */
#define LINE_END 3

struct reader {
	struct sections *sections;
	struct complaints *complaints;
	const char *at, *end;		/* what is left of the file */
	int line;			/* that inih has now; the first is 1 */
	bool comment;			/* the line has one behind its value */
};

/* Complains about the line that inih would have now. */
static void refuse(struct reader *reader, const char *text)
{
	struct sections *sections = reader->sections;

	complaints_add(reader->complaints, reader->line, NULL, "%s", text);
	if (sections->count)
		sections->list[sections->count - 1].incomplete = true;
}

/* Starts a section. */
static void add_section(struct reader *reader, const char *name, size_t length)
{
	struct sections *sections = reader->sections;

	sections->list = memory_grow(sections->list,
		(sections->count + 1) * sizeof(*sections->list));
	sections->list[sections->count++] = (struct section){
		.name = memory_format("%.*s", (int)length, name),
		.line = reader->line,
	};
}

/* Whether text, which follows a value or a section, is no more than a comment. */
static bool is_comment(const char *text)
{
	const char *first = text + strspn(text, " \t\r");

	return !*first || (*first == ';' && first > text);
}

/* Looks at a "[section]" line; false: refused. */
static bool check_section(struct reader *reader, const char *line)
{
	const char *name = line + 1 + strspn(line + 1, " \t");
	size_t length = strcspn(name, "]");
	const char *close = name + length;

	/* What follows belongs to a section, even to a wrong one. */
	while (length && strchr(" \t", name[length - 1]))
		length--;
	add_section(reader, name, length);
	if (*close && is_comment(close + 1))
		return true;
	refuse(reader, *close ? "something follows the \"]\": begin a new line after it" :
		"the section has no \"]\": write [poolfs] or [pool NAME]");
	return false;
}

/* Looks at a "key = value" line; false: refused. */
static bool check_item(struct reader *reader, const char *line)
{
	size_t key = strcspn(line, "=:");
	const char *comment = strpbrk(line, " \t");

	while (comment && comment[1] != ';')
		comment = strpbrk(comment + 1, " \t");
	reader->comment = comment != NULL;
	if (key && line[key] && (!comment || comment > line + key))
		return true;
	refuse(reader, key || !line[key] ?
		"neither a section nor a key: write \"KEY = VALUE\" on one line" :
		"no key before the \"=\": write \"KEY = VALUE\"");
	return false;
}

/* The length of the UTF-8 character at text, 0 when it is none or a control character. */
static size_t character(const unsigned char *text, size_t left)
{
	size_t length = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;

	if (text[0] < 0x80)
		return text[0] < 0x20 ? text[0] == '\t' : text[0] != 0x7f;
	if (text[0] < 0xc2 || text[0] > 0xf4 || length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	/* Longer forms than needed, surrogates, beyond U+10FFFF, C1 controls. */
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f) ||
	    (text[0] == 0xc2 && text[1] < 0xa0))
		return 0;
	return length;
}

/* Whether the line is text; false: refused. */
static bool check_text(struct reader *reader, const char *line, size_t length)
{
	for (size_t at = 0; at < length;) {
		size_t step = character((const unsigned char *)line + at, length - at);

		if (!step) {
			char *what = memory_format("byte %zu (\\x%02x) is no text: save the file "
				"as UTF-8 without control characters", at + 1,
				(unsigned char)line[at]);
			refuse(reader, what);
			free(what);
			return false;
		}
		at += step;
	}
	return true;
}

/* Looks at one line, without its end; false: refused, or nothing in it. */
static bool check_line(struct reader *reader, const char *line, size_t length, size_t longest)
{
	size_t indent = strspn(line, " \t");

	if (!check_text(reader, line, length))
		return false;
	if (!line[indent] || strchr(";#", line[indent]))
		return false;
	if (indent) {
		refuse(reader, "the line is indented: write a key or a section at the beginning of "
			"the line, and a value on one line");
		return false;
	}
	if (length > longest) {
		char *what = memory_format("the line is too long: %zu bytes at most", longest);
		refuse(reader, what);
		free(what);
		return false;
	}
	return line[0] == '[' ? check_section(reader, line) : check_item(reader, line);
}

/* Takes the next line off the file; the caller frees it. NULL at the end. */
static char *next_line(struct reader *reader, size_t *length)
{
	if (reader->at == reader->end)
		return NULL;
	const char *from = reader->at;
	const char *end = memchr(from, '\n', (size_t)(reader->end - from));

	reader->at = end ? end + 1 : reader->end;
	if (!end)
		end = reader->end;
	reader->line++;
	if (reader->line == 1 && end - from >= 3 && memcmp(from, "\xef\xbb\xbf", 3) == 0)
		from += 3;
	if (end > from && end[-1] == '\r')
		end--;
	*length = (size_t)(end - from);
	char *line = memory_new(*length + 1);
	memcpy(line, from, *length);
	return line;
}

/* inih's reader: gives the next line, an empty one in place of a wrong one. */
static char *read_line(char *out, int size, void *data)
{
	struct reader *reader = data;
	size_t length;
	char *line = next_line(reader, &length);

	if (!line)
		return NULL;
	strcpy(out, "\n");
	if (check_line(reader, line, length, (size_t)size - LINE_END)) {
		memcpy(out, line, length);
		strcpy(out + length, "\n");
	}
	free(line);
	return out;
}

/* inih's handler: keeps one key. inih's own name of the section may be cut. */
static int keep_item(void *data, const char *cut, const char *key, const char *value)
{
	struct reader *reader = data;

	(void)cut;
	if (!reader->sections->count) {
		complaints_add(reader->complaints, reader->line, key, "stands before the first "
			"section: write [poolfs] or [pool NAME] above it");
		return 1;
	}
	struct section *section = &reader->sections->list[reader->sections->count - 1];
	section->items = memory_grow(section->items,
		(section->count + 1) * sizeof(*section->items));
	section->items[section->count++] = (struct section_item){
		.key = memory_string(key),
		.value = memory_string(value),
		.line = reader->line,
		.comment = reader->comment,
	};
	return 1;
}

/* Opens a regular file without waiting for one that is not. */
static int open_file(const char *file, struct stat *info, struct complaints *complaints)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int result = 0;

	if (fd < 0) {
		result = -errno;
		complaints_add(complaints, 0, NULL, "cannot be read: %s", strerror(errno));
		return result;
	}
	if (fstat(fd, info) < 0) {
		result = -errno;
		complaints_add(complaints, 0, NULL, "cannot be read: %s", strerror(errno));
	} else if (!S_ISREG(info->st_mode)) {
		result = S_ISDIR(info->st_mode) ? -EISDIR : -EINVAL;
		complaints_add(complaints, 0, NULL, "%s: give a configuration file",
			S_ISDIR(info->st_mode) ? "a directory" : "not a regular file");
	} else if (info->st_size > FILE_MAX) {
		result = -EFBIG;
		complaints_add(complaints, 0, NULL, "too large for a configuration: %d bytes at "
			"most", FILE_MAX);
	}
	if (result == 0)
		return fd;
	close(fd);
	return result;
}

/* Reads a whole file of at most FILE_MAX bytes into *data, which the caller frees. */
static ssize_t read_file(const char *file, char **data, mode_t *mode,
	struct complaints *complaints)
{
	struct stat info;
	int fd = open_file(file, &info, complaints);
	ssize_t size = 0, got = 1;

	if (fd < 0)
		return fd;
	*mode = info.st_mode & 07777;
	*data = memory_new(FILE_MAX);
	while (got > 0 && size < FILE_MAX) {
		got = read(fd, *data + size, (size_t)(FILE_MAX - size));
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			size += got;
	}
	if (got < 0) {
		size = -errno;
		complaints_add(complaints, 0, NULL, "cannot be read: %s", strerror(errno));
	}
	close(fd);
	return size;
}

/* Reads and splits a file. */
int sections_read(struct sections *sections, const char *file, struct complaints *complaints)
{
	char *data = NULL;
	ssize_t size = read_file(file, &data, &sections->mode, complaints);

	if (size < 0) {
		free(data);
		return (int)size;
	}
	struct reader reader = {
		.sections = sections,
		.complaints = complaints,
		.at = data,
		.end = data + size,
	};
#ifdef CONFIG_LINE_LENGTH
	ini_max_line = LINE_LENGTH;
#endif
	int wrong = ini_parse_stream(read_line, &reader, keep_item, &reader);
	if (wrong)
		complaints_add(complaints, wrong > 0 ? wrong : 0, NULL, "the line is not "
			"understood: write \"KEY = VALUE\", [poolfs] or [pool NAME]");
	free(data);
	return 0;
}

/* Frees. */
void sections_done(struct sections *sections)
{
	for (size_t i = 0; i < sections->count; i++) {
		struct section *section = &sections->list[i];

		for (size_t k = 0; k < section->count; k++) {
			free(section->items[k].key);
			free(section->items[k].value);
		}
		free(section->items);
		free(section->name);
	}
	free(sections->list);
	*sections = (struct sections){ 0 };
}

/* Finds the line of a key. */
int section_line(const struct section *section, const char *key)
{
	for (size_t i = 0; i < section->count; i++)
		if (strcmp(section->items[i].key, key) == 0)
			return section->items[i].line;
	return section->line;
}
