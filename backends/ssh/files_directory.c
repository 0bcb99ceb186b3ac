/* SPDX-License-Identifier: MIT */
/*
 * Listing directories. A listing is read ahead: several READDIRs are outstanding at
 * once, more with each page, and the entries that came wait for the caller. A server
 * that never ends is cut off after LIMIT_ENTRIES entries, with a message in the log.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/base/memory.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/job.h"
#include "backends/ssh/names.h"

#define BATCH_FIRST 2u
#define BATCH_MOST  32u

struct listing {
	TAILQ_ENTRY(listing) link;
	struct files *files;
	const struct handle *handle;	/* NULL: closed; answers are only awaited */
	struct job *job;		/* the READDIR, or OPENDIR, that waits; NULL: none */
	struct text entries;		/* file_entry's that the caller did not take yet */
	unsigned outstanding, batch;
	unsigned count;			/* entries in all, also those left out */
	struct names names;		/* that came */
	unsigned dropped;		/* with names that are impossible, or came before */
	bool end;
	int error;
};

static void take_names(void *data, const struct sftp_answer *answer);

/* Frees a listing. */
static void listing_free(struct listing *listing)
{
	TAILQ_REMOVE(&listing->files->listings, listing, link);
	text_done(&listing->entries);
	names_done(&listing->names, &listing->files->names);
	free(listing);
}

/* Asks for more, as much as one more page is worth. */
static void read_ahead(struct listing *listing)
{
	struct sftp *sftp = listing->files->sftp;

	if (listing->end || listing->error || listing->outstanding || !listing->handle ||
		listing->entries.size >= LIMIT_AHEAD)
		return;
	for (unsigned i = 0; i < listing->batch; i++) {
		struct text *out = sftp_begin(sftp, PACKET_READDIR, take_names, listing);

		packet_put_string(out, listing->handle->name, listing->handle->size);
		sftp_end(sftp, false);
		listing->outstanding++;
	}
	if (listing->batch < BATCH_MOST)
		listing->batch *= 4;
}

/* The part of the entries, in whole ones, that fits into one answer. */
static size_t page_size(const struct text *entries)
{
	const struct file_entry *entry;
	const char *name;
	size_t position = 0, last = 0;

	if (entries->size <= FILES_DATA_MAX)
		return entries->size;
	while (files_entry_next(entries->data, entries->size, &position, &entry, &name) > 0 &&
		position <= FILES_DATA_MAX)
		last = position;
	return last;
}

/* Whether the entries that came are too few for an answer: a directory that is not large is wanted
 * in one piece by an OPENDIR. */
static bool too_few(const struct listing *listing)
{
	bool end = listing->end || listing->error;

	if (listing->outstanding && listing->entries.size < LIMIT_AHEAD)
		return true;
	return !end && (listing->job->request.op == FILE_OPENDIR ? listing->entries.size < LIMIT_WHOLE
								 : !listing->entries.size);
}

/* The end of an OPENDIR that brings entries. The directory is closed again when these are all, when
 * there was an error, or nobody waits any more. The listing may be gone afterwards. */
static void opened(struct listing *listing, struct job *job, int error, const struct text *page,
	size_t size)
{
	struct handle *handle = job_handle(job);

	if (error || !job->done || (listing->end && !listing->entries.size)) {
		job->reply.handle = 0;
		handle_drop(job);
		handle_forget(job->files, handle);
	}
	job_end(job, error, page->data, size);
}

/* Answers the request that waits, if there is what it waits for. */
static void serve(struct listing *listing)
{
	struct job *job = listing->job;
	struct text page = listing->entries;

	if (!job)
		return;
	if (too_few(listing))
		return read_ahead(listing);
	size_t size = page_size(&page);
	int error = size ? 0 : listing->error;

	listing->job = NULL;
	listing->entries = (struct text){ 0 };
	if (size < page.size)
		text_append(&listing->entries, page.data + size, page.size - size);
	read_ahead(listing);
	if (job->request.op == FILE_OPENDIR)
		opened(listing, job, error, &page, size);
	else
		job_end(job, error, page.data, size);
	text_done(&page);
}

/* Whether a name can be a name in a directory. */
static bool name_possible(const char *name, size_t size)
{
	return size > 0 && size <= FILES_NAME_MAX && !memchr(name, '/', size) &&
	       !memchr(name, '\0', size);
}

/* The directory ends here for us. */
static void cut(struct listing *listing)
{
	struct files *files = listing->files;

	listing->end = true;
	session_log(files->session, "files: a directory has more than %u entries, the rest is left out",
		LIMIT_ENTRIES);
	session_count(files->session, "files_directories_cut", ++files->cut);
}

