/* SPDX-License-Identifier: MIT */
/*
 * poolfs: start and end of the daemon. What can be wrong is found and told before
 * anything is mounted, and, in the background, before the command returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/installed.h"
#include "backends/base/log.h"
#include "backends/base/memory.h"
#include "backends/module/modules.h"
#include "config/config.h"
#include "fs/control.h"
#include "fs/fuse.h"
#include "fs/mount.h"
#include "fs/options.h"
#include "fs/remains.h"
#include "fs/scan_console.h"
#include "fs/tree.h"
#include "fs/vigil.h"
#include "fs/workdir.h"

/* What the daemon is made of, in the order in which it is set up. */
struct daemon {
	struct options options;
	int started_pipe;	/* a byte to it tells the waiting parent that all is well; -1: none */
	struct modules *modules;
	struct config *config;
	char *mount_point;	/* absolute */
	char *workdir_path, *shim;
	int workdir, lock;
	uv_loop_t loop;
	uv_signal_t signals[3];
	struct mount *mount;
	struct fuse_mount *fuse;
	struct vigil *vigil;	/* over the mount; NULL: there is none */
	bool ending;
};

static const int end_signals[] = { SIGTERM, SIGINT, SIGHUP };
#define END_SIGNALS (sizeof(end_signals) / sizeof(*end_signals))

/* The last instance is gone: nothing is left to do. */
static void idle(struct mount *mount)
{
	struct daemon *daemon = mount->loop->data;

	if (!daemon->ending)
		return;
	mount->idle = NULL;
	fuse_mount_free(daemon->fuse);
	vigil_free(daemon->vigil);
	for (size_t i = 0; i < END_SIGNALS; i++)
		uv_close((uv_handle_t *)&daemon->signals[i], NULL);
}

/* Ends: first the mount, so that nobody asks for more, then the machines. */
static void begin_end(struct daemon *daemon)
{
	if (daemon->ending)
		return;
	daemon->ending = true;
	fuse_mount_end(daemon->fuse);
	mount_stop(daemon->mount);
}

/* Somebody unmounted us. */
static void unmounted(void *data)
{
	begin_end(data);
}

/* Whether files of the mount are open. */
static bool in_use(void *data)
{
	return handle_any() != NULL;
}

/* Somebody unmounted us, but elsewhere there are copies of the mount: they end too. */
static void detached(void *data)
{
	struct daemon *daemon = data;

	if (!daemon->ending)
		fuse_mount_sever(daemon->fuse);
	begin_end(daemon);
}

static const struct vigil_events vigil_events = { in_use, detached };

/* SIGTERM and the like. */
static void signaled(uv_signal_t *signal, int number)
{
	begin_end(signal->data);
}

/* Makes descriptors 0 to 2 something, so that no file of ours gets their numbers. */
static void fill_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

/* Tells the parent that the mount is there, and lets go of the terminal and of the directory that we
 * were started in. */
static void tell_started(struct daemon *daemon)
{
	if (daemon->started_pipe < 0)
		return;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= 2 && null >= 0; fd++)
		dup2(null, fd);
	close(null);
	if (chdir("/") < 0)
		log_warning("", "/: %s", strerror(errno));
	if (write(daemon->started_pipe, "", 1) != 1)
		log_warning("", "the starting process is gone");
	close(daemon->started_pipe);
}

/* Loads the modules of the command line. */
static int load_modules(struct daemon *daemon)
{
	static const char *const shims[] = { "poolfs-shim", POOLFS_LIBEXEC_FROM_BIN "/poolfs-shim", NULL };
	static const char *const directories[] = { POOLFS_MODULES_FROM_BIN, NULL };
	char *here = getcwd(NULL, 0);
	struct poolfs_err err = { "" };
	int result = 0;

	daemon->shim = installed_find(shims, POOLFS_LIBEXECDIR "/poolfs-shim");
	char *directory = installed_find(directories, POOLFS_MODULEDIR);
	daemon->modules = modules_new(daemon->shim, directory);
	free(directory);
	for (size_t i = 0; result == 0 && i < daemon->options.module_count; i++) {
		char *path = NULL;

		result = modules_path(daemon->modules, daemon->options.modules[i], here ? here : "/", &path, &err);
		if (result == 0)
			result = modules_add(daemon->modules, path, &err);
		free(path);
	}
	free(here);
	if (result < 0)
		fprintf(stderr, "poolfs: error: --module: %s\n", err.text);
	return result;
}

