/* SPDX-License-Identifier: MIT */
#include "backends/protocol/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes it. */
int slots_make(void)
{
	int fd = memfd_create("poolfs-slots", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)SLOTS_SIZE) == 0 &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

/* Maps it. */
int slots_map(int fd, char **memory)
{
	struct stat stat_;

	if (fstat(fd, &stat_) < 0 || !S_ISREG(stat_.st_mode) || stat_.st_size != (off_t)SLOTS_SIZE ||
		!(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK))
		return -ENXIO;
	void *mapped = mmap(NULL, SLOTS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		return -errno;
	*memory = mapped;
	return 0;
}

/* Unmaps. */
void slots_unmap(char *memory)
{
	if (memory)
		munmap(memory, SLOTS_SIZE);
}

/* Empties it. */
void slots_clear(char *memory)
{
	madvise(memory, SLOTS_SIZE, MADV_REMOVE);
}
