/* SPDX-License-Identifier: MIT */
/*
 * How the values of keys are written in a configuration file: text to number, words
 * and paths, and numbers back to text. Errors say what would be right, without the
 * key's name. No I/O; any thread.
 */
#ifndef BASE_NOTATION_H
#define BASE_NOTATION_H

#include "backends/backend.h"

/* BOOL, INT, SIZE and SECONDS, within the key's bounds. -EINVAL with err. */
int notation_number(const struct poolfs_key *key, const char *text, int64_t *number,
	struct poolfs_err *err);
/* Whether the key has a lower or upper bound. */
bool notation_bounded(const struct poolfs_key *key);
/* A number in the notation that notation_number reads, the shortest exact one: "64K", "1.5". */
void notation_format(enum poolfs_key_type type, int64_t number, char *out, size_t size);
/* "from 1 to 16" or "at least 1", for a bounded key. */
void notation_range(const struct poolfs_key *key, char *out, size_t size);

/* CHOICE. -EINVAL with err. */
int notation_choice(const struct poolfs_key *key, const char *text, struct poolfs_err *err);

/*
 * WORDS by the quoting rules of POSIX (Shell Command Language, 2.2), nothing expanded.
 * *words is an array ended by NULL; free it with notation_words_free.
 */
int notation_words(const char *text, char ***words, struct poolfs_err *err);
void notation_words_free(char **words);
/* The text that notation_words reads as these words; the caller frees it. */
char *notation_words_text(const char *const *words);

/*
 * An absolute path: ~/ is the home, a relative path starts at directory. "//" and "/./" go, ".."
 * stays, for what it means depends on links. The caller frees *path.
 */
int notation_path(const char *text, const char *directory, char **path, struct poolfs_err *err);

#endif
