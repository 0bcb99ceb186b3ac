/* SPDX-License-Identifier: MIT */
/*
 * Listing directories. The shell prints all of one; its entries are taken as they come and kept until they
 * are read. One that never ends is cut off, as other listings would have to wait for it.
 *
 * An entry is a line of attributes, "./", the name, "/" and a newline. A name holds no '/', but any other
 * byte.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/shellfiles/job.h"

/* Frees one. */
void shelllist_free(struct shellfiles *files, struct listing *listing)
{
	if (!listing)
		return;
	files->listed -= listing->entries.size;
	names_done(&listing->names, &files->names);
	text_done(&listing->entries);
	free(listing);
}

/* FILE_OPENDIR */
static int make_open(struct job *job, struct text *out)
{
	struct shellfiles *files = job->files;

	if (files->handle_count + files->opening >= JOB_HANDLES_MAX)
		return -ENFILE;
	if (!job->listing)
		job->listing = memory_new(sizeof(*job->listing));
	program_path(out, 'p', job->path);
	text_printf(out, "dl \"$p\"");
	return 0;
}

/* Whether an entry is to be left out without a word. */
static bool is_hidden(const struct job *job, const char *name, size_t size)
{
	if ((size == 1 && name[0] == '.') || (size == 2 && name[0] == '.' && name[1] == '.'))
		return true;
	return !*job->path && size > strlen(JOB_KEPT) && !memcmp(name, JOB_KEPT, strlen(JOB_KEPT));
}

/* Takes one entry. */
static void add(struct job *job, const struct parse_file *file, const char *name, size_t size)
{
	struct shellfiles *files = job->files;
	struct listing *listing = job->listing;
	size_t before = listing->entries.size;

	if (++listing->count > JOB_ENTRIES_MAX || files->listed > JOB_LISTED_MAX) {
		listing->cut = true;
		return;
	}
	if (is_hidden(job, name, size))
		return;
	if (size == 0 || size > FILES_NAME_MAX || memchr(name, '\0', size) ||
		!names_add(&listing->names, &files->names, name, size)) {
		listing->dropped++;
		return;
	}
	files_entry_append(&listing->entries, &file->attr, name, size);
	files->listed += listing->entries.size - before;
}

/* Takes the entries that are complete. What is none stays, and is an error at the end. */
size_t shelllist_feed(struct job *job, const char *bytes, size_t size)
{
	size_t at = 0, used;
	struct parse_file file;

	while (at < size && !job->listing->cut) {
		const char *start = memchr(bytes + at, '/', size - at);
		const char *name = start ? start + 1 : NULL;
		const char *end = name ? memchr(name, '/', size - (size_t)(name - bytes)) : NULL;

		if (!end || end + 1 == bytes + size || end[1] != '\n')
			break;
		if (parse_attr(&job->files->hello, bytes + at, size - at, &file, &used) < 0 ||
			used > size - at || bytes + at + used != start - 1 || *(start - 1) != '.')
			break;
		add(job, &file, name, (size_t)(end - name));
		at = (size_t)(end + 2 - bytes);
	}
	return at;
}

/* Tells what was left out. */
static void tell(struct shellfiles *files, const struct listing *listing)
{
	if (listing->dropped) {
		shellfiles_log(files, "files: %u entries of a directory have impossible names, or the same as "
			"others, and are left out", listing->dropped);
		shellfiles_count(files, "files_entries_dropped", files->dropped += listing->dropped);
	}
	if (listing->cut) {
		shellfiles_log(files, "files: a directory has too many entries, the rest is left out");
		shellfiles_count(files, "files_directories_cut", ++files->cut);
	}
}

/* Gives the next page. */
static void take_page(struct job *job, struct listing *listing)
{
	const char *data = listing->entries.data + listing->taken;
	size_t size = files_page_size(data, listing->entries.size - listing->taken);

	if (size)
		text_append(&job->content, data, size);
	listing->taken += size;
}

/* All of it came. */
static int take_open(struct job *job, const char *bytes, size_t size)
{
	static const struct parse_file none;
	struct listing *listing = job->listing;

	if (!listing->cut && shelllist_feed(job, bytes, size) != size && !listing->cut)
		return -EIO;
	tell(job->files, listing);
	if (job->request.flags & FILES_LIST)
		take_page(job, listing);
	bool all = job->request.flags & FILES_LIST && listing->taken == listing->entries.size;
	if (job->done && !all) {
		shellopen_add(job, &none)->listing = listing;
		job->listing = NULL;
	}
	return 0;
}

/* FILE_READDIR: no question to the machine. */
static int make_read(struct job *job, struct text *out)
{
	struct handle *handle = shellopen_find(job->files, job->request.handle);

	if (!handle || !handle->listing)
		return -EBADF;
	take_page(job, handle->listing);
	return 1;
}

const struct job_op shelllist_open = { .make = make_open, .take = take_open };
const struct job_op shelllist_read = { .make = make_read };