/* A mount whose daemon was killed stays, and answers ENOTCONN: takes such a one of ours away. */
static void clear_dead_mount(const char *mount_point)
{
	struct stat stat_;
	pid_t pid;
	int status;

	if (stat(mount_point, &stat_) == 0 || errno != ENOTCONN)
		return;
	log_info("", "%s: the poolfs that was mounted here is dead; unmounting it", mount_point);
	if (umount2(mount_point, MNT_DETACH) == 0)
		return;
	if ((pid = fork()) == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "--", mount_point, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
}

/* Finds the mount point and its absolute path. */
static int find_mount_point(struct daemon *daemon, struct poolfs_err *err)
{
	const char *given = daemon->options.mount_point;
	struct stat stat_;

	if (!given)
		return 0;
	if (daemon->options.action == OPTIONS_MOUNT)
		clear_dead_mount(given);
	daemon->mount_point = realpath(given, NULL);
	if (!daemon->mount_point || stat(daemon->mount_point, &stat_) < 0)
		return poolfs_err_set(err, -errno, "mount point %s: %s", given,
			errno == ENOENT ? "does not exist; make the directory first" : strerror(errno));
	if (!S_ISDIR(stat_.st_mode))
		return poolfs_err_set(err, -ENOTDIR, "mount point %s: is not a directory", given);
	return 0;
}

/* Reads the configuration; its errors go to standard error as they are. */
static int load_config(struct daemon *daemon)
{
	struct text errors = { 0 };
	struct poolfs_err err = { "" };

	if (daemon->options.demo) {
		int made = config_demo(&daemon->config, &err);
		if (made < 0)
			fprintf(stderr, "poolfs: error: %s\n", err.text);
		return made;
	}
	int result = config_load(daemon->options.config, daemon->mount_point, daemon->modules,
		&daemon->config, &errors);

	if (result < 0)
		fputs(errors.data ? errors.data : strerror(-result), stderr);
	text_done(&errors);
	return result;
}

/* Chooses how much is logged, and where. */
static void open_log(struct daemon *daemon)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	const char *chosen = poolfs_string(daemon->config->daemon, "log_level");
	enum log_level level = LOG_LEVEL_INFO;

	for (size_t i = 0; chosen && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], chosen) == 0)
			level = (enum log_level)i;
	log_open(!daemon->options.foreground, daemon->options.debug ? LOG_LEVEL_DEBUG : level);
}

/* The working directory: opened, locked, and cleaned of what an earlier daemon left. */
static int open_workdir(struct daemon *daemon, struct workdir_left *left, struct poolfs_err *err)
{
	const char *configured = poolfs_string(daemon->config->daemon, "workdir");

	daemon->workdir_path = configured ? memory_string(configured)
					  : workdir_default(daemon->mount_point);
	daemon->workdir = workdir_open(daemon->workdir_path, &daemon->lock, err);
	if (daemon->workdir < 0)
		return daemon->workdir;
	workdir_clean(daemon->workdir, daemon->workdir_path, left);
	return 0;
}

/* Every instance takes a few descriptors. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* The signals that end us. */
static void watch_signals(struct daemon *daemon)
{
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < END_SIGNALS; i++) {
		uv_signal_init(&daemon->loop, &daemon->signals[i]);
		daemon->signals[i].data = daemon;
		uv_signal_start(&daemon->signals[i], signaled, end_signals[i]);
	}
}

/* Whether -o has this word. */
static bool has_mount_option(const struct options *options, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = options->mount_options; at && *at;) {
		size_t here = strcspn(at, ",");

		if (here == length && memcmp(at, word, length) == 0)
			return true;
		at += here + (at[here] == ',');
	}
	return false;
}

/* Makes the tree and mounts it. */
static int mount_all(struct daemon *daemon, uint32_t next_id, struct poolfs_err *err)
{
	struct mount plan = { .loop = &daemon->loop,
		.config = daemon->config,
		.mount_point = daemon->mount_point,
		.workdir = daemon->workdir,
		.workdir_path = daemon->workdir_path,
		.shim = daemon->shim,
		.allow_other = poolfs_number(daemon->config->daemon, "allow_other") ||
			has_mount_option(&daemon->options, "allow_other"),
		.foreground = daemon->options.foreground,
		.idle = idle,
		.next_id = next_id };

	daemon->mount = mount_new(&plan);
	int result = fuse_mount_new(&daemon->loop, daemon->config->file, daemon->mount_point,
		daemon->options.mount_options, plan.allow_other, unmounted, daemon, &daemon->fuse, err);
	if (result < 0)
		mount_free(daemon->mount);
	else
		daemon->vigil = vigil_new(&daemon->loop, daemon->mount_point, &vigil_events, daemon);
	return result;
}

