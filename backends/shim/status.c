/* SPDX-License-Identifier: MIT */
#include "backends/shim/status.h"

#include <stdlib.h>
#include <string.h>

#include "backends/base/memory.h"
#include "backends/base/text.h"
#include "backends/shim/shim.h"

/* The index of key, or a new one; -1 when there is no room. */
static int status_slot(struct status *status, const char *key)
{
	for (unsigned i = 0; i < status->count; i++)
		if (strcmp(status->lines[i].key, key) == 0)
			return (int)i;
	if (status->count == STATUS_KEYS_MAX)
		return -1;
	status->lines[status->count].key = memory_string(key);
	return (int)status->count++;
}

/* Sets a value. */
void status_set(struct shim *shim, const char *key, const char *value)
{
	struct status *status = &shim->status;
	char clean[STATUS_VALUE_MAX + 1];
	int slot = text_is_name(key) ? status_slot(status, key) : -1;

	if (slot < 0) {
		journal_printf(shim, "the status line %.64s is left out", key);
		return;
	}
	text_escape(clean, sizeof(clean), value);
	free(status->lines[slot].value);
	status->lines[slot].value = memory_string(clean);
	status->dirty = true;
}

/* Sends all lines, as far as the frame may go. */
void status_tell(struct shim *shim, bool always)
{
	struct status *status = &shim->status;
	struct text text = { 0 };

	if (!status->dirty && !always)
		return;
	status->dirty = false;
	for (unsigned i = 0; i < status->count; i++) {
		const char *key = status->lines[i].key, *value = status->lines[i].value;
		if (text.size + strlen(key) + strlen(value) + 2 <= PROTOCOL_STATUS_MAX)
			text_printf(&text, "%s %s\n", key, value);
	}
	daemon_send(shim, FRAME_STATUS, 0, text.data, text.size, NULL, 0);
	text_done(&text);
}

/* Frees. */
void status_done(struct status *status)
{
	for (unsigned i = 0; i < status->count; i++) {
		free(status->lines[i].key);
		free(status->lines[i].value);
	}
	status->count = 0;
}
