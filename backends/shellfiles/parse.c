/* SPDX-License-Identifier: MIT */
#include "backends/shellfiles/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WORD_MAX 40u
#define NUMBER_MAX 20u		/* digits of UINT64_MAX */

/* ls tells the year of what is older than half a year or lies in the future, else the time of day. */
#define YEAR_DAYS 366

struct words {
	const char *at, *end;
};

static const struct {
	const char *name;
	int error;
} codes[] = {
	{ "0", 0 }, { "EACCES", -EACCES }, { "EEXIST", -EEXIST }, { "EINVAL", -EINVAL }, { "EIO", -EIO },
	{ "EISDIR", -EISDIR }, { "ELOOP", -ELOOP }, { "ENOSYS", -ENOSYS }, { "ENOTDIR", -ENOTDIR },
	{ "ENXIO", -ENXIO }, { "EOPNOTSUPP", -EOPNOTSUPP }, { "EPERM", -EPERM }, { "ESTALE", -ESTALE },
	{ "EXDEV", -EXDEV }, { "EFBIG", -EFBIG },
};

/* strerror(3) in the locale C of glibc, musl and the BSDs, and what dash, bash and busybox say
 * instead. They stand at the end of a line. */
static const struct {
	const char *text;
	int error;
} messages[] = {
	{ "No such file or directory", -ENOENT },
	{ "Directory nonexistent", -ENOENT },
	{ "nonexistent directory", -ENOENT },
	{ "No such file", -ENOENT },
	{ "no such file", -ENOENT },
	{ "Not a directory", -ENOTDIR },
	{ "Is a directory", -EISDIR },
	{ "File exists", -EEXIST },
	{ "file exists", -EEXIST },
	{ "cannot overwrite existing file", -EEXIST },
	{ "Permission denied", -EACCES },
	{ "Operation not permitted", -EPERM },
	{ "No space left on device", -ENOSPC },
	{ "Disk quota exceeded", -EDQUOT },
	{ "Disc quota exceeded", -EDQUOT },
	{ "Quota exceeded", -EDQUOT },
	{ "Read-only file system", -EROFS },
	{ "File name too long", -ENAMETOOLONG },
	{ "Filename too long", -ENAMETOOLONG },
	{ "Too many levels of symbolic links", -ELOOP },
	{ "Symbolic link loop", -ELOOP },
	{ "Directory not empty", -ENOTEMPTY },
	{ "Text file busy", -ETXTBSY },
	{ "Invalid argument", -EINVAL },
	{ "Too many links", -EMLINK },
	{ "File too large", -EFBIG },
	{ "Device or resource busy", -EBUSY },
	{ "Resource busy", -EBUSY },
	{ "Device busy", -EBUSY },
	{ "Invalid cross-device link", -EXDEV },
	{ "Cross-device link", -EXDEV },
	{ "Stale file handle", -ESTALE },
	{ "No such device or address", -ENXIO },
	{ "Cannot allocate memory", -ENOMEM },
	{ "Out of memory", -ENOMEM },
	{ "Operation not supported", -EOPNOTSUPP },
	{ "Not supported", -EOPNOTSUPP },
	{ "Function not implemented", -EOPNOTSUPP },
	{ "not found", -EOPNOTSUPP },
	{ "invalid option", -EOPNOTSUPP },
};

/* Takes the next word of a line, which a blank or the line's end follows. */
static bool take_word(struct words *words, char word[WORD_MAX])
{
	size_t size = 0;

	while (words->at < words->end && *words->at == ' ')
		words->at++;
	while (words->at < words->end && *words->at != ' ' && *words->at != '\n') {
		if (size == WORD_MAX - 1 || !*words->at)
			return false;
		word[size++] = *words->at++;
	}
	word[size] = '\0';
	return size > 0;
}

/* A number in that base, of digits only. */
static bool to_number(const char *word, int base, uint64_t *number)
{
	const char *digits = base == 8 ? "01234567" : base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
	size_t size = strlen(word);

	if (!size || size > NUMBER_MAX || strspn(word, digits) != size)
		return false;
	errno = 0;
	*number = strtoull(word, NULL, base);
	return errno == 0;
}

/* The next word is a number. */
static bool take_number(struct words *words, int base, uint64_t *number)
{
	char word[WORD_MAX];

	return take_word(words, word) && to_number(word, base, number);
}

/* One that fits into 32 bits. */
static bool take_small(struct words *words, uint32_t *number)
{
	uint64_t wide;

	if (!take_number(words, 10, &wide) || wide > UINT32_MAX)
		return false;
	*number = (uint32_t)wide;
	return true;
}

/* Seconds since 1970; times before count as 1970. */
static bool take_time(struct words *words, int64_t *seconds)
{
	char word[WORD_MAX];
	uint64_t number = 0;

	if (!take_word(words, word))
		return false;
	char *dot = strchr(word, '.');
	if (dot)
		*dot = '\0';
	if (word[0] != '-' && !to_number(word, 10, &number))
		return false;
	*seconds = number > UINT32_MAX ? UINT32_MAX : (int64_t)number;
	return true;
}

