/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/container/boot.h"
#include "backends/container/parts.h"

/* Looks in the container's passwd(5), and nowhere else: what its nsswitch.conf(5) names is code of the
 * container's. */
static bool find_name(const char *name, struct login *login)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *entry;
	bool found = false;

	while (file && !found && (entry = fgetpwent(file))) {
		found = !strcmp(entry->pw_name, name);
		*login = (struct login){ .uid = entry->pw_uid, .gid = entry->pw_gid };
	}
	if (file)
		fclose(file);
	return found;
}

/* Finds it. */
struct login login_find(const struct settings *settings, bool all_ids)
{
	const char *user = settings->user;
	struct login login = { 0 };

	if (!strcmp(user, "root"))
		return login;
	if (strspn(user, "0123456789") == strlen(user))
		login.uid = login.gid = (uid_t)strtoul(user, NULL, 10);
	else if (!find_name(user, &login))
		boot_fail(-ENOENT, "user: %s in the container's /etc/passwd", user);
	if (login.uid >= CONTAINER_IDS || login.gid >= CONTAINER_IDS)
		boot_fail(-EINVAL, "user: %s has the number %u, and the container has %u", user,
			login.uid, CONTAINER_IDS);
	if (login.uid != 0 && !all_ids)
		boot_fail(-EPERM, "user: %s: the container has no other users than root: poolfs.conf(5), "
			"\"Containers\", says who can have them", user);
	return login;
}
