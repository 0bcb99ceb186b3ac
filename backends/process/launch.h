/* SPDX-License-Identifier: MIT */
/*
 * The step between our process and a program that it starts. The program must die
 * with us, also when we are killed by SIGKILL, and must inherit nothing. Both have to
 * be arranged after fork in a process of one thread, for which uv_spawn has no place;
 * so it starts ourselves again, as
 *
 *	poolfs-shim --launch [--parent=PID] [--keep=FD]... PROGRAM ARGUMENT...
 *
 * and the main function hands that over to launch_main before anything else.
 */
#ifndef PROCESS_LAUNCH_H
#define PROCESS_LAUNCH_H

/* The first argument that says so. */
#define LAUNCH_OPTION "--launch"
/* The exit status when the program could not be started; the reason is on standard error. */
#define LAUNCH_FAILED 127

/*
 * argc and argv as main got them, argv[1] is LAUNCH_OPTION. Asks the kernel to kill this process
 * when its parent (--parent, checked) ends, gives all signals their defaults, closes all
 * descriptors from 3 on but those kept, and becomes the program (looked up in PATH when it has no
 * slash). Returns only when that fails: the exit status for main.
 */
int launch_main(int argc, char **argv);

#endif
