/* SPDX-License-Identifier: MIT */
#include "backends/module/load.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/base/grown.h"
#include "backends/base/memory.h"

/* What the first modules had: nothing may be shorter. */
#define KIND_LEAST	offsetof(struct poolfs_kind, features_with)
#define BACKEND_LEAST	offsetof(struct poolfs_backend, console_write)
#define MODULE_LEAST	sizeof(struct poolfs_module)

/* Whether nobody else can change what is at path. */
static int trust_one(const char *path, struct poolfs_err *err)
{
	struct stat info;

	if (lstat(path, &info) < 0)
		return poolfs_err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (info.st_uid != 0 && info.st_uid != geteuid())
		return poolfs_err_set(err, -EPERM, "%s belongs to user %u, who could change what runs "
			"as user %u: chown it, or move the module", path, (unsigned)info.st_uid,
			(unsigned)geteuid());
	/* In a sticky directory, such as /tmp, only owners remove and rename. */
	if (info.st_mode & 022 && !(S_ISDIR(info.st_mode) && info.st_mode & S_ISVTX))
		return poolfs_err_set(err, -EPERM, "%s can be changed by others (mode %04o): chmod "
			"go-w %s", path, (unsigned)(info.st_mode & 07777), path);
	return 0;
}

/* Whether nobody but root and this user can change the file: neither itself, nor a directory that leads
 * to it. 0, or a negative errno. */
static int trust(const char *file, struct poolfs_err *err)
{
	char path[PATH_MAX];
	struct stat info;
	int result = 0;

	if (!realpath(file, path) || stat(path, &info) < 0)
		return poolfs_err_set(err, -errno, "%s", strerror(errno));
	if (!S_ISREG(info.st_mode))
		return poolfs_err_set(err, -EINVAL, "not a file: a module is a shared object");
	for (;;) {
		result = trust_one(path, err);
		char *slash = strrchr(path, '/');

		if (result < 0 || strcmp(path, "/") == 0)
			return result;
		slash[slash == path] = '\0';
	}
}

/* Takes one table of the module. what: its name, for people. */
static int take(void *to, size_t to_size, size_t least, const void *from, const char *what,
	struct poolfs_err *err)
{
	uint32_t head[2];	/* abi and size, which every table begins with */

	if (!from)
		return poolfs_err_set(err, -EINVAL, "it has no %s: poolfs_module must name one", what);
	memcpy(head, from, sizeof(head));
	if (head[0] != POOLFS_ABI)
		return poolfs_err_set(err, -EINVAL, "its %s is of interface %u, and this poolfs has "
			"interface %d: build it with this poolfs' header (pkg-config poolfs)", what,
			head[0], POOLFS_ABI);
	int result = head[1] < least ? -EINVAL : grown_copy(to, to_size, from, head[1]);
	if (result == -E2BIG)
		return poolfs_err_set(err, -EINVAL, "its %s has members that are newer than this "
			"poolfs: use a newer poolfs, or build it with this poolfs' header "
			"(pkg-config poolfs)", what);
	if (result < 0)
		return poolfs_err_set(err, -EINVAL, "its %s has an unknown size, %u: it should be "
			"sizeof(struct poolfs_%s)", what, head[1], what);
	return 0;
}

/* Takes all tables over. */
static int take_tables(const void *symbol, struct module *module, struct poolfs_err *err)
{
	struct poolfs_module entry;
	int result = take(&entry, sizeof(entry), MODULE_LEAST, symbol, "module", err);

	if (result == 0)
		result = take(&module->kind, sizeof(module->kind), KIND_LEAST, entry.kind, "kind", err);
	if (result == 0)
		result = take(&module->backend, sizeof(module->backend), BACKEND_LEAST, entry.backend,
			"backend", err);
	if (result == 0 && module->backend.kind != entry.kind)
		result = poolfs_err_set(err, -EINVAL, "its backend is not of its kind: write the same "
			"kind into poolfs_module and into the backend");
	module->backend.kind = &module->kind;
	module->backend.size = sizeof(module->backend);
	module->kind.size = sizeof(module->kind);
	return result;
}

/* Finds the tables in the shared object. */
static int open_object(const char *file, struct module *module, struct poolfs_err *err)
{
	void *object = dlopen(file, RTLD_NOW | RTLD_LOCAL);

	if (!object)
		return poolfs_err_set(err, -ENOEXEC, "it cannot be loaded: %s", dlerror());
	const void *symbol = dlsym(object, "poolfs_module");
	if (!symbol)
		return poolfs_err_set(err, -EINVAL, "it is no module of poolfs: it does not define "
			"poolfs_module, see poolfs-backend(3)");
	return take_tables(symbol, module, err);
}

/* Loads. */
int module_load(const char *file, struct module **out, struct poolfs_err *err)
{
	struct module *module = memory_new(sizeof(*module));
	int result = trust(file, err);

	if (result == 0)
		result = open_object(file, module, err);
	if (result == 0)
		result = module_check(module, err);
	if (result < 0) {
		free(module);
		return result;
	}
	*out = module;
	return 0;
}
