/* SPDX-License-Identifier: MIT */
#include "backends/qemu/sysrq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/qemu/peer.h"
#include "backends/qemu/qmp.h"

struct sysrq {
	struct poolfs_machine *machine;
	struct qmp *monitor;
	struct peer *console;
	uv_timer_t timer;		/* the guest's answer is late */
	char keys[SYSRQ_KEYS_MAX];	/* the first one is under way when busy */
	size_t size;
	bool busy;
	bool written;			/* the key followed its BREAK */
};

static void next(struct sysrq *sysrq);

/* Makes one. */
struct sysrq *sysrq_new(struct poolfs_machine *machine, struct qmp *monitor, struct peer *console)
{
	struct sysrq *sysrq = memory_new(sizeof(*sysrq));

	sysrq->machine = machine;
	sysrq->monitor = monitor;
	sysrq->console = console;
	uv_timer_init(poolfs_machine_loop(machine), &sysrq->timer);
	return sysrq;
}

/* libuv is done with the timer. */
static void timer_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct sysrq, timer));
}

/* Frees. */
void sysrq_free(struct sysrq *sysrq)
{
	if (sysrq)
		uv_close((uv_handle_t *)&sysrq->timer, timer_closed);
}

/* The first key is through, well or not. */
static void finish(struct sysrq *sysrq)
{
	uv_timer_stop(&sysrq->timer);
	sysrq->busy = sysrq->written = false;
	memmove(sysrq->keys, sysrq->keys + 1, --sysrq->size);
	next(sysrq);
}

/* The guest is silent. */
static void on_late(uv_timer_t *timer)
{
	finish(container_of(timer, struct sysrq, timer));
}

/* The BREAK was sent, or not. */
static void on_break(void *data, int result, const json_t *value, const char *reason)
{
	struct sysrq *sysrq = data;

	if (result < 0)
		poolfs_machine_log(sysrq->machine, "sysrq %c: %s", sysrq->keys[0], reason);
	if (result < 0 || peer_write(sysrq->console, sysrq->keys, 1) != 1) {
		finish(sysrq);
		return;
	}
	sysrq->written = true;
	uv_timer_start(&sysrq->timer, on_late, SYSRQ_ANSWER_MS, 0);
}

/* Begins with the first key. What the monitor does not take is dropped. */
static void next(struct sysrq *sysrq)
{
	while (sysrq->size > 0 && !sysrq->busy) {
		int result = qmp_call(sysrq->monitor, "chardev-send-break",
			json_pack("{s:s}", "id", "console"), on_break, sysrq);

		sysrq->busy = result == 0;
		if (sysrq->busy)
			return;
		poolfs_machine_log(sysrq->machine, "sysrq %c: %s", sysrq->keys[0],
			strerror(-result));
		memmove(sysrq->keys, sysrq->keys + 1, --sysrq->size);
	}
}

/* Adds a key. */
int sysrq_add(struct sysrq *sysrq, char key)
{
	if (sysrq->size == sizeof(sysrq->keys))
		return -EAGAIN;
	sysrq->keys[sysrq->size++] = key;
	next(sysrq);
	return 0;
}

/* The guest answers. */
void sysrq_heard(struct sysrq *sysrq)
{
	if (sysrq && sysrq->written)
		finish(sysrq);
}
