/* SPDX-License-Identifier: MIT */
#include "backends/shim/shim.h"

#include <stdlib.h>

#include "backends/base/memory.h"

/* The loop is about to wait: sends what changed, each stream once. */
static void shim_flush(uv_prepare_t *prepare)
{
	struct shim *shim = prepare->data;

	if (!daemon_listens(shim))
		return;
	status_tell(shim, false);
	sink_tell(&shim->console.spool, false);
	sink_tell(&shim->journal.spool, false);
	commands_tell(shim);
	forwards_tell(shim, false);
}

/* Begins. */
struct shim *shim_new(struct uv_loop_s *loop, const struct shim_setup *setup)
{
	struct shim *shim = memory_new(sizeof(*shim));

	shim->loop = loop;
	shim->setup = *setup;
	shim->dirfd = setup->dirfd;
	shim->machine.shim = shim;
	uv_prepare_init(loop, &shim->flush);
	shim->flush.data = shim;
	uv_prepare_start(&shim->flush, shim_flush);
	journal_init(shim);
	console_init(shim);
	crashes_init(shim);
	quiet_init(shim);
	commands_init(shim);
	requests_init(shim);
	forwards_init(shim);
	verbs_init(shim);
	daemon_init(shim, setup->listener, setup->connection);
	life_begin(shim);
	return shim;
}

/* Ends the machine. */
void shim_stop(struct shim *shim)
{
	life_stop(shim);
}

/* Closes everything. */
void shim_close(struct shim *shim)
{
	uv_close((uv_handle_t *)&shim->flush, NULL);
	daemon_close(shim);
	duties_close(shim);
	life_close(shim);
	forwards_close(shim);
	verbs_close(shim);
	console_close(shim);
	crashes_close(shim);
	quiet_close(shim);
	commands_done(shim);
	status_done(&shim->status);
	sink_finish(&shim->journal.spool);
}

/* Frees. */
void shim_free(struct shim *shim)
{
	free(shim);
}
