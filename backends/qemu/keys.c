/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "backends/qemu/image.h"
#include "backends/qemu/qemu.h"

/* The emulator of the machine that we are built for. */
#if defined(__aarch64__)
#define PROGRAM "qemu-system-aarch64"
#else
#define PROGRAM "qemu-system-x86_64"
#endif

static const char *const accel_choices[] = { "auto", "kvm", "tcg", NULL };
static const char *const format_choices[] = { "qcow2", "raw", NULL };
static const char *const network_choices[] = { "isolated", "user", NULL };

static const struct poolfs_key qemu_keys[] = {
	{ .name = "kernel",
	  .type = POOLFS_PATH,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "A Linux kernel to boot directly. poolfs-mkguest makes one with an initrd." },
	{ .name = "initrd",
	  .type = POOLFS_PATH,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "The kernel's initial ramdisk." },
	{ .name = "append",
	  .type = POOLFS_STRING,
	  .help = "The kernel's command line. Unset: the serial console and panic=-1 "
		  "(\"console=ttyS0 panic=-1\" on a PC), so that a panic ends the machine." },
	{ .name = "disk",
	  .type = POOLFS_PATH,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "A disk image. It is never written: every instance writes to an overlay of its "
		  "own, which goes with it." },
	{ .name = "disk_format",
	  .type = POOLFS_CHOICE,
	  .fallback = "qcow2",
	  .choices = format_choices,
	  .help = "The format of disk. It is never guessed from the image's content." },
	{ .name = "firmware",
	  .type = POOLFS_PATH,
	  .flags = POOLFS_KEY_EXISTS,
	  .help = "Firmware instead of QEMU's own (-bios), such as the UEFI that a 64-bit ARM disk "
		  "image needs." },
	{ .name = "memory",
	  .type = POOLFS_SIZE,
	  .fallback = "256M",
	  .min = 8388608,
	  .max = 17592186044416,
	  .help = "The machine's memory." },
	{ .name = "cpus",
	  .type = POOLFS_INT,
	  .fallback = "1",
	  .min = 1,
	  .max = 1024,
	  .help = "How many processors the machine has." },
	{ .name = "accel",
	  .type = POOLFS_CHOICE,
	  .fallback = "auto",
	  .choices = accel_choices,
	  .help = "auto uses KVM where a trial boot works (its result is remembered until the host "
		  "boots), and else emulation (tcg), which is about ten times slower." },
	{ .name = "machine",
	  .type = POOLFS_STRING,
	  .help = "QEMU's machine type, in QEMU's notation (-machine). Unset: q35, or virt for "
		  "ARM. microvm has fewer devices and boots faster, but its kernel may find no "
		  "clock on a busy host without KVM." },
	{ .name = "cpu",
	  .type = POOLFS_STRING,
	  .help = "QEMU's processor model, in QEMU's notation (-cpu). Unset: host with KVM, max "
		  "without." },
	{ .name = "program",
	  .type = POOLFS_PROGRAM,
	  .flags = POOLFS_KEY_EXISTS,
	  .fallback = PROGRAM,
	  .help = "The emulator, qemu-system-x86_64 or qemu-system-aarch64; from its name the "
		  "machine's architecture is taken." },
	{ .name = "network",
	  .type = POOLFS_CHOICE,
	  .fallback = "isolated",
	  .choices = network_choices,
	  .help = "isolated: the guest reaches neither the host nor the network. user: it reaches "
		  "both, by QEMU's user network, as the user who runs poolfs does." },
	{ .name = "sandbox",
	  .type = POOLFS_BOOL,
	  .fallback = "yes",
	  .help = "Whether QEMU gives up the system calls it does not need (-sandbox). no is for "
		  "arguments that need them, such as helper programs." },
	{ .name = "arguments",
	  .type = POOLFS_WORDS,
	  .help = "More arguments for QEMU, after those that poolfs gives." },
	{ 0 }
};

static const struct poolfs_key *const tables[] = { qemu_keys, poolfs_ssh_keys, NULL };

/* Whether QEMU can be told the path: it goes into JSON, which is UTF-8. */
static bool is_utf8(const char *path)
{
	json_t *string = json_string(path);

	json_decref(string);
	return string != NULL;
}

/* What the keys must have in common. */
static int qemu_check(const struct poolfs_values *values, struct poolfs_err *err)
{
	bool has_kernel = poolfs_has(values, "kernel");
	uint64_t size;

	if (!has_kernel && !poolfs_has(values, "disk"))
		return poolfs_err_set(err, -EINVAL, "kernel: needed (or disk): there is nothing to "
			"boot; poolfs-mkguest makes a small guest");
	if (!has_kernel && poolfs_has(values, "initrd"))
		return poolfs_err_set(err, -EINVAL, "initrd: needs kernel");
	if (!has_kernel && poolfs_has(values, "append"))
		return poolfs_err_set(err, -EINVAL, "append: needs kernel");
	if (!poolfs_has(values, "disk"))
		return 0;
	if (!is_utf8(poolfs_string(values, "disk")))
		return poolfs_err_set(err, -EILSEQ, "disk: QEMU takes only names in UTF-8");
	return image_check(poolfs_string(values, "disk"),
		poolfs_string(values, "disk_format"), &size, err);
}

const struct poolfs_kind qemu_kind = {
	.abi = POOLFS_ABI,
	.size = sizeof(struct poolfs_kind),
	.name = "qemu",
	.summary = "virtual machines by QEMU, with KVM or by emulation",
	.features = POOLFS_FEATURE_CONSOLE | POOLFS_FEATURE_SYSRQ | POOLFS_FEATURE_NMI |
		POOLFS_FEATURE_RESET,
	.tables = tables,
	.check = qemu_check,
};
