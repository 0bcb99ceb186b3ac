/* SPDX-License-Identifier: MIT */
/*
 * Messages for the person who runs the daemon: to standard error in the
 * foreground, to syslog(3) as a service. The object comes first, named as the
 * user sees it ("web/a"). Text from outside is escaped here, so a caller may pass
 * what a guest or a user wrote. Call from the loop's thread only.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Chooses where messages go and the least serious level that is written. */
void log_open(bool to_syslog, enum log_level level);

/* Writes one message about object ("" for the program as a whole). */
void log_write(enum log_level level, const char *object, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(object, ...)   log_write(LOG_LEVEL_ERROR, object, __VA_ARGS__)
#define log_warning(object, ...) log_write(LOG_LEVEL_WARNING, object, __VA_ARGS__)
#define log_info(object, ...)    log_write(LOG_LEVEL_INFO, object, __VA_ARGS__)
#define log_debug(object, ...)   log_write(LOG_LEVEL_DEBUG, object, __VA_ARGS__)

#endif