/* The three times three letters of ls. What is not shown is the sticky bit's 't' and 'T'. */
static uint32_t mode_of_letters(const char *letters)
{
	static const char types[] = "-dlpsbc";
	static const uint32_t modes[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFBLK, S_IFCHR };
	const char *type = strchr(types, letters[0]);
	uint32_t mode = 0;

	if (!letters[0] || !type || strlen(letters) < 10)
		return 0;
	for (int i = 0; i < 9; i++)
		if (strchr("rwxst", letters[1 + i]))
			mode |= 0400u >> i;
	if (letters[9] == 't' || letters[9] == 'T')
		mode |= 01000;
	return modes[type - types] | mode;
}

/* Whether a mode's type is one that Linux knows. */
static bool type_known(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode) ||
	       S_ISCHR(mode) || S_ISBLK(mode);
}

/* The mode, as stat's raw one or as ls' letters. */
static bool take_mode(struct words *words, bool by_ls, uint32_t *mode)
{
	char word[WORD_MAX];
	uint64_t raw;

	if (!take_word(words, word))
		return false;
	if (by_ls)
		raw = mode_of_letters(word);
	else if (!to_number(word, 16, &raw))
		return false;
	*mode = (uint32_t)raw & (S_IFMT | 01777);
	return type_known(*mode);
}

/* Seconds since 1970 of a day's minute. */
static int64_t seconds_of(int year, int month, int day, int minute)
{
	struct tm tm = { .tm_year = year - 1900, .tm_mon = month, .tm_mday = day, .tm_min = minute };
	int64_t seconds = timegm(&tm);

	return seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : seconds;
}

/* ls' month, day, and year or time of day: what has a time of day and would lie in the future is a year
 * older. */
static bool take_date(struct words *words, int64_t now, int64_t *seconds)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char month[WORD_MAX], word[WORD_MAX];
	unsigned hour, minute, year;
	uint64_t day;
	time_t today = (time_t)now;
	struct tm tm;
	int end = 0;

	if (!take_word(words, month) || !take_number(words, 10, &day) || !take_word(words, word))
		return false;
	const char *found = strlen(month) == 3 ? strstr(months, month) : NULL;
	if (!found || (found - months) % 3 || day < 1 || day > 31)
		return false;
	int number = (int)(found - months) / 3;
	if (sscanf(word, "%2u:%2u%n", &hour, &minute, &end) == 2 && !word[end] && hour < 24 && minute < 60) {
		gmtime_r(&today, &tm);
		*seconds = seconds_of(tm.tm_year + 1900, number, (int)day, (int)(hour * 60 + minute));
		if (*seconds > now + YEAR_DAYS / 2 * 86400)
			*seconds = seconds_of(tm.tm_year + 1899, number, (int)day, (int)(hour * 60 + minute));
		return true;
	}
	if (sscanf(word, "%4u%n", &year, &end) != 1 || word[end])
		return false;
	*seconds = seconds_of((int)year, number, (int)day, 0);
	return true;
}

/* Attributes. */
int parse_attr(const struct parse_hello *hello, const char *bytes, size_t size, struct parse_file *file,
	size_t *used)
{
	struct words words = { bytes, bytes + size };
	struct parse_file got = { .attr.valid = FILE_ATTR_SIZE | FILE_ATTR_OWNER | FILE_ATTR_MODE |
						FILE_ATTR_TIMES };

	if (!take_number(&words, 10, &got.device) || !take_number(&words, 10, &got.inode) ||
		!take_mode(&words, hello->by_ls, &got.attr.mode) ||
		!take_number(&words, 10, &got.attr.size) || !take_small(&words, &got.attr.uid) ||
		!take_small(&words, &got.attr.gid) || !take_small(&words, &got.attr.nlink))
		return -EIO;
	if (got.attr.size > INT64_MAX)
		got.attr.size = INT64_MAX;
	if (hello->by_ls) {
		if (!take_date(&words, hello->now, &got.attr.mtime))
			return -EIO;
		got.attr.atime = got.attr.mtime;
	} else if (!take_time(&words, &got.attr.atime) || !take_time(&words, &got.attr.mtime)) {
		return -EIO;
	}
	if (words.at == words.end || *words.at != ' ')
		return -EIO;
	*file = got;
	*used = (size_t)(words.at + 1 - bytes);
	return 0;
}

/* Attributes with a name that is known. */
int parse_named(const struct parse_hello *hello, const char *bytes, size_t size, const char *path,
	struct parse_file *file, size_t *used)
{
	const char *name = *path ? path : ".";
	size_t at, length = strlen(name);
	struct parse_file got;

	if (parse_attr(hello, bytes, size, &got, &at) < 0)
		return -EIO;
	if (size - at < length + 4 || memcmp(bytes + at, "./", 2) != 0 ||
		memcmp(bytes + at + 2, name, length) != 0 || memcmp(bytes + at + 2 + length, "/\n", 2) != 0)
		return -EIO;
	*file = got;
	*used = at + length + 4;
	return 0;
}

