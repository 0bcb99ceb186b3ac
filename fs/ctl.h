/* SPDX-License-Identifier: MIT */
/* The file ctl of an instance: "stop" for its runs, and the verbs that its machine takes. */
#ifndef FS_CTL_H
#define FS_CTL_H

#include <stdbool.h>
#include <stddef.h>

struct object;
struct text;

/* control.show: one verb in each line, with what has to follow it. */
void ctl_show(struct object *object, struct text *text);
/* control.store: 0; -EINVAL: it is no such verb; -EHOSTDOWN: there is no machine, now or any more. */
int ctl_store(struct object *object, const char *data, size_t size);
/* control.hidden: there is no verb at all. */
bool ctl_hidden(struct object *object);

#endif
