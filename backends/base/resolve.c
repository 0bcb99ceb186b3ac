/* SPDX-License-Identifier: MIT */
#include "backends/base/resolve.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whenever anything in any tree is renamed while the kernel is at a "..", it gives up, for it cannot tell
 * where that leads (EAGAIN in openat2(2)). So often in a row it is no accident. */
#define TRIES 10000

/* Opens. */
int resolve_open(int directory, const char *path, int flags, unsigned how)
{
	struct open_how wanted = { .flags = (unsigned)flags, .resolve = how | RESOLVE_NO_MAGICLINKS };
	long fd = -1;

	for (int i = 0; i < TRIES; i++) {
		fd = syscall(SYS_openat2, directory, path, &wanted, sizeof(wanted));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}
