/* SPDX-License-Identifier: MIT */
/*
 * Listing directories. A listing is read ahead: several READDIRs are outstanding at
 * once, more with each page, and the entries that came wait for the caller. A server
 * that never ends is cut off after LIMIT_ENTRIES entries, with a message in the log.
 *
 * The first READDIRs go together with the OPENDIR, for the handle that it is going to bring, where that can
 * be guessed (files_open.c). A READDIR takes entries away from whoever lists that handle, so this is only done
 * while no other directory is open or about to be: then a wrong guess meets nothing that can be listed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/base/memory.h"
#include "backends/ssh/errors.h"
#include "backends/ssh/job.h"
#include "backends/base/names.h"

#define BATCH_FIRST 2u
#define BATCH_MOST  32u

struct listing {
	TAILQ_ENTRY(listing) link;
	struct files *files;
	const struct handle *handle;	/* NULL: closed, so answers are only awaited; or not open yet */
	bool early;			/* it is not, and what comes may be of it */
	bool guessed;			/* all that was asked for until now was by the guess */
	bool spoiled;			/* and some of that failed */
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

/* Makes a listing, of a directory that is not open yet. */
static struct listing *listing_new(struct files *files)
{
	struct listing *listing = memory_new(sizeof(*listing));

	listing->files = files;
	listing->batch = BATCH_FIRST;
	TAILQ_INSERT_TAIL(&files->listings, listing, link);
	return listing;
}

/* Asks for a batch of pages, by the handle's name. */
static void ask_batch(struct listing *listing, const unsigned char *name, size_t size)
{
	struct sftp *sftp = listing->files->sftp;

	for (unsigned i = 0; i < listing->batch; i++) {
		struct text *out = sftp_begin(sftp, PACKET_READDIR, take_names, listing);

		packet_put_string(out, name, size);
		sftp_end(sftp, false);
		listing->outstanding++;
	}
	if (listing->batch < BATCH_MOST)
		listing->batch *= 4;
}

/* Asks for more, as much as one more page is worth. */
static void read_ahead(struct listing *listing)
{
	if (listing->end || listing->error || listing->outstanding || !listing->handle ||
		listing->entries.size >= LIMIT_AHEAD)
		return;
	listing->guessed = false;
	ask_batch(listing, listing->handle->name, listing->handle->size);
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

/* The guess was right, but the server did not go by the order of the requests: lists anew, without one. */
static void list_again(struct listing *listing)
{
	struct job *job = listing->job;
	struct files *files = job->files;
	struct handle *handle = job_handle(job);

	listing->job = NULL;
	handle_drop(job);
	handle_forget(files, handle);
	files->guess.count = files->guess.right = 0;
	job->request.handle = job->reply.handle = 0;
	int error = directory_open(job);
	if (error)
		job_end(job, error, NULL, 0);
}

/* Answers the request that waits, if there is what it waits for. */
static void serve(struct listing *listing)
{
	struct job *job = listing->job;
	struct text page = listing->entries;

	if (!job)
		return;
	if (listing->spoiled) {
		if (!listing->outstanding)
			list_again(listing);
		return;
	}
	if (too_few(listing))
		return read_ahead(listing);
	size_t size = files_page_size(page.data, page.size);
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
	if (!listing->handle && !listing->early) {
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
		listing->spoiled |= listing->guessed;
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

/* Whether what was asked for by the guess is of the directory. If not, it is only let pass. */
static bool early_right(struct job *job)
{
	struct listing *early = job->early;
	bool right = early && !job->error && job->done && job->guessed;

	job->early = NULL;
	if (!early)
		return false;
	early->early = false;
	if (!right && !early->outstanding)
		listing_free(early);
	return right;
}

/* A directory is open: reads ahead. */
static void add_listing(struct job *job, struct listing *listing)
{
	struct handle *handle = handle_add(job);

	handle->listing = listing;
	listing->handle = handle;
	if (job->request.flags & FILES_LIST) {
		listing->job = job;
		job->request.handle = handle->number;
		return serve(listing);
	}
	read_ahead(listing);
	job_end(job, 0, NULL, 0);
}

/* The handle came, or not. */
static void finish_open(struct job *job)
{
	struct listing *early = job->early;
	bool right = early_right(job);

	if (job->error && (job->status == SFTP_FAILURE || job->status == SFTP_NO_SUCH_FILE)) {
		job->finish = finish_look;
		return job_look(job, job->full);
	}
	if (!job->error && job->done)
		return add_listing(job, right ? early : listing_new(job->files));
	if (!job->error)
		handle_drop(job);
	job_end(job, job->error, NULL, 0);
}

/* Whether no other directory is open, or may be when a request that is sent now is done. */
static bool is_alone(const struct files *files)
{
	const struct listing *listing;

	TAILQ_FOREACH(listing, &files->listings, link)
		if (listing->handle || listing->early)
			return false;
	return files->guess.pending == 0;
}

/* FILE_OPENDIR */
int directory_open(struct job *job)
{
	struct files *files = job->files;
	bool alone = is_alone(files);

	if (files->handle_count >= LIMIT_HANDLES)
		return -ENFILE;
	job->finish = finish_open;
	guess_take(job);
	job_ask(job, PACKET_OPENDIR, job->full, job_take_handle);
	job_asked(job);
	if (alone && job->request.flags & FILES_LIST && guess_usable(job)) {
		job->early = listing_new(files);
		job->early->early = job->early->guessed = true;
		ask_batch(job->early, job->guess, GUESS_SIZE);
	}
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
