/* SPDX-License-Identifier: MIT */
#include "tests/unit/record.h"

#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"

int record_fired, record_freed;

struct poller {
	int unused;
};

static struct record *of(struct request *request)
{
	struct record *record = container_of(request, struct record, request);

	record->replies++;
	return record;
}

struct request *record_new(struct record *record)
{
	*record = (struct record){ .room = 1000 };
	return &record->request;
}

void record_done(struct record *record)
{
	text_done(&record->data);
}

struct poller *record_poller(void)
{
	return memory_new(sizeof(struct poller));
}

void request_wait(struct request *request,
	void (*interrupt)(struct request *request, void *data), void *data)
{
	request->interrupt = interrupt;
	request->data = data;
}

void request_error(struct request *request, int error)
{
	of(request)->error = error;
}

void request_entry(struct request *request, const struct entry *entry)
{
	of(request)->entry = *entry;
}

void request_attr(struct request *request, const struct stat *attr, double attr_seconds)
{
	of(request)->attr = *attr;
}

void request_link(struct request *request, const char *target)
{
	text_append(&of(request)->data, target, strlen(target));
}

void request_data(struct request *request, const void *data, size_t size)
{
	text_append(&of(request)->data, data, size);
}

void request_written(struct request *request, size_t size)
{
	of(request)->written = size;
}

void request_statfs(struct request *request, const struct statvfs *statfs)
{
	of(request);
}

void request_poll(struct request *request, unsigned events)
{
	of(request)->events = events;
}

void request_open(struct request *request, struct handle *handle, unsigned how)
{
	of(request)->handle = handle;
}

void request_create(struct request *request, const struct entry *entry, struct handle *handle,
	unsigned how)
{
	struct record *record = of(request);

	record->entry = *entry;
	record->handle = handle;
}

bool request_dir_add(struct request *request, const char *name, const struct entry *entry,
	uint64_t next)
{
	struct record *record = container_of(request, struct record, request);

	if (!record->room)
		return false;
	record->room--;
	text_printf(&record->data, "%s\n", name);
	return true;
}

bool request_dir_counts(const struct request *request)
{
	return container_of(request, struct record, request)->plus;
}

void request_dir_done(struct request *request)
{
	of(request);
}

void poller_fire(struct poller *poller)
{
	record_fired++;
	free(poller);
}

void poller_free(struct poller *poller)
{
	if (poller)
		record_freed++;
	free(poller);
}
