/* SPDX-License-Identifier: MIT */
/*
 * The owner's side of `struct poolfs_values`: the typed values of the keys of some
 * tables (see backend.h for the notation of each type). Filled from a configuration
 * file by config/, carried to the shim as JSON. No I/O but what *_check says.
 */
#ifndef BASE_VALUES_H
#define BASE_VALUES_H

#include "backends/backend.h"

struct json_t;

/* All keys unset. tables ends with NULL; the tables must outlive the values. */
struct poolfs_values *values_new(const struct poolfs_key *const *tables);
void values_free(struct poolfs_values *values);

/* The key's declaration, or NULL when no table has it. Of a family's key that is not set, the family's. */
const struct poolfs_key *values_key(const struct poolfs_values *values, const char *name);
/* The names most like `name`, for "did you mean": one of the tables' names, or NULL. */
const char *values_similar(const struct poolfs_values *values, const char *name);

/*
 * Parses text and sets the key. directory is what relative paths start from.
 * -ENOENT: no such key; -EEXIST: was set before; -EINVAL: the text does not fit the type,
 * err says what would be right (without the key's name).
 */
int values_set(struct poolfs_values *values, const char *key, const char *text,
	const char *directory, struct poolfs_err *err);

/* Gives unset keys their defaults. Call it once, after the last values_set. */
void values_defaults(struct poolfs_values *values, const char *directory);

/*
 * Looks whether one key's value can work: required and missing, a file that does not exist or
 * cannot be read, a program that is not found. Reads metadata of files.
 */
int values_check(const struct poolfs_values *values, const struct poolfs_key *key,
	struct poolfs_err *err);

/* Calls each(data, key, text) for every declared key in the tables' order; text is the value as it
 * would be written in the file (NULL: unset; a secret's is "(secret)"). */
void values_each(const struct poolfs_values *values,
	void (*each)(void *data, const struct poolfs_key *key, const char *text), void *data);

/* An object of strings (paths absolute), and back; the caller owns the results. values_from_json
 * returns NULL with err set when the object does not fit the tables; values_to_json returns NULL
 * when a value is not UTF-8. */
struct json_t *values_to_json(const struct poolfs_values *values);
struct poolfs_values *values_from_json(const struct poolfs_key *const *tables,
	const struct json_t *object, struct poolfs_err *err);

#endif
