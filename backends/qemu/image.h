/* SPDX-License-Identifier: MIT */
/*
 * A look at a disk image before QEMU gets it. Linked into both programs.
 */
#ifndef QEMU_IMAGE_H
#define QEMU_IMAGE_H

#include <stdint.h>

#include "backends/backend.h"

/*
 * Looks whether the file at path can be the base of instances' disks: of the format that the
 * configuration names ("qcow2" or "raw"; never guessed, as a guest can make a raw disk look like
 * anything), and not an image that names further files of the host. Gives the disk's size in
 * bytes. 0 or a negative errno.
 */
int image_check(const char *path, const char *format, uint64_t *size, struct poolfs_err *err);

#endif
