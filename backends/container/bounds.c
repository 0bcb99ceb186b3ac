/* SPDX-License-Identifier: MIT */
/*
 * What stands between a container's processes and the host's kernel, beside the namespaces: no
 * program gives more rights than its caller has (no_new_privs), root keeps only the capabilities
 * that it needs among its own processes and files, and calls that make the kernel's rarer parts
 * reachable are refused by a filter (seccomp(2)). A container shares the kernel with the host all
 * the same: whoever finds a fault in what is left is out.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/container/boot.h"
#include "backends/container/parts.h"

#define BIT(capability) (UINT64_C(1) << (capability))

/* Root's capabilities in the container. */
#define KEPT (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | \
	BIT(CAP_KILL) | BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETPCAP) | BIT(CAP_SETFCAP) | \
	BIT(CAP_SYS_CHROOT) | BIT(CAP_NET_BIND_SERVICE))

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define NAMESPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | \
	CLONE_NEWNET | CLONE_NEWCGROUP)

/* Calls that are refused with EPERM. */
static const int refused[] = {
	SYS_acct, SYS_add_key, SYS_bpf, SYS_clock_adjtime, SYS_clock_settime, SYS_delete_module,
	SYS_finit_module, SYS_init_module, SYS_kexec_file_load, SYS_kexec_load, SYS_keyctl,
	SYS_mount, SYS_move_pages, SYS_name_to_handle_at, SYS_nfsservctl, SYS_open_by_handle_at,
	SYS_perf_event_open, SYS_pivot_root, SYS_quotactl, SYS_reboot, SYS_request_key, SYS_setns,
	SYS_settimeofday, SYS_swapoff, SYS_swapon, SYS_syslog, SYS_umount2, SYS_unshare,
	SYS_userfaultfd, SYS_vhangup,
#ifdef SYS_iopl
	SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl,
#endif
#ifdef SYS_open_tree
	SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick,
#endif
#ifdef SYS_mount_setattr
	SYS_mount_setattr,
#endif
#ifdef SYS_quotactl_fd
	SYS_quotactl_fd,
#endif
};

/* Calls that a program takes for absent, and does without. clone3(2) has its flags in memory, where
 * a filter cannot look. */
static const int absent[] = {
#ifdef SYS_clone3
	SYS_clone3,
#endif
#ifdef SYS_io_uring_setup
	SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
#endif
};

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
/* The lower half of an argument; Linux runs on machines with that half first. */
#define LOAD_ARGUMENT(n) LOAD(args[n])
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)

#ifdef ARCH

struct program {
	struct sock_filter code[256];
	unsigned short size;
};

/* Appends an instruction. */
static void add(struct program *program, struct sock_filter one)
{
	program->code[program->size++] = one;
}

/* Appends: if the number loaded is `number`, return value. */
static void add_if(struct program *program, uint32_t number, uint32_t value)
{
	add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
	add(program, (struct sock_filter)RETURN(value));
}

/* Other architectures' calls (32-bit programs, x32) have other numbers, so they are absent. */
static void add_architecture(struct program *program)
{
	add(program, (struct sock_filter)LOAD(arch));
	add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	add(program, (struct sock_filter)RETURN(ABSENT));
	add(program, (struct sock_filter)LOAD(nr));
#ifdef __x86_64__
	add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
	add(program, (struct sock_filter)RETURN(ABSENT));
#endif
}

/* clone(2) may make processes and threads, no namespaces; TIOCSTI would type into a terminal. */
static void add_arguments(struct program *program)
{
	add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4));
	add(program, (struct sock_filter)LOAD_ARGUMENT(0));
	add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1));
	add(program, (struct sock_filter)RETURN(REFUSE));
	add(program, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
	add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3));
	add(program, (struct sock_filter)LOAD_ARGUMENT(1));
	add_if(program, TIOCSTI, REFUSE);
	add(program, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
}

/* Sets the filter. */
static void set_filter(void)
{
	struct program program = { .size = 0 };

	add_architecture(&program);
	for (size_t i = 0; i < COUNT(refused); i++)
		add_if(&program, (uint32_t)refused[i], REFUSE);
	for (size_t i = 0; i < COUNT(absent); i++)
		add_if(&program, (uint32_t)absent[i], ABSENT);
	add_arguments(&program);
	struct sock_fprog filter = { .len = program.size, .filter = program.code };
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0)
		return;
	if (errno != EINVAL)
		boot_fail(-errno, "the filter of system calls cannot be set");
	boot_send(BOOT_STATUS, -1, "seccomp not available in this kernel");
}
#else
static void set_filter(void)
{
	boot_send(BOOT_STATUS, -1, "seccomp no filter for this architecture");
}
#endif

/* Drops capabilities, from what programs can get and from what we have. */
static void drop_capabilities(uint64_t kept)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if (!(kept & BIT(i)) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			boot_fail(-errno, "capability %d cannot be dropped", i);
	for (int i = 0; i < 2; i++) {
		uint32_t half = (uint32_t)(kept >> (32 * i));
		data[i] = (struct __user_cap_data_struct){ .effective = half, .permitted = half };
	}
	if (syscall(SYS_capset, &header, data) < 0)
		boot_fail(-errno, "the capabilities cannot be dropped");
}

/* Sets all. In a network of its own, a container may also send packets of its own making (ping). */
void bounds_set(bool own_network)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		boot_fail(-errno, "no_new_privs");
	drop_capabilities(KEPT | (own_network ? BIT(CAP_NET_RAW) : 0));
	set_filter();
}
