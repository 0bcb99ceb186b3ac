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

/* A key and what it was set to. */
struct value {
	const struct poolfs_key *key;
	char *text;	/* as written, paths absolute; NULL: unset */
	char *program;	/* PROGRAM: where it was found, NULL before the first search */
	int64_t number;
	char **words;
};

struct poolfs_values {
	size_t count;
	struct value list[];
};

static const char *const no_words[] = { NULL };

/* Counts the keys of the tables and, where values is not NULL, enters them. */
static size_t enter_keys(const struct poolfs_key *const *tables, struct poolfs_values *values)
{
	size_t count = 0;

	for (size_t i = 0; tables[i]; i++)
		for (const struct poolfs_key *key = tables[i]; key->name; key++, count++)
			if (values)
				values->list[count].key = key;
	return count;
}

/* Allocates values with every key unset. */
struct poolfs_values *values_new(const struct poolfs_key *const *tables)
{
	size_t count = enter_keys(tables, NULL);
	struct poolfs_values *values =
		memory_new(sizeof(*values) + count * sizeof(values->list[0]));

	values->count = enter_keys(tables, values);
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
}

/* Frees all. */
void values_free(struct poolfs_values *values)
{
	for (size_t i = 0; values && i < values->count; i++)
		value_done(&values->list[i]);
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

/* Finds a declaration. */
const struct poolfs_key *values_key(const struct poolfs_values *values, const char *name)
{
	const struct value *value = find(values, name);

	return value ? value->key : NULL;
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

	if (!value)
		return poolfs_err_set(err, -ENOENT, "there is no such key");
	if (value->text)
		return poolfs_err_set(err, -EEXIST, "set before: write it once");
	if (strlen(text) > VALUE_MAX)
		return poolfs_err_set(err, -EINVAL, "too long: %d bytes at most", VALUE_MAX);
	return parse(value, text, directory, err);
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
	struct value *value = find(values, key);

	assert(value && (1u << value->key->type) & types);
	return value;
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
	struct value *value = declared(values, key, 1u << POOLFS_WORDS);

	return value->words ? (const char *const *)value->words : no_words;
}
