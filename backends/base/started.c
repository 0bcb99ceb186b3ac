/* SPDX-License-Identifier: MIT */
#include "backends/base/started.h"

#include <stdio.h>
#include <string.h>

/* Reads it. The second field, the program's name, may hold anything; the others are counted behind it. */
unsigned long long started_at(pid_t pid)
{
	char path[32], text[1024], state = 'Z';
	unsigned long long start = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	size_t got = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	if (file)
		fclose(file);
	text[got] = '\0';
	const char *rest = strrchr(text, ')');
	if (rest)
		sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
				 "%*d %*d %llu", &state, &start);
	return state == 'Z' || state == 'X' ? 0 : start;
}
