/* SPDX-License-Identifier: MIT */
#include "backends/base/values.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/memory.h"
#include "backends/base/notation.h"

/* No line of a file and no message holds a longer value. */
#define VALUE_MAX 65536
/* Longer names are like none of ours. */
#define SIMILAR_MAX 63

/* Keys that are set of families, all together. */
#define MEMBERS_MAX 256

/* A key and what it was set to. */
struct value {
	const struct poolfs_key *key;
	const struct poolfs_key *family; /* NULL: a table has the key; else the key is our own */
	char *text;	/* as written, paths absolute; NULL: unset */
	char *program;	/* PROGRAM: where it was found, NULL before the first search */
	int64_t number;
	char **words;
};

struct poolfs_values {
	size_t count;
	struct value *list;		/* of the tables, then the members of families */
	size_t member_count, family_count;
	const struct poolfs_key **families;
};

static const char *const no_words[] = { NULL };

/* Enters a table's key. */
static void enter_key(struct poolfs_values *values, const struct poolfs_key *key)
{
	if (key->flags & POOLFS_KEY_FAMILY) {
		values->families = memory_grow(values->families,
			(values->family_count + 1) * sizeof(*values->families));
		values->families[values->family_count++] = key;
		return;
	}
	values->list = memory_grow(values->list, (values->count + 1) * sizeof(*values->list));
	values->list[values->count++] = (struct value){ .key = key };
}

/* Allocates values with every key unset. */
struct poolfs_values *values_new(const struct poolfs_key *const *tables)
{
	struct poolfs_values *values = memory_new(sizeof(*values));

	for (size_t i = 0; tables[i]; i++)
		for (const struct poolfs_key *key = tables[i]; key->name; key++)
			enter_key(values, key);
	return values;
}

/* Frees one value's memory; secrets do not stay in it. */
static void value_done(struct value *value)
{
	if (value->text && value->key->flags & POOLFS_KEY_SECRET)
		explicit_bzero(value->text, strlen(value->text));
	free(value->text);
	free(value->program);
	notation_words_free(value->words);
	if (value->family) {
		free((char *)value->key->name);
		free((struct poolfs_key *)value->key);
	}
}

/* Frees all. */
void values_free(struct poolfs_values *values)
{
	if (!values)
		return;
	for (size_t i = 0; i < values->count; i++)
		value_done(&values->list[i]);
	free(values->list);
	free(values->families);
	free(values);
}

/* Finds a value by its key's name. */
static struct value *find(const struct poolfs_values *values, const char *name)
{
	for (size_t i = 0; i < values->count; i++)
		if (strcmp(values->list[i].key->name, name) == 0)
			return (struct value *)&values->list[i];
	return NULL;
}

/* How long "PREFIX." is. */
static size_t prefix_length(const struct poolfs_key *family)
{
	return strcspn(family->name, ".") + 1;
}

/* The family of a name, or NULL. */
static const struct poolfs_key *find_family(const struct poolfs_values *values, const char *name)
{
	for (size_t i = 0; i < values->family_count; i++) {
		size_t length = prefix_length(values->families[i]);

		if (strncmp(name, values->families[i]->name, length) == 0 && name[length])
			return values->families[i];
	}
	return NULL;
}

/* Finds a declaration. */
const struct poolfs_key *values_key(const struct poolfs_values *values, const char *name)
{
	const struct value *value = find(values, name);

	return value ? value->key : find_family(values, name);
}

/* Makes a family's key of that name. */
static void add_member(struct poolfs_values *values, const struct poolfs_key *family, struct value *member,
	const char *name)
{
	struct poolfs_key *key = memory_new(sizeof(*key));

	*key = *family;
	key->name = memory_string(name);
	member->key = key;
	member->family = family;
	values->list = memory_grow(values->list, (values->count + 1) * sizeof(*values->list));
	values->list[values->count++] = *member;
	values->member_count++;
}

/* The smallest of three. */
static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* How many characters must be added, removed, changed or swapped with their neighbour. */
static size_t distance(const char *a, const char *b)
{
	size_t m = strlen(a), n = strlen(b);
	size_t rows[SIMILAR_MAX + 1][SIMILAR_MAX + 1];

	if (m > SIMILAR_MAX || n > SIMILAR_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i <= m; i++) {
		for (size_t k = 0; k <= n; k++) {
			if (!i || !k) {
				rows[i][k] = i + k;
				continue;
			}
			rows[i][k] = least(rows[i - 1][k] + 1, rows[i][k - 1] + 1,
				rows[i - 1][k - 1] + (a[i - 1] != b[k - 1]));
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
			    rows[i - 2][k - 2] + 1 < rows[i][k])
				rows[i][k] = rows[i - 2][k - 2] + 1;
		}
	}
	return rows[m][n];
}

/* Finds the most similar name, if any is close enough to have been meant. */
const char *values_similar(const struct poolfs_values *values, const char *name)
{
	size_t best = (strlen(name) + 2) / 3;
	const char *found = NULL;

	for (size_t i = 0; i < values->count; i++) {
		size_t far = distance(name, values->list[i].key->name);

		if (far < best || (far == best && !found)) {
			best = far;
			found = values->list[i].key->name;
		}
	}
	return found;
}

