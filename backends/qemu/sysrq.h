/* SPDX-License-Identifier: MIT */
/*
 * SysRq keys on a machine's serial line: a BREAK, by QEMU's monitor, and then the key. Linux takes
 * the character that follows a BREAK within five seconds, and takes a second BREAK before it as
 * the end of the first (drivers/tty/serial/serial_core.c), so each key waits until the guest has
 * answered the one before: it prints a line for each, whether it knows the key or not.
 */
#ifndef QEMU_SYSRQ_H
#define QEMU_SYSRQ_H

/* Keys that may wait. */
#define SYSRQ_KEYS_MAX 64
/* A guest that prints nothing is given so long, in milliseconds. */
#define SYSRQ_ANSWER_MS 500

struct peer;
struct poolfs_machine;
struct qmp;
struct sysrq;

/* monitor and console must outlive it. */
struct sysrq *sysrq_new(struct poolfs_machine *machine, struct qmp *monitor, struct peer *console);
/* The memory goes on a later turn of the loop. NULL is fine. */
void sysrq_free(struct sysrq *sysrq);

/* Gives a key, now or after those that wait. 0, or -EAGAIN when too many do. */
int sysrq_add(struct sysrq *sysrq, char key);
/* The guest printed something. NULL is fine. */
void sysrq_heard(struct sysrq *sysrq);

#endif
