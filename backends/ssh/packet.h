/* SPDX-License-Identifier: MIT */
/*
 * The bytes of SFTP packets, version 3 (draft-ietf-secsh-filexfer-02): big-endian
 * numbers, and strings with their length in front. Reading trusts nothing. No I/O.
 */
#ifndef SSH_PACKET_H
#define SSH_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/base/text.h"
#include "backends/protocol/files.h"

enum packet_type {
	PACKET_INIT = 1,
	PACKET_VERSION,
	PACKET_OPEN,
	PACKET_CLOSE,
	PACKET_READ,
	PACKET_WRITE,
	PACKET_LSTAT,
	PACKET_FSTAT,
	PACKET_SETSTAT,
	PACKET_FSETSTAT,
	PACKET_OPENDIR,
	PACKET_READDIR,
	PACKET_REMOVE,
	PACKET_MKDIR,
	PACKET_RMDIR,
	PACKET_REALPATH,
	PACKET_STAT,
	PACKET_RENAME,
	PACKET_READLINK,
	PACKET_SYMLINK,
	PACKET_STATUS = 101,
	PACKET_HANDLE,
	PACKET_DATA,
	PACKET_NAME,
	PACKET_ATTRS,
	PACKET_EXTENDED = 200,
	PACKET_EXTENDED_REPLY,
};

/* Flags of PACKET_OPEN. */
#define PACKET_READ_FLAG   1u
#define PACKET_WRITE_FLAG  2u
#define PACKET_APPEND_FLAG 4u
#define PACKET_CREATE_FLAG 8u
#define PACKET_TRUNC_FLAG  16u
#define PACKET_EXCL_FLAG   32u

/* What is left to read. Once something did not fit, bad is set and stays so, and every further read
 * gives 0 or an empty string: check it once, at the end. */
struct packet {
	const unsigned char *data;
	size_t size;
	bool bad;
};

uint32_t packet_u32(struct packet *packet);
uint64_t packet_u64(struct packet *packet);
/* A string; *size is its length, the result points into the packet. */
const char *packet_string(struct packet *packet, size_t *size);
/* An ATTRS structure, cleaned: sizes above INT64_MAX are clamped, setuid and setgid are gone, a
 * mode of no known type is left out. */
void packet_attr(struct packet *packet, struct file_attr *attr);

void packet_put_u8(struct text *out, uint8_t value);
void packet_put_u32(struct text *out, uint32_t value);
void packet_put_u64(struct text *out, uint64_t value);
void packet_put_string(struct text *out, const void *data, size_t size);
/* The parts of attr that `valid` names; times beyond 1970..2106 are clamped, the protocol has no
 * others. */
void packet_put_attr(struct text *out, const struct file_attr *attr, uint32_t valid);

/* The type of the first packet in data: -EAGAIN while it is incomplete, -EPROTO when
 * its length is impossible; *size is the length with its own 4 bytes. */
int packet_next(const void *data, size_t available, size_t *size);

#endif