/* Reads a program and its arguments; the text is written anew, with the program's path. */
static int parse_command(struct value *value, const char *text, const char *directory, char **whole,
	struct poolfs_err *err)
{
	char **words, *path;
	int result = notation_words(text, &words, err);

	if (result < 0)
		return result;
	if (!words[0] || !words[0][0])
		result = poolfs_err_set(err, -EINVAL, "empty: write a program and its arguments");
	else if (strchr(words[0], '/') && (result = notation_path(words[0], directory, &path, err)) == 0) {
		free(words[0]);
		words[0] = path;
	}
	if (result < 0) {
		notation_words_free(words);
		return result;
	}
	value->words = words;
	*whole = notation_words_text((const char *const *)words);
	return 0;
}

/* Parses text into an unset value, which stays as it is on failure. */
static int parse(struct value *value, const char *text, const char *directory,
	struct poolfs_err *err)
{
	char *path = NULL;
	int result = 0;

	switch (value->key->type) {
	case POOLFS_STRING:
		break;
	case POOLFS_CHOICE:
		result = notation_choice(value->key, text, err);
		break;
	case POOLFS_WORDS:
		result = notation_words(text, &value->words, err);
		break;
	case POOLFS_COMMAND:
		result = parse_command(value, text, directory, &path, err);
		break;
	case POOLFS_PROGRAM:
		if (*text && !strchr(text, '/'))
			break;
		/* fall through */
	case POOLFS_PATH:
		result = notation_path(text, directory, &path, err);
		break;
	default:
		result = notation_number(value->key, text, &value->number, err);
	}
	if (result == 0)
		value->text = path ? path : memory_string(text);
	return result;
}

/* Sets a key once. */
int values_set(struct poolfs_values *values, const char *key, const char *text,
	const char *directory, struct poolfs_err *err)
{
	struct value *value = find(values, key);
	const struct poolfs_key *family = value ? NULL : find_family(values, key);
	struct value member = { .key = family };

	if (!value && !family)
		return poolfs_err_set(err, -ENOENT, "there is no such key");
	if (value && value->text)
		return poolfs_err_set(err, -EEXIST, "set before: write it once");
	if (strlen(text) > VALUE_MAX)
		return poolfs_err_set(err, -EINVAL, "too long: %d bytes at most", VALUE_MAX);
	if (value)
		return parse(value, text, directory, err);
	if (values->member_count == MEMBERS_MAX)
		return poolfs_err_set(err, -EINVAL, "too many keys like this: %d at most", MEMBERS_MAX);
	int result = parse(&member, text, directory, err);
	if (result == 0)
		add_member(values, family, &member, key);
	return result;
}

/* Applies the defaults. One that does not fit its type is a mistake in the table; a path may still
 * fail, where there is no home. */
void values_defaults(struct poolfs_values *values, const char *directory)
{
	for (size_t i = 0; i < values->count; i++) {
		struct value *value = &values->list[i];

		if (value->text || !value->key->fallback)
			continue;
		int result = parse(value, value->key->fallback, directory, NULL);
		assert(result == 0 || value->key->type == POOLFS_PATH ||
			value->key->type == POOLFS_PROGRAM);
	}
}

/* Whether path is a program that we may run. */
static bool runnable(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0 && S_ISREG(info.st_mode) &&
		faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* Searches a program's name in PATH as execvp(3) does; the caller frees the result. */
static char *search(const char *name)
{
	const char *at = getenv("PATH");

	if (!at)
		at = "/usr/local/bin:/usr/bin:/bin";
	for (;; at++) {
		size_t length = strcspn(at, ":");
		/* A relative directory would mean another program in each process. */
		char *path = *at == '/' ? memory_format("%.*s/%s", (int)length, at, name) : NULL;

		if (path && runnable(path))
			return path;
		free(path);
		at += length;
		if (!*at)
			return NULL;
	}
}

/* The absolute path of a program; the name itself where it is not found. */
static const char *program(struct value *value)
{
	if (strchr(value->text, '/'))
		return value->text;
	if (!value->program)
		value->program = search(value->text);
	return value->program ? value->program : value->text;
}

/* Checks a path that must be a readable file. */
static int check_file(const char *path, struct poolfs_err *err)
{
	struct stat info;

	if (stat(path, &info) < 0)
		return poolfs_err_set(err, -errno, "%s: %s: write the path of a file", path,
			strerror(errno));
	if (S_ISDIR(info.st_mode))
		return poolfs_err_set(err, -EISDIR, "%s is a directory: write the path of a file",
			path);
	if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0)
		return poolfs_err_set(err, -errno, "%s cannot be read: %s", path, strerror(errno));
	return 0;
}

/* Checks a program that must be found. */
static int check_program(struct value *value, struct poolfs_err *err)
{
	const char *path = program(value);

	if (!strchr(path, '/'))
		return poolfs_err_set(err, -ENOENT, "%s is not found in PATH: install it, or write "
			"its path", path);
	if (!runnable(path))
		return poolfs_err_set(err, -ENOENT, "%s is no program: write the path of one, or a "
			"name to look up in PATH", path);
	return 0;
}

