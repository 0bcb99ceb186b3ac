/* SPDX-License-Identifier: MIT */
/* A descriptor that a libuv loop watches: a pipe's or terminal's end, or a socket. */
#ifndef AGENT_WATCH_H
#define AGENT_WATCH_H

struct uv_loop_s;
struct watch;

/* Takes over fd and makes it non-blocking; ready(data) is called when one of the events that are
 * asked for has come, or an error has. NULL when it cannot be watched: fd is closed then. */
struct watch *watch_new(struct uv_loop_s *loop, int fd, void (*ready)(void *data), void *data);
int watch_fd(const struct watch *watch);
/* UV_READABLE, UV_WRITABLE, both, or 0: no calls. */
void watch_for(struct watch *watch, int events);
/* Closes the descriptor at once; the memory goes on a later turn. NULL is fine. */
void watch_free(struct watch *watch);

#endif
