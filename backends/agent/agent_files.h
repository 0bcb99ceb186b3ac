/* SPDX-License-Identifier: MIT */
/*
 * The process in the machine that carries out file requests: one after the other, for one
 * directory. agent_files.c reads and answers them, agent_path.c does what works on paths,
 * agent_data.c what works on handles.
 *
 * A path is resolved by the kernel below that directory (base/resolve.h): a link that
 * somebody puts in the way leads nowhere else. The last name is never followed.
 */
#ifndef AGENT_AGENT_FILES_H
#define AGENT_AGENT_FILES_H

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/base/text.h"
#include "backends/protocol/files.h"

#define AGENT_BUCKETS 256u

/* An open file or directory. */
struct open_file {
	struct open_file *next;
	uint64_t handle;
	int fd;
	DIR *directory;		/* NULL: a file */
};

struct server_files {
	int root;		/* the directory */
	struct open_file *open[AGENT_BUCKETS];
};

/* What a request is answered with. */
struct answer {
	struct file_reply reply;
	struct text data;
};

/* One operation; 0 or a negative errno, with the rest of the answer. */
typedef int file_operation(struct server_files *files, const struct file_call *call,
	struct answer *answer);

file_operation agent_getattr, agent_setattr, agent_readlink, agent_symlink, agent_link,
	agent_mkdir, agent_unlink, agent_rmdir, agent_rename, agent_statfs;
file_operation agent_open, agent_read, agent_write, agent_fsync, agent_close, agent_opendir,
	agent_readdir, agent_copy;

/* The open file with that number, or NULL. */
struct open_file *agent_find(const struct server_files *files, uint64_t handle);
/* The directory that holds path, opened to look at, and the last name in it ("." for the root).
 * A descriptor or a negative errno. */
int agent_parent(const struct server_files *files, const char *path, const char **name);
/* What the answer says of a file. */
void agent_attr(const struct stat *status, struct file_attr *attr);

#endif