/* Checks a command's program. */
static int check_command(struct value *value, struct poolfs_err *err)
{
	char *path = strchr(value->words[0], '/') ? memory_string(value->words[0]) : search(value->words[0]);
	int result = 0;

	if (!path)
		result = poolfs_err_set(err, -ENOENT, "%s is not found in PATH: install it, or write "
			"its path", value->words[0]);
	else if (access(path, F_OK) < 0)
		result = poolfs_err_set(err, -errno, "%s: %s: write the path of a program", path,
			strerror(errno));
	else if (!runnable(path))
		result = poolfs_err_set(err, -EACCES, "%s is no program that can be run: chmod +x, or "
			"write another path", path);
	free(path);
	return result;
}

/* Checks that a key's value can work. */
int values_check(const struct poolfs_values *values, const struct poolfs_key *key,
	struct poolfs_err *err)
{
	struct value *value = find(values, key->name);

	assert(value);
	if (!value->text)
		return key->flags & POOLFS_KEY_REQUIRED ?
			poolfs_err_set(err, -EINVAL, "missing: write \"%s = ...\"", key->name) : 0;
	if (!(key->flags & POOLFS_KEY_EXISTS))
		return 0;
	if (key->type == POOLFS_PATH)
		return check_file(value->text, err);
	if (key->type == POOLFS_PROGRAM)
		return check_program(value, err);
	if (key->type == POOLFS_COMMAND)
		return check_command(value, err);
	return 0;
}

/* Walks the keys. */
void values_each(const struct poolfs_values *values,
	void (*each)(void *data, const struct poolfs_key *key, const char *text), void *data)
{
	for (size_t i = 0; i < values->count; i++) {
		const struct value *value = &values->list[i];
		bool hide = value->text && value->key->flags & POOLFS_KEY_SECRET;

		each(data, value->key, hide ? "(secret)" : value->text);
	}
}

/* Makes the JSON object. */
json_t *values_to_json(const struct poolfs_values *values)
{
	json_t *object = json_object();

	for (size_t i = 0; i < values->count; i++) {
		struct value *value = (struct value *)&values->list[i];
		const char *text = value->text && value->key->type == POOLFS_PROGRAM ?
			program(value) : value->text;

		/* Bytes that are not UTF-8 cannot travel in JSON: json_string refuses them. */
		if (text && json_object_set_new(object, value->key->name, json_string(text)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

/* Reads the JSON object. */
struct poolfs_values *values_from_json(const struct poolfs_key *const *tables,
	const json_t *object, struct poolfs_err *err)
{
	struct poolfs_values *values = values_new(tables);
	const char *name;
	json_t *text;

	if (!json_is_object(object))
		goto misfit;
	json_object_foreach((json_t *)object, name, text) {
		const char *value = json_string_value(text);

		/* A value holds no NUL: it would be cut there. */
		if (!value || strlen(value) != json_string_length(text))
			goto misfit;
		if (values_set(values, name, value, "/", err) < 0) {
			poolfs_err_prefix(err, "%s", name);
			values_free(values);
			return NULL;
		}
	}
	return values;
misfit:
	poolfs_err_set(err, -EINVAL, "the configuration is not an object of strings");
	values_free(values);
	return NULL;
}

/* The value of a key that a backend asks for; a wrong name or type is the backend's mistake. */
static struct value *declared(const struct poolfs_values *values, const char *key, unsigned types)
{
	static struct value unset;
	struct value *value = find(values, key);
	const struct poolfs_key *declaration = value ? value->key : find_family(values, key);

	assert(declaration && (1u << declaration->type) & types);
	return value ? value : &unset;
}

/* Walks a family. */
const char *poolfs_member(const struct poolfs_values *values, const char *family, size_t index)
{
	for (size_t i = 0; i < values->count; i++)
		if (values->list[i].family && strcmp(values->list[i].family->name, family) == 0 && index-- == 0)
			return values->list[i].key->name;
	return NULL;
}

/* Tells whether a key has a value. */
bool poolfs_has(const struct poolfs_values *values, const char *key)
{
	return declared(values, key, ~0u)->text != NULL;
}

/* Gets a text. */
const char *poolfs_string(const struct poolfs_values *values, const char *key)
{
	struct value *value = declared(values, key, 1u << POOLFS_STRING | 1u << POOLFS_CHOICE |
		1u << POOLFS_PATH | 1u << POOLFS_PROGRAM);

	return value->text && value->key->type == POOLFS_PROGRAM ? program(value) : value->text;
}

/* Gets a number. */
int64_t poolfs_number(const struct poolfs_values *values, const char *key)
{
	return declared(values, key, 1u << POOLFS_BOOL | 1u << POOLFS_INT | 1u << POOLFS_SIZE |
		1u << POOLFS_SECONDS)->number;
}

/* Gets words. */
const char *const *poolfs_words(const struct poolfs_values *values, const char *key)
{
	struct value *value = declared(values, key, 1u << POOLFS_WORDS | 1u << POOLFS_COMMAND);

	return value->words ? (const char *const *)value->words : no_words;
}
