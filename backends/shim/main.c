/* SPDX-License-Identifier: MIT */
/*
 * poolfs-shim DIRECTORY: the process of one instance (protocol/protocol.h says what the
 * daemon gives it). poolfs-shim --launch PROGRAM ARGS...: see process/launch.h.
 * poolfs-shim --clean DIRECTORY: see clean.h.
 * poolfs-shim --describe FILE, --examine FILE: see module/describe.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "backends/base/memory.h"
#include "backends/base/started.h"
#include "backends/base/values.h"
#include "backends/crash/patterns.h"
#include "backends/facts.h"
#include "backends/kinds.h"
#include "backends/module/describe.h"
#include "backends/module/load.h"
#include "backends/process/launch.h"
#include "backends/protocol/slots.h"
#include "backends/protocol/sockets.h"
#include "backends/shim/clean.h"
#include "backends/shim/registry.h"
#include "backends/shim/shim.h"

#define CONFIG_VERSION 1
#define DESCRIPTORS 16384

/* What instance.json says. */
struct instance {
	char *name;				/* POOL/NAME */
	struct module *module;			/* that the backend is of; NULL: of none */
	const struct poolfs_backend *backend;
	const char *transport;
	const struct poolfs_key **tables;
	struct poolfs_values *values;
	struct patterns *patterns;		/* of crashes */
	char *slots;				/* the memory shared with the daemon; NULL: there is none */
};

struct program {
	uv_loop_t loop;
	uv_signal_t term;
	struct shim *shim;
};

/* Reports why the shim does not even begin. */
static int complain(const char *what, const char *why)
{
	fprintf(stderr, "poolfs-shim: error: %s: %s\n", what, why);
	return -1;
}

/* Closes what the caller left open beyond the descriptors that are ours. */
static void close_others(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);
		if (fd > PROTOCOL_SLOTS_FD && fd != dirfd(dir))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* Makes descriptors 0 to 2 something, so that no other file gets their numbers. */
static int fill_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return complain("/dev/null", strerror(errno));
	return 0;
}

