/* SPDX-License-Identifier: MIT */
#include "backends/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

#include "backends/base/text.h"

static bool use_syslog;
static enum log_level threshold = LOG_LEVEL_INFO;

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

/* Chooses the sink; syslog is told our name once. */
void log_open(bool to_syslog, enum log_level level)
{
	use_syslog = to_syslog;
	threshold = level;
	if (to_syslog)
		openlog("poolfs", LOG_PID, LOG_DAEMON);
}

/* Formats, escapes and writes one line; a longer message is cut. */
void log_write(enum log_level level, const char *object, const char *format, ...)
{
	char raw[2048], clean[4096];
	va_list args;

	if (level > threshold)
		return;
	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	text_escape(clean, sizeof(clean), raw);

	const char *colon = *object ? ": " : "";
	if (use_syslog)
		syslog(levels[level].priority, "%s%s%s", object, colon, clean);
	else
		fprintf(stderr, "poolfs: %s: %s%s%s\n", levels[level].name, object, colon, clean);
}
