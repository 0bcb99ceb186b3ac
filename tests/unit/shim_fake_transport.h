/* SPDX-License-Identifier: MIT */
/* The transport of shim_fake.h, which includes this: it keeps what it is asked for. */
#ifndef TESTS_SHIM_FAKE_TRANSPORT_H
#define TESTS_SHIM_FAKE_TRANSPORT_H

static int fake_new(struct uv_loop_s *on, const struct poolfs_values *keys,
	const struct transport_events *events, void *data, struct transport **transport,
	struct poolfs_err *err)
{
	fake.events = events;
	fake.data = data;
	*transport = (struct transport *)&fake;
	return 0;
}

static void fake_free(struct transport *transport)
{
	fake.frees++;
	fake.events = NULL;
	uv_timer_stop(&fake.turn);
}

static void fake_connected(uv_timer_t *timer)
{
	enum plan plan = fake.plans[fake.connects - 1];

	if (plan == PLAN_UP)
		fake.events->up(fake.data);
	else if (plan == PLAN_DOWN)
		fake.events->down(fake.data, false, "connection refused");
	else if (plan == PLAN_FATAL)
		fake.events->down(fake.data, true, "the key is refused");
}

static void fake_connect(struct transport *transport, const struct poolfs_address *address)
{
	assert_string_equal(address->host, "localhost");
	assert_true(fake.connects < 8);
	fake.connects++;
	uv_timer_start(&fake.turn, fake_connected, 0, 0);
}

/* Ends all runs and requests, as a transport does before `down`. */
static inline void fake_lose(const char *reason)
{
	for (int i = 0; i < fake.run_count; i++) {
		if (!fake.runs[i].over)
			fake.runs[i].events->ended(fake.runs[i].data, RUN_LOST, 255);
		fake.runs[i].over = true;
	}
	fake.events->down(fake.data, false, reason);
}

static struct transport_run *fake_run(struct transport *transport,
	const struct transport_command *command, const struct transport_run_events *events, void *data)
{
	struct transport_run *run = &fake.runs[fake.run_count++];

	assert_true(fake.run_count <= RUNS);
	*run = (struct transport_run){ .events = events, .data = data, .room = SIZE_MAX,
		.columns = command->columns, .rows = command->rows, .input = command->input };
	run->text = memory_format("%.*s", (int)command->size, command->text);
	run->environment = memory_format("%.*s", (int)command->environment_size,
		command->environment ? command->environment : "");
	run->cwd = memory_string(command->cwd ? command->cwd : "");
	return run;
}

static size_t fake_run_input(struct transport_run *run, const void *bytes, size_t size)
{
	size = size < run->room ? size : run->room;
	assert_true(run->input && !run->eof);
	run->room -= size;
	text_append(&run->in, bytes, size);
	return size;
}

static void fake_run_eof(struct transport_run *run)
{
	run->eof = true;
}

static void fake_run_more(struct transport_run *run)
{
	assert_false(run->over);
	run->more++;
}

static void fake_run_signal(struct transport_run *run, int number)
{
	assert_false(run->over);
	run->signals[number]++;
	run->last_signal = number;
}

static void fake_run_await_all(struct transport_run *run)
{
	run->all = true;
}

static void fake_run_resize(struct transport_run *run, unsigned columns, unsigned rows)
{
	run->columns = columns;
	run->rows = rows;
}

static void fake_run_abandon(struct transport_run *run)
{
	assert_false(run->over);
	run->abandoned = true;
}

static void fake_file(struct transport *transport, uint64_t key, const struct file_call *call,
	transport_file_done *file_done, void *data)
{
	assert_true(fake.file_count < FILES);
	fake.files[fake.file_count++] = (struct fake_file){ .key = key, .op = call->request->op,
		.handle = call->request->handle, .bytes = call->data, .done = file_done, .data = data };
}

static void fake_file_cancel(struct transport *transport, uint64_t key)
{
	for (int i = 0; i < fake.file_count; i++)
		if (fake.files[i].key == key)
			fake.files[i].cancelled = true;
}

static const struct transport_ops fake_transport = {
	.name = "fake",
	.new = fake_new,
	.free = fake_free,
	.connect = fake_connect,
	.run = fake_run,
	.run_input = fake_run_input,
	.run_eof = fake_run_eof,
	.run_more = fake_run_more,
	.run_signal = fake_run_signal,
	.run_await_all = fake_run_await_all,
	.run_resize = fake_run_resize,
	.run_abandon = fake_run_abandon,
	.file = fake_file,
	.file_cancel = fake_file_cancel,
};

#endif
