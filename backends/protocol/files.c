/* SPDX-License-Identifier: MIT */
#include "backends/protocol/files.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "backends/base/text.h"

/* What a request must and may carry. */
static const struct {
	bool handle;	/* a handle, not 0 */
	bool name;	/* a path that is not the root */
	bool path2;	/* a second path that is not the root */
	bool target;	/* a second text of any bytes */
	bool data;
} rules[FILE_OPS] = {
	[FILE_SYMLINK] = { .name = true, .target = true },
	[FILE_LINK] = { .name = true, .path2 = true },
	[FILE_MKDIR] = { .name = true },
	[FILE_UNLINK] = { .name = true },
	[FILE_RMDIR] = { .name = true },
	[FILE_RENAME] = { .name = true, .path2 = true },
	[FILE_READ] = { .handle = true },
	[FILE_WRITE] = { .handle = true, .data = true },
	[FILE_CLOSE] = { .handle = true },
	[FILE_READDIR] = { .handle = true },
	[FILE_COPY] = { .handle = true },
};

/* Whether a directory entry's name can stand on this host. */
static bool name_valid(const char *name, size_t size)
{
	if (size == 0 || size > FILES_NAME_MAX)
		return false;
	if (memchr(name, '/', size) || memchr(name, '\0', size))
		return false;
	return !(name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')));
}

/* Checks component by component. */
int files_path_valid(const char *path, size_t size)
{
	size_t start = 0;

	if (size > FILES_PATH_MAX)
		return 0;
	while (size > 0 && start <= size) {
		const char *slash = memchr(path + start, '/', size - start);
		size_t end = slash ? (size_t)(slash - path) : size;
		if (!name_valid(path + start, end - start))
			return 0;
		start = end + 1;
	}
	return 1;
}

/* Whether the numbers are in range and the parts fill the payload exactly. */
static bool request_sizes_valid(const struct file_request *request, size_t size, size_t data_size)
{
	if (request->op >= FILE_OPS ||
		request->length > (request->op == FILE_COPY ? FILES_COPY_MAX : FILES_DATA_MAX))
		return false;
	if (request->path_size > FILES_PATH_MAX || request->path2_size > FILES_PATH_MAX ||
		request->data_size > FILES_DATA_MAX)
		return false;
	if (request->attr.size > INT64_MAX || request->offset > INT64_MAX ||
		request->offset2 > INT64_MAX)
		return false;
	return size - sizeof(*request) ==
		(size_t)request->path_size + request->path2_size + data_size;
}

/* Whether the request carries what its operation needs, and nothing else. */
static bool call_valid(const struct file_call *call)
{
	const struct file_request *request = call->request;
	uint32_t op = request->op;

	if (!files_path_valid(call->path, request->path_size))
		return false;
	if (rules[op].handle && request->handle == 0)
		return false;
	if ((op == FILE_COPY) != (request->handle2 != 0))
		return false;
	if (rules[op].name && request->path_size == 0)
		return false;
	if (request->data_size > 0 && !rules[op].data)
		return false;
	if (rules[op].path2)
		return request->path2_size > 0 &&
			files_path_valid(call->path2, request->path2_size);
	if (rules[op].target)
		return !memchr(call->path2, '\0', request->path2_size);
	return request->path2_size == 0;
}

/* Takes a request apart; slot: NULL, or where its data are. */
static int decode(const void *payload, size_t size, char *buffer, const void *slot, struct file_call *out)
{
	const struct file_request *request = payload;
	const char *rest = (const char *)(request + 1);

	if (size < sizeof(*request) || !request_sizes_valid(request, size, slot ? 0 : request->data_size))
		return -EPROTO;
	char *path = buffer, *path2 = buffer + FILES_PATH_MAX + 1;
	memcpy(path, rest, request->path_size);
	path[request->path_size] = '\0';
	memcpy(path2, rest + request->path_size, request->path2_size);
	path2[request->path2_size] = '\0';

	struct file_call call = {
		.request = request,
		.path = path,
		.path2 = path2,
		.data = slot ? slot : rest + request->path_size + request->path2_size,
	};
	if (!call_valid(&call))
		return -EPROTO;
	*out = call;
	return 0;
}

/* With its data. */
int files_decode(const void *payload, size_t size, char *buffer, struct file_call *call)
{
	return decode(payload, size, buffer, NULL, call);
}

/* With a slot. */
int files_decode_apart(const void *payload, size_t size, char *buffer, const void *slot,
	struct file_call *call)
{
	struct file_call got;
	int result = decode(payload, size, buffer, slot, &got);

	if (result < 0)
		return result;
	if (got.request->op != FILE_READ && got.request->op != FILE_WRITE)
		return -EPROTO;
	*call = got;
	return 0;
}

/* The size of an entry with its padding. */
static size_t entry_size(size_t name_size)
{
	return (sizeof(struct file_entry) + name_size + 7) / 8 * 8;
}

/* Steps through a page. */
int files_entry_next(const void *data, size_t size, size_t *position,
	const struct file_entry **out, const char **name)
{
	if (*position == size)
		return 0;
	if (*position > size || size - *position < sizeof(struct file_entry))
		return -EPROTO;
	const struct file_entry *entry = (const void *)((const char *)data + *position);
	if (entry->name_size > FILES_NAME_MAX || entry_size(entry->name_size) > size - *position)
		return -EPROTO;
	if (!name_valid((const char *)(entry + 1), entry->name_size))
		return -EPROTO;
	*name = (const char *)(entry + 1);
	*out = entry;
	*position += entry_size(entry->name_size);
	return 1;
}

/* Adds to a page. */
void files_entry_append(struct text *page, const struct file_attr *attr,
	const char *name, size_t name_size)
{
	static const char padding[8];
	struct file_entry entry = { .attr = *attr, .name_size = (uint32_t)name_size };

	text_append(page, &entry, sizeof(entry));
	text_append(page, name, name_size);
	text_append(page, padding, entry_size(name_size) - sizeof(entry) - name_size);
}

/* The part of a listing that fits into one answer. */
size_t files_page_size(const void *data, size_t size)
{
	const struct file_entry *entry;
	const char *name;
	size_t position = 0, last = 0;

	if (size <= FILES_DATA_MAX)
		return size;
	while (files_entry_next(data, size, &position, &entry, &name) > 0 && position <= FILES_DATA_MAX)
		last = position;
	return last;
}