/* Takes one name. */
static void add_entry(struct listing *listing, struct packet *body)
{
	struct file_attr attr;
	size_t size, ignored;
	const char *name = packet_string(body, &size);

	packet_string(body, &ignored);
	packet_attr(body, &attr);
	if (body->bad)
		return;
	if (++listing->count > LIMIT_ENTRIES) {
		if (!listing->end)
			cut(listing);
		return;
	}
	if ((size == 1 && name[0] == '.') || (size == 2 && name[0] == '.' && name[1] == '.'))
		return;
	if (!name_possible(name, size) ||
		!names_add(&listing->names, &listing->files->names, name, size)) {
		listing->dropped++;
		return;
	}
	files_entry_append(&listing->entries, &attr, name, size);
}

/* One answer to a READDIR. */
static void take_names(void *data, const struct sftp_answer *answer)
{
	struct listing *listing = data;
	struct packet body = answer->body;

	listing->outstanding--;
	if (!listing->handle) {
		if (!listing->outstanding)
			listing_free(listing);
		return;
	}
	if (answer->type == PACKET_NAME) {
		uint32_t count = packet_u32(&body);

		for (uint32_t i = 0; i < count && !body.bad && !listing->end; i++)
			add_entry(listing, &body);
		if (body.bad)
			return sftp_broken(listing->files->sftp, "a list of names is cut short");
		listing->end |= count == 0;
	} else if (answer->type == PACKET_STATUS && answer->status == SFTP_EOF) {
		listing->end = true;
	} else if (answer->type == PACKET_STATUS && answer->status != SFTP_OK) {
		listing->error = errors_status(answer->status);
	} else {
		return sftp_broken(listing->files->sftp, "an answer of the wrong type");
	}
	if (listing->job)
		serve(listing);
	else
		read_ahead(listing);
}

/* What could not be opened was looked at: servers say NO_SUCH_FILE or FAILURE for what is no
 * directory. */
static void finish_look(struct job *job)
{
	bool other = !job->look_error && !S_ISDIR(job->look.mode);

	job_end(job, other ? -ENOTDIR : job->error, NULL, 0);
}

/* A directory is open: reads ahead. */
static void add_listing(struct job *job)
{
	struct handle *handle = handle_add(job);
	struct listing *listing = memory_new(sizeof(*listing));

	handle->listing = listing;
	listing->files = job->files;
	listing->handle = handle;
	listing->batch = BATCH_FIRST;
	TAILQ_INSERT_TAIL(&job->files->listings, listing, link);
	if (job->request.flags & FILES_LIST) {
		listing->job = job;
		job->request.handle = handle->number;
	}
	read_ahead(listing);
}

/* The handle came, or not. */
static void finish_open(struct job *job)
{
	if (job->error && (job->status == SFTP_FAILURE || job->status == SFTP_NO_SUCH_FILE)) {
		job->finish = finish_look;
		return job_look(job, job->full);
	}
	if (!job->error && job->done) {
		add_listing(job);
		if (job->request.flags & FILES_LIST)
			return;
	} else if (!job->error) {
		handle_drop(job);
	}
	job_end(job, job->error, NULL, 0);
}

/* FILE_OPENDIR */
int directory_open(struct job *job)
{
	if (job->files->handle_count >= LIMIT_HANDLES)
		return -ENFILE;
	job->finish = finish_open;
	guess_take(job);
	job_ask(job, PACKET_OPENDIR, job->full, job_take_handle);
	job_asked(job);
	return 0;
}

/* A turn later, what is there already may be told. */
static void finish_read(struct job *job)
{
	struct handle *handle = job_handle(job);

	if (handle && handle->listing)
		serve(handle->listing);
}

/* FILE_READDIR */
int directory_read(struct job *job)
{
	struct handle *handle = job_handle(job);

	if (!handle || !handle->listing)
		return -EBADF;
	if (handle->listing->job)
		return -EBUSY;
	handle->listing->job = job;
	job->finish = finish_read;
	read_ahead(handle->listing);
	job_later(job, 0);
	return 0;
}

/* The job goes. */
void directory_cancel(struct job *job)
{
	struct handle *handle = job_handle(job);

	if (handle && handle->listing && handle->listing->job == job)
		handle->listing->job = NULL;
}

/* The handle is closed. A READDIR that waits on it would wait for ever. */
void directory_forget(struct listing *listing)
{
	struct files *files = listing->files;

	if (listing->dropped) {
		session_log(files->session, "files: %u entries of a directory have impossible names, or "
			"the same as others, and are left out", listing->dropped);
		files->dropped += listing->dropped;
		session_count(files->session, "files_entries_dropped", files->dropped);
	}
	if (listing->job)
		job_later(listing->job, -EBADF);
	listing->job = NULL;
	listing->handle = NULL;
	if (!listing->outstanding)
		listing_free(listing);
}

/* Frees all. */
void directory_done(struct files *files)
{
	struct listing *listing;

	while ((listing = TAILQ_FIRST(&files->listings)))
		listing_free(listing);
}
