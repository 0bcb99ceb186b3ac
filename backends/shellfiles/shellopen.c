/* SPDX-License-Identifier: MIT */
/*
 * What is open. The machine has nothing open for it: a path leads to it, which follows what is renamed from
 * here, and device and inode say whether it is still the same file. One that is removed from here, or
 * replaced, is given another name in the root, as NFS does, until the last close.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/shellfiles/job.h"

/* Finds one. */
struct handle *shellopen_find(struct shellfiles *files, uint64_t number)
{
	struct handle *handle = files->handles[number % JOB_BUCKETS];

	while (handle && handle->number != number)
		handle = handle->next;
	return handle;
}

/* Keeps one. */
struct handle *shellopen_add(struct job *job, const struct parse_file *file)
{
	struct shellfiles *files = job->files;
	struct handle *handle = memory_new(sizeof(*handle));
	struct handle **bucket;

	handle->number = ++files->last_handle;
	handle->path = memory_string(job->path);
	handle->device = file->device;
	handle->inode = file->inode;
	handle->flags = job->request.flags;
	bucket = &files->handles[handle->number % JOB_BUCKETS];
	handle->next = *bucket;
	*bucket = handle;
	files->handle_count++;
	job->reply.handle = handle->number;
	return handle;
}

/* Takes it out and frees it. */
void shellopen_forget(struct shellfiles *files, struct handle *handle)
{
	struct handle **at = &files->handles[handle->number % JOB_BUCKETS];

	while (*at != handle)
		at = &(*at)->next;
	*at = handle->next;
	files->handle_count--;
	shelllist_free(files, handle->listing);
	free(handle->path);
	free(handle);
}

/* Names it to the shell. */
void shellopen_words(struct text *out, const char *command, const struct handle *handle)
{
	program_path(out, 'p', handle->path);
	text_printf(out, "%s \"$p\" %" PRIu64 " %" PRIu64, command, handle->device, handle->inode);
}

/* Counts. */
unsigned shellopen_count(const struct shellfiles *files, const char *path)
{
	const struct handle *handle;
	unsigned count = 0;

	for (size_t i = 0; i < JOB_BUCKETS; i++)
		for (handle = files->handles[i]; handle; handle = handle->next)
			count += !handle->listing && !strcmp(handle->path, path);
	return count;
}

/* The path of `path` after a renaming, or NULL: it is another one. */
static char *new_path(const char *path, const char *from, const char *to)
{
	size_t length = strlen(from);

	if (strncmp(path, from, length) != 0 || (path[length] && path[length] != '/'))
		return NULL;
	return memory_format("%s%s", to, path + length);
}

/* Renames. */
void shellopen_moved(struct shellfiles *files, const char *from, const char *to, bool kept)
{
	struct handle *handle;
	char *path;

	for (size_t i = 0; i < JOB_BUCKETS; i++) {
		for (handle = files->handles[i]; handle; handle = handle->next) {
			path = handle->kept ? NULL : new_path(handle->path, from, to);
			if (!path)
				continue;
			free(handle->path);
			handle->path = path;
			handle->kept = kept;
		}
	}
}

/* Makes a name. Only within one filesystem a file can be moved without a copy. */
void shellopen_keep(struct shellfiles *files, const char *path, char name[JOB_NAME_MAX])
{
	const struct handle *handle;

	name[0] = '\0';
	for (size_t i = 0; i < JOB_BUCKETS && !name[0]; i++)
		for (handle = files->handles[i]; handle && !name[0]; handle = handle->next)
			if (!handle->listing && !handle->kept && !strcmp(handle->path, path) &&
				handle->device == files->hello.root.device)
				snprintf(name, JOB_NAME_MAX, "%s%" PRIx64, files->kept,
					++files->kept_count);
}

/* Forgets all. What was kept is removed with the next shell. */
void shellopen_done(struct shellfiles *files)
{
	for (size_t i = 0; i < JOB_BUCKETS; i++) {
		while (files->handles[i]) {
			struct handle *handle = files->handles[i];

			if (handle->kept && shellopen_count(files, handle->path) == 1)
				text_append(&files->left, handle->path, strlen(handle->path) + 1);
			shellopen_forget(files, handle);
		}
	}
}
