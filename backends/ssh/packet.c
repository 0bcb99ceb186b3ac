/* SPDX-License-Identifier: MIT */
#include "backends/ssh/packet.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/ssh/bounds.h"

/* Which fields an ATTRS structure has (section 5 of the draft). */
#define HAS_SIZE     1u
#define HAS_OWNER    2u
#define HAS_MODE     4u
#define HAS_TIMES    8u
#define HAS_EXTENDED 0x80000000u

/* Takes size bytes off the front; NULL when there are fewer. */
static const unsigned char *take(struct packet *packet, size_t size)
{
	const unsigned char *data = packet->data;

	if (packet->bad || packet->size < size) {
		packet->bad = true;
		return NULL;
	}
	packet->data += size;
	packet->size -= size;
	return data;
}

/* Four bytes, big end first. */
static uint32_t load_u32(const unsigned char *data)
{
	return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

/* A 32-bit number. */
uint32_t packet_u32(struct packet *packet)
{
	const unsigned char *data = take(packet, 4);

	return data ? load_u32(data) : 0;
}

/* A 64-bit number. */
uint64_t packet_u64(struct packet *packet)
{
	const unsigned char *data = take(packet, 8);

	return data ? (uint64_t)load_u32(data) << 32 | load_u32(data + 4) : 0;
}

/* A counted string. */
const char *packet_string(struct packet *packet, size_t *size)
{
	size_t length = packet_u32(packet);
	const unsigned char *data = take(packet, length);

	*size = data ? length : 0;
	return data ? (const char *)data : "";
}

/* Whether a mode's type is one that Linux knows. */
static bool type_known(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISFIFO(mode) ||
	       S_ISSOCK(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

/* Passes over extended pairs; each takes 8 bytes at least, so a lying count ends soon. */
static void skip_extended(struct packet *packet)
{
	size_t size;

	for (uint32_t left = packet_u32(packet); left && !packet->bad; left--) {
		packet_string(packet, &size);
		packet_string(packet, &size);
	}
}

/* Attributes, cleaned. */
void packet_attr(struct packet *packet, struct file_attr *attr)
{
	uint32_t has = packet_u32(packet);
	struct file_attr got = { .valid = has & (HAS_SIZE | HAS_OWNER | HAS_TIMES) };

	if (has & HAS_SIZE)
		got.size = packet_u64(packet);
	if (got.size > INT64_MAX)
		got.size = INT64_MAX;
	if (has & HAS_OWNER) {
		got.uid = packet_u32(packet);
		got.gid = packet_u32(packet);
	}
	if (has & HAS_MODE)
		got.mode = packet_u32(packet) & (S_IFMT | 01777);
	if (type_known(got.mode))
		got.valid |= FILE_ATTR_MODE;
	if (has & HAS_TIMES) {
		got.atime = packet_u32(packet);
		got.mtime = packet_u32(packet);
	}
	if (has & HAS_EXTENDED)
		skip_extended(packet);
	*attr = got;
}

/* Appends a byte. */
void packet_put_u8(struct text *out, uint8_t value)
{
	text_append(out, &value, 1);
}

/* Appends a 32-bit number. */
void packet_put_u32(struct text *out, uint32_t value)
{
	unsigned char bytes[4] = { (unsigned char)(value >> 24), (unsigned char)(value >> 16),
		(unsigned char)(value >> 8), (unsigned char)value };

	text_append(out, bytes, sizeof(bytes));
}

/* Appends a 64-bit number. */
void packet_put_u64(struct text *out, uint64_t value)
{
	packet_put_u32(out, (uint32_t)(value >> 32));
	packet_put_u32(out, (uint32_t)value);
}

/* Appends a counted string. */
void packet_put_string(struct text *out, const void *data, size_t size)
{
	packet_put_u32(out, (uint32_t)size);
	text_append(out, data, size);
}

/* A time as the protocol can say it. */
static uint32_t clamp_time(int64_t seconds)
{
	if (seconds < 0)
		return 0;
	return seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

/* Appends attributes. */
void packet_put_attr(struct text *out, const struct file_attr *attr, uint32_t valid)
{
	packet_put_u32(out, valid & (HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES));
	if (valid & FILE_ATTR_SIZE)
		packet_put_u64(out, attr->size);
	if (valid & FILE_ATTR_OWNER) {
		packet_put_u32(out, attr->uid);
		packet_put_u32(out, attr->gid);
	}
	if (valid & FILE_ATTR_MODE)
		packet_put_u32(out, attr->mode & 07777);
	if (valid & FILE_ATTR_TIMES) {
		packet_put_u32(out, clamp_time(attr->atime));
		packet_put_u32(out, clamp_time(attr->mtime));
	}
}

/* Finds the end of the first packet. */
int packet_next(const void *data, size_t available, size_t *size)
{
	if (available < 4)
		return -EAGAIN;
	size_t length = load_u32(data);

	/* A type and an id, or the version of PACKET_VERSION. */
	if (length < 5 || length > LIMIT_PACKET)
		return -EPROTO;
	if (available < 4 + length)
		return -EAGAIN;
	*size = 4 + length;
	return ((const unsigned char *)data)[4];
}