/* The line at words, as a string. */
static bool take_line(struct words *words, char *line, size_t room)
{
	const char *end = memchr(words->at, '\n', (size_t)(words->end - words->at));
	size_t size = end ? (size_t)(end - words->at) : 0;

	if (!end || size >= room || memchr(words->at, '\0', size))
		return false;
	memcpy(line, words->at, size);
	line[size] = '\0';
	words->at = end + 1;
	return true;
}

/* The rest but its newline is the root's path, in which any byte may be. */
static bool take_path(struct words *words, char path[FILES_PATH_MAX + 1])
{
	size_t size = (size_t)(words->end - words->at);

	if (size < 2 || words->at[0] != '/' || words->end[-1] != '\n')
		return false;
	if (--size > FILES_PATH_MAX || memchr(words->at, '\0', size))
		return false;
	memcpy(path, words->at, size);
	path[size] = '\0';
	return true;
}

/* The first answer. Its first line is "." in a form that depends on the tools, which come later. */
int parse_hello(const char *bytes, size_t size, struct parse_hello *hello)
{
	struct words words = { bytes, bytes + size };
	struct parse_hello got = { 0 };
	char root[256], mask[WORD_MAX], date[WORD_MAX];
	int year, month, day, hour, minute, end = 0;
	size_t used;
	uint64_t number;

	if (!take_line(&words, root, sizeof(root)) || !take_line(&words, mask, sizeof(mask)) ||
		!take_line(&words, got.tools, sizeof(got.tools)) ||
		!take_line(&words, date, sizeof(date)) || !take_path(&words, got.path))
		return -EIO;
	got.by_ls = !strncmp(got.tools, "ls ", 3);
	/* "... R K Y" */
	size_t length = strlen(got.tools);
	if (length < 6)
		return -EIO;
	got.links_by_ls = got.tools[length - 5] == '0';
	if (!to_number(mask, 8, &number) || number > 0777 ||
		sscanf(date, "%4d %2d %2d %2d %2d%n", &year, &month, &day, &hour, &minute, &end) != 5 ||
		date[end] || year < 1970 || month < 1 || month > 12)
		return -EIO;
	got.umask = (unsigned)number;
	got.now = seconds_of(year, month - 1, day, hour * 60 + minute);
	if (parse_attr(&got, root, strlen(root), &got.root, &used) < 0)
		return -EIO;
	*hello = got;
	return 0;
}

/* df -P: the last line's numbers stand before the word that ends with '%'. */
static bool parse_df(const char *bytes, size_t size, struct file_statfs *statfs)
{
	char line[512], word[WORD_MAX];
	struct words words = { bytes, bytes + size };
	uint64_t numbers[3] = { 0 }, number;

	if (!take_line(&words, line, sizeof(line)))
		return false;
	while (words.at < words.end && *words.at != '\n') {
		const char *before = words.at;

		if (!take_word(&words, word)) {
			words.at += words.at == before;
			continue;
		}
		if (word[strlen(word) - 1] == '%') {
			*statfs = (struct file_statfs){ .block_size = 1024, .blocks = numbers[0],
				.blocks_free = numbers[2], .blocks_available = numbers[2],
				.name_max = FILES_NAME_MAX };
			return true;
		}
		numbers[0] = numbers[1];
		numbers[1] = numbers[2];
		numbers[2] = to_number(word, 10, &number) ? number : 0;
	}
	return false;
}

/* A filesystem's numbers. */
int parse_statfs(const char *bytes, size_t size, struct file_statfs *statfs)
{
	struct words words = { bytes, bytes + size };
	struct file_statfs got = { 0 };

	if (!take_number(&words, 10, &got.block_size) || !take_number(&words, 10, &got.blocks) ||
		!take_number(&words, 10, &got.blocks_free) ||
		!take_number(&words, 10, &got.blocks_available) || !take_number(&words, 10, &got.files) ||
		!take_number(&words, 10, &got.files_free) || !take_number(&words, 10, &got.name_max)) {
		got = (struct file_statfs){ 0 };
		if (!parse_df(bytes, size, &got))
			return -EIO;
	}
	if (got.block_size == 0 || got.block_size > 1u << 30)
		return -EIO;
	if (got.name_max > FILES_NAME_MAX)
		got.name_max = FILES_NAME_MAX;
	*statfs = got;
	return 0;
}

/* The errno of one line; 0: it is none. */
static int line_error(const char *line, size_t size)
{
	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++) {
		size_t length = strlen(messages[i].text);

		if (size >= length && !memcmp(line + size - length, messages[i].text, length))
			return messages[i].error;
	}
	return 0;
}

/* The first line that tells a reason. */
static int message_error(const char *bytes, size_t size)
{
	const char *end = bytes + size;

	while (bytes < end) {
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
		const char *stop = newline ? newline : end;
		int error = line_error(bytes, (size_t)(stop - bytes));

		if (error)
			return error;
		bytes = stop + 1;
	}
	return -EIO;
}

/* The end of an answer. */
int parse_code(const char *code, const char *bytes, size_t size)
{
	if (!strcmp(code, "m"))
		return message_error(bytes, size);
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (!strcmp(code, codes[i].name))
			return codes[i].error;
	return -EIO;
}