/* Whether descriptors 3 and 4 are what the daemon hands over. */
static int check_sockets(void)
{
	int listens = 0;
	socklen_t size = sizeof(listens);

	if (getsockopt(PROTOCOL_LISTENER_FD, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
		return complain("descriptor 3", strerror(errno));
	if (!listens)
		return complain("descriptor 3", "not a listening socket");
	return sockets_is_stream(PROTOCOL_DAEMON_FD, FORWARD_UNIX) ?
		       0 : complain("descriptor 4", "not a connection");
}

/* Maps descriptor 5, if the daemon hands memory over. */
static int map_slots(char **slots)
{
	int result = slots_map(PROTOCOL_SLOTS_FD, slots);

	close(PROTOCOL_SLOTS_FD);
	return result == 0 || result == -ENXIO ? 0 : complain("descriptor 5", strerror(-result));
}

/* Signals and limits. A core file would hold secrets; programs of the machine may have one, if they want. */
static void set_limits(void)
{
	struct rlimit core, files;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	if (getrlimit(RLIMIT_CORE, &core) == 0) {
		core.rlim_cur = 0;
		setrlimit(RLIMIT_CORE, &core);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < DESCRIPTORS) {
		files.rlim_cur = files.rlim_max < DESCRIPTORS ? files.rlim_max : DESCRIPTORS;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	umask(077);
}

/* Leaves our number for a later daemon, in one step. */
static int write_pid(void)
{
	char text[64];
	int size = snprintf(text, sizeof(text), "%d %llu\n", getpid(), started_at(getpid()));
	int fd = open("shim.pid.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return complain("shim.pid", strerror(errno));
	ssize_t count = write(fd, text, (size_t)size);
	int synced = fsync(fd);
	close(fd);
	if (count != size || synced < 0 || rename("shim.pid.new", "shim.pid") < 0)
		return complain("shim.pid", count >= 0 && count < size ? "disk full"
								       : strerror(errno));
	return 0;
}

/* Finds the backend of a kind: in the module, or, where that is NULL, here. */
static int set_backend(struct instance *instance, const char *type, const char *file)
{
	struct poolfs_err err = { "" };

	if (!file)
		instance->backend = registry_find(type);
	else if (module_load(file, &instance->module, &err) < 0)
		return complain(file, err.text);
	else
		instance->backend = &instance->module->backend;
	if (!instance->backend || strcmp(instance->backend->kind->name, type) != 0)
		return complain(type, "no such kind of machine");
	return 0;
}

/* Finds the backend, and reads the values by its keys. */
static int set_kind(struct instance *instance, const char *type, const char *file,
	const json_t *values)
{
	struct poolfs_err err = { "" };

	if (set_backend(instance, type, file) < 0)
		return -1;
	const struct poolfs_kind *kind = instance->backend->kind;
	instance->tables = kinds_tables(kind);
	instance->values = values_from_json(instance->tables, values, &err);
	if (!instance->values)
		return complain("instance.json", err.text);
	if (facts_transport(kind, instance->values, &instance->transport, &err) < 0)
		return complain("instance.json", err.text);
	return 0;
}

/* Reads instance.json. */
static int read_instance(struct instance *instance)
{
	const char *pool, *name, *type, *module = NULL;
	json_error_t error;
	json_t *values;
	int version, result;
	json_t *root = json_load_file("instance.json", JSON_REJECT_DUPLICATES, &error);

	if (!root)
		return complain("instance.json", error.text);
	if (json_unpack_ex(root, &error, 0, "{s:i, s:s, s:s, s:s, s?s, s:o}", "version", &version,
			"pool", &pool, "name", &name, "type", &type, "module", &module, "values",
			&values) < 0) {
		result = complain("instance.json", error.text);
	} else if (version != CONFIG_VERSION) {
		result = complain("instance.json", "written by another version of poolfs");
	} else {
		instance->name = memory_format("%s/%s", pool, name);
		result = set_kind(instance, type, module, values);
	}
	json_decref(root);
	return result;
}

/* Reads what a crash looks like. */
static int read_patterns(struct instance *instance)
{
	struct poolfs_err err = { "" };
	char *fallback = patterns_default();
	int result = patterns_load(poolfs_string(instance->values, "crash_patterns"), fallback,
		&instance->patterns, &err);

	free(fallback);
	return result < 0 ? complain("crash patterns", err.text) : 0;
}

/* SIGTERM is the same as FRAME_STOP. */
static void on_term(uv_signal_t *handle, int number)
{
	shim_stop(((struct program *)handle->data)->shim);
}

/* The machine is gone, and so are we. */
static void on_done(void *data, bool clean)
{
	struct program *program = data;

	if (!clean)
		_exit(EXIT_FAILURE);
	shim_close(program->shim);
	uv_close((uv_handle_t *)&program->term, NULL);
}

/* How long the backend's stop may take. */
static uint64_t stop_limit(const struct instance *instance)
{
	const char *key = instance->backend->kind->stop_limit;

	return LIFE_STOP_MS + (key ? (uint64_t)poolfs_number(instance->values, key) : 0);
}

/* Whether the machine goes on without the instance. */
static bool outlives(const struct instance *instance)
{
	const struct poolfs_kind *kind = instance->backend->kind;
	uint32_t more = kind->features_with ? kind->features_with(instance->values) : 0;

	return (kind->features | more) & POOLFS_FEATURE_OUTLIVES;
}

/* Runs the instance until it ends. */
static int run(const struct instance *instance, const char *directory, int dirfd)
{
	struct program program;
	struct shim_setup setup = {
		.backend = instance->backend,
		.transport = registry_transport(instance->transport),
		.values = instance->values,
		.patterns = instance->patterns,
		.name = instance->name,
		.directory = directory,
		.dirfd = dirfd,
		.listener = PROTOCOL_LISTENER_FD,
		.connection = PROTOCOL_DAEMON_FD,
		.slots = instance->slots,
		.outlives = outlives(instance),
		.stop_limit = stop_limit(instance),
		.grace = LIMITS_GRACE_MS,
		.done = on_done,
		.data = &program,
	};

	if (!setup.transport)
		return complain(instance->name, "its kind names an unknown transport");
	if (uv_loop_init(&program.loop) < 0)
		return complain("libuv", "no loop");
	uv_signal_init(&program.loop, &program.term);
	program.term.data = &program;
	program.shim = shim_new(&program.loop, &setup);
	uv_signal_start(&program.term, on_term, SIGTERM);
	uv_run(&program.loop, UV_RUN_DEFAULT);
	shim_free(program.shim);
	return uv_loop_close(&program.loop);
}

/* Ends what a killed shim left. */
static int clean(const struct instance *instance, const char *directory, int dirfd)
{
	struct shim_setup setup = { .backend = instance->backend, .values = instance->values,
		.name = instance->name, .directory = directory, .dirfd = dirfd,
		.stop_limit = stop_limit(instance) };
	struct poolfs_err err = { "" };

	if (clean_run(&setup, &err) == 0)
		return 0;
	/* The daemon tells the last line. */
	fprintf(stderr, "%s\n", err.text);
	return -1;
}

/* The work of a shim. */
static int work(struct instance *instance, const char *directory, int dirfd)
{
	int result = write_pid();

	if (result == 0)
		result = map_slots(&instance->slots);
	if (result == 0)
		result = read_instance(instance);
	if (result == 0)
		result = read_patterns(instance);
	return result < 0 ? result : run(instance, directory, dirfd);
}

/* Begins the work in the instance's directory. */
static int serve(const char *name, bool cleans)
{
	struct instance instance = { 0 };

	if (chdir(name) < 0)
		return complain(name, strerror(errno));
	char *directory = getcwd(NULL, 0);
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = !directory || fd < 0 ? complain(name, strerror(errno)) : 0;
	if (result == 0 && cleans)
		result = read_instance(&instance) < 0 ? -1 : clean(&instance, directory, fd);
	else if (result == 0)
		result = work(&instance, directory, fd);
	slots_unmap(instance.slots);
	patterns_free(instance.patterns);
	values_free(instance.values);
	free(instance.tables);
	free(instance.module);
	free(instance.name);
	free(directory);
	if (fd >= 0)
		close(fd);
	return result;
}

/* Dispatches. */
int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "--launch") == 0)
		return launch_main(argc, argv);
	if (argc >= 2 && (strcmp(argv[1], "--describe") == 0 || strcmp(argv[1], "--examine") == 0))
		describe_main(argc, argv);
	bool cleans = argc == 3 && strcmp(argv[1], "--clean") == 0;
	if (!cleans && (argc != 2 || argv[1][0] == '-')) {
		fprintf(stderr, "usage: poolfs-shim [--clean] DIRECTORY (started by poolfs)\n");
		return 2;
	}
	close_others();
	if (fill_standard() < 0 || (!cleans && check_sockets() < 0))
		return EXIT_FAILURE;
	set_limits();
	return serve(argv[argc - 1], cleans) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
