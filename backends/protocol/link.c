/* SPDX-License-Identifier: MIT */
#include "backends/protocol/link.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/*
 * A folded path: `up` times "..", then names joined by '/'. As no ".." follows a
 * name, a name that is itself a link cannot turn the path outwards: that link's
 * own target went through here too.
 */
struct folded {
	size_t up;
	bool inner;			/* a ".." stood behind a name */
	size_t length;
	char names[FILES_PATH_MAX + 1];
};

/* Takes the last name away; false when there is none. */
static bool fold_pop(struct folded *folded)
{
	if (!folded->length)
		return false;
	while (folded->length && folded->names[folded->length - 1] != '/')
		folded->length--;
	if (folded->length)
		folded->length--;
	return true;
}

/* Adds one component. */
static void fold_component(struct folded *folded, const char *name, size_t length, bool absolute)
{
	if (length == 0 || (length == 1 && name[0] == '.'))
		return;
	if (length == 2 && name[0] == '.' && name[1] == '.') {
		if (fold_pop(folded))
			folded->inner = true;
		else if (!absolute)
			folded->up++;
		return;
	}
	if (folded->length)
		folded->names[folded->length++] = '/';
	memcpy(folded->names + folded->length, name, length);
	folded->length += length;
}

/* Folds a target of at most FILES_PATH_MAX bytes; the result is never longer than it. */
static void fold(struct folded *folded, const char *target, size_t size)
{
	bool absolute = target[0] == '/';
	size_t start = 0;

	folded->up = 0;
	folded->inner = false;
	folded->length = 0;
	for (size_t i = 0; i <= size; i++) {
		if (i < size && target[i] != '/')
			continue;
		fold_component(folded, target + start, i - start, absolute);
		start = i + 1;
	}
	folded->names[folded->length] = '\0';
}

/* The names of a folded absolute path that follow root, or NULL when it lies elsewhere. */
static const char *below(const char *root, const struct folded *folded)
{
	size_t length = strlen(root + 1);

	if (length == 0)
		return folded->names;
	if (folded->length < length || memcmp(folded->names, root + 1, length) != 0)
		return NULL;
	if (folded->names[length] == '/')
		return folded->names + length + 1;
	return folded->names[length] ? NULL : folded->names + length;
}

/* How many directories lie between the root and the link. */
static size_t depth_of(const char *path)
{
	size_t depth = 0;

	for (; *path; path++)
		depth += *path == '/';
	return depth;
}

/* Writes "../" up times, then names. */
static int write_out(char *out, size_t up, const char *names)
{
	size_t used = 0, length = strlen(names);

	if (up * 3 + length > FILES_PATH_MAX)
		return -ENAMETOOLONG;
	for (; up; up--, used += 3)
		memcpy(out + used, "../", 3);
	memcpy(out + used, names, length + 1);
	used += length;
	if (used && out[used - 1] == '/')
		out[used - 1] = '\0';
	if (!used)
		memcpy(out, ".", 2);
	return 0;
}

/* Contains one target. */
int link_contain(const char *root, const char *path, const char *target, size_t size,
	char out[FILES_PATH_MAX + 1])
{
	struct folded folded;
	size_t depth = depth_of(path);

	if (size == 0 || memchr(target, '\0', size))
		return -EIO;
	if (size > FILES_PATH_MAX)
		return -ENAMETOOLONG;
	fold(&folded, target, size);
	if (target[0] == '/') {
		const char *rest = below(root, &folded);

		return rest ? write_out(out, depth, rest) : -EPERM;
	}
	if (folded.up > depth)
		return -EPERM;
	if (folded.inner)
		return write_out(out, folded.up, folded.names);
	memcpy(out, target, size);
	out[size] = '\0';
	return 0;
}