/* Frees what set_up made, but for the loop's handles, in reverse order. */
static void tear_down(struct daemon *daemon)
{
	if (daemon->lock >= 0)
		close(daemon->lock);
	if (daemon->workdir >= 0)
		close(daemon->workdir);
	free(daemon->shim);
	free(daemon->workdir_path);
	config_free(daemon->config);
	modules_free(daemon->modules);
	free(daemon->mount_point);
	options_done(&daemon->options);
}

/* Sets up, serves until the end. Returns the exit status. */
static int serve(struct daemon *daemon, struct poolfs_err *err)
{
	struct workdir_left left = { 0 };

	open_log(daemon);
	raise_limits();
	umask(077);
	if (open_workdir(daemon, &left, err) < 0)
		return -1;
	uv_loop_init(&daemon->loop);
	daemon->loop.data = daemon;
	if (mount_all(daemon, left.next_id, err) < 0) {
		free(left.owing);
		uv_loop_close(&daemon->loop);
		return -1;
	}
	watch_signals(daemon);
	tell_started(daemon);
	remains_left(daemon->mount, left.owing, left.owing_count);
	free(left.owing);
	uv_run(&daemon->loop, UV_RUN_DEFAULT);
	tree_close_all();
	mount_free(daemon->mount);
	object_table_free();
	uv_loop_close(&daemon->loop);
	return 0;
}

/* Runs the daemon in this process. Returns the exit status. */
static int run(struct daemon *daemon)
{
	struct poolfs_err err = { "" };
	int result = find_mount_point(daemon, &err);

	if (result == 0 && (result = load_config(daemon)) == 0 &&
		daemon->options.action == OPTIONS_MOUNT)
		result = serve(daemon, &err);
	if (err.text[0])
		fprintf(stderr, "poolfs: error: %s\n", err.text);
	tear_down(daemon);
	return result < 0 ? 1 : 0;
}

/* The parent: waits until the daemon has mounted, or failed. Returns the exit status. */
static int wait_started(int pipe, pid_t pid)
{
	char byte;
	int status = 0;

	if (read(pipe, &byte, 1) == 1)
		return 0;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Runs in the background, as a session of its own. */
static int run_background(struct daemon *daemon)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "poolfs: error: %s\n", strerror(errno));
		return 1;
	}
	if (pid > 0) {
		close(ends[1]);
		tear_down(daemon);
		return wait_started(ends[0], pid);
	}
	close(ends[0]);
	setsid();
	daemon->started_pipe = ends[1];
	return run(daemon);
}

/* Prints the keys of a kind. Returns the exit status. */
static int help_backend(const struct daemon *daemon)
{
	if (config_print_keys(stdout, daemon->modules, daemon->options.kind) == 0)
		return 0;
	fprintf(stderr, "poolfs: no kind of machine is called %s; poolfs --backends lists them\n",
		daemon->options.kind);
	return 1;
}

/* Does what needs the kinds of machines. Returns the exit status. */
static int serve_kinds(struct daemon *daemon)
{
	int status = load_modules(daemon) < 0 ? 1 : 0;
	enum options_action action = daemon->options.action;

	if (status == 0 && (action == OPTIONS_CHECK ||
				   (action == OPTIONS_MOUNT && daemon->options.foreground)))
		return run(daemon);
	if (status == 0 && action == OPTIONS_MOUNT)
		return run_background(daemon);
	if (status == 0 && action == OPTIONS_BACKENDS)
		config_print_kinds(stdout, daemon->modules);
	else if (status == 0)
		status = help_backend(daemon);
	tear_down(daemon);
	return status;
}

/* Does what the command line says. */
int main(int argc, char **argv)
{
	struct daemon daemon = { .workdir = -1, .lock = -1, .started_pipe = -1 };
	int status = 0;

	fill_standard();
	if (options_parse(argc, argv, &daemon.options) < 0) {
		options_done(&daemon.options);
		return 2;
	}
	switch (daemon.options.action) {
	case OPTIONS_HELP:
		options_help();
		break;
	case OPTIONS_VERSION:
		printf("poolfs %s\n", POOLFS_VERSION);
		break;
	case OPTIONS_SCAN_CONSOLE:
		status = scan_console(daemon.options.file, daemon.options.patterns,
			daemon.options.titles);
		break;
	default:
		return serve_kinds(&daemon);
	}
	options_done(&daemon.options);
	return status;
}
