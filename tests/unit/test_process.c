/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "backends/base/memory.h"
#include "fs/process.h"

#define MANY 60

/* A process, and what was told of it. */
struct child {
	struct process process;
	char *argv[4];
	int (*prepare)(struct process *process);
	uv_sem_t turned;	/* for prepare: the loop goes on */
	int end;		/* likewise: a descriptor for it to hand over */
	int result, status, signal;
	unsigned starts, exits;
};

static uv_loop_t loop;
static struct processes *processes;

static void on_started(struct process *process, int result)
{
	struct child *child = container_of(process, struct child, process);

	assert_int_equal(child->exits, 0);
	child->starts++;
	child->result = result;
}

static void on_exited(struct process *process, int status, int signal)
{
	struct child *child = container_of(process, struct child, process);

	assert_int_equal(child->starts, 1);
	child->exits++;
	child->status = status;
	child->signal = signal;
}

/* Starts a shell with a script; fd is its descriptor 3, or -1. */
static void start(struct child *child, const char *file, const char *script, int fd)
{
	child->argv[0] = "sh";
	child->argv[1] = "-c";
	child->argv[2] = (char *)script;
	child->result = 1;
	struct process_plan plan = { .file = file, .argv = child->argv, .fds = { -1, -1, -1, fd, -1, -1 },
		.prepare = child->prepare, .started = on_started, .exited = on_exited };

	process_start(&child->process, processes, &plan);
	assert_int_equal(child->starts, 0);
}

static void ends_are_told(void **state)
{
	struct child child = { 0 };

	start(&child, "/bin/sh", "exit 3", -1);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(child.result, 0);
	assert_int_equal(child.exits, 1);
	assert_int_equal(child.status, 3);
	assert_int_equal(child.signal, 0);
}

static void a_program_that_is_not_there(void **state)
{
	struct child child = { 0 };

	start(&child, "/nowhere/sh", "exit 3", -1);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(child.starts, 1);
	assert_int_equal(child.result, -ENOENT);
	assert_int_equal(child.exits, 0);
}

static void signals_reach_it(void **state)
{
	struct child child = { 0 };

	start(&child, "/bin/sh", "exec sleep 60", -1);
	while (!child.starts)
		uv_run(&loop, UV_RUN_ONCE);
	process_kill(&child.process, SIGKILL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(child.signal, SIGKILL);
}

/* Ends only when the loop has turned meanwhile. */
static int waits_for_the_loop(struct process *process)
{
	struct child *child = container_of(process, struct child, process);

	uv_sem_wait(&child->turned);
	process->plan.fds[4] = child->end;
	return 0;
}

static void on_turn(uv_timer_t *timer)
{
	uv_sem_post(timer->data);
	uv_close((uv_handle_t *)timer, NULL);
}

static void it_is_prepared_beside_the_loop(void **state)
{
	struct child child = { .prepare = waits_for_the_loop };
	uv_timer_t timer = { .data = &child.turned };
	char byte = 0;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child.end = ends[1];
	uv_sem_init(&child.turned, 0);
	start(&child, "/bin/sh", "echo x >&4", -1);
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_turn, 0, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(child.exits, 1);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	uv_sem_destroy(&child.turned);
	close(ends[0]);
	close(ends[1]);
}

static int finds_no_room(struct process *process)
{
	return -ENOSPC;
}

static void what_cannot_be_prepared_is_not_started(void **state)
{
	struct child child = { .prepare = finds_no_room };

	start(&child, "/bin/sh", "exit 3", -1);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(child.starts, 1);
	assert_int_equal(child.result, -ENOSPC);
	assert_int_equal(child.exits, 0);
}

/* What the script writes to descriptor 3. */
static void says(const char *script, char *out, size_t size)
{
	struct child child = { 0 };
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	start(&child, "/bin/sh", script, ends[1]);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(child.exits, 1);
	close(ends[1]);
	ssize_t count = read(ends[0], out, size - 1);
	out[count > 0 ? count : 0] = '\0';
	close(ends[0]);
}

static void it_gets_its_descriptors_and_no_others(void **state)
{
	char script[256], out[256];
	int other = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(other > 3);
	snprintf(script, sizeof(script), "for fd in 0 1 2; do all=\"$all $(readlink /proc/$$/fd/$fd)\"; done; "
		"[ -e /proc/$$/fd/%d ] && all=\"$all and another\"; echo $all >&3", other);
	says(script, out, sizeof(out));
	assert_string_equal(out, "/dev/null /dev/null /dev/null\n");
	close(other);
}

static void it_is_a_session_with_plain_signals(void **state)
{
	char out[256];
	unsigned long long blocked, ignored;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	says("read -r pid name state parent group session rest </proc/$$/stat; [ $session = $$ ] && "
	     "exec sed -n 's/^Sig[BI][lg][kn]:.//p' /proc/self/status >&3", out, sizeof(out));
	assert_int_equal(sscanf(out, "%llx %llx", &blocked, &ignored), 2);
	assert_int_equal(blocked, 0);
	/* The C library's own, 32 and 33, are ignored in whatever posix_spawn starts. */
	assert_int_equal(ignored & ~(3ull << 31), 0);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static void many_at_a_time(void **state)
{
	struct child *children = memory_new(MANY * sizeof(*children));
	char scripts[MANY][16];

	for (int i = 0; i < MANY; i++) {
		snprintf(scripts[i], sizeof(scripts[i]), "exit %d", i);
		start(&children[i], "/bin/sh", scripts[i], -1);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(children[i].exits, 1);
		assert_int_equal(children[i].status, i);
	}
	free(children);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_are_told),
		cmocka_unit_test(a_program_that_is_not_there),
		cmocka_unit_test(signals_reach_it),
		cmocka_unit_test(it_is_prepared_beside_the_loop),
		cmocka_unit_test(what_cannot_be_prepared_is_not_started),
		cmocka_unit_test(it_gets_its_descriptors_and_no_others),
		cmocka_unit_test(it_is_a_session_with_plain_signals),
		cmocka_unit_test(many_at_a_time),
	};

	uv_loop_init(&loop);
	processes = processes_new(&loop);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	processes_free(processes);
	return uv_loop_close(&loop) < 0 ? 1 : failed;
}
