/* SPDX-License-Identifier: MIT */
#include "backends/base/signals.h"

#include <signal.h>
#include <stddef.h>

/* Resets all that can be. */
void signals_reset(void)
{
	sigset_t none;

	for (int signal = 1; signal < NSIG; signal++)
		if (signal != SIGKILL && signal != SIGSTOP)
			sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}
