/* SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <stdlib.h>

#include "backends/base/memory.h"
#include "backends/base/values.h"
#include "backends/kinds.h"

/* What poolfs --demo serves, as config/container.ini would say it. */
static const char *const settings[][2] = { { "type", "container" }, { "count", "100" } };

/* The one pool. */
static int add_pool(struct config *config, struct poolfs_err *err)
{
	const struct poolfs_kind *kind = kinds_find("container");
	const struct poolfs_key **tables = kinds_tables(kind);
	struct poolfs_values *values = values_new(tables);
	int result = 0;

	free(tables);
	for (size_t i = 0; result == 0 && i < sizeof(settings) / sizeof(*settings); i++)
		result = values_set(values, settings[i][0], settings[i][1], "/", err);
	values_defaults(values, "/");
	struct config_pool *pool = config->pools = memory_new(sizeof(*config->pools));
	*pool = (struct config_pool){ .name = memory_string("demo"), .kind = kind, .values = values };
	config->pool_count++;
	return result < 0 ? result : facts_find(kind, values, &pool->facts, err);
}

/* Makes it. */
int config_demo(struct config **out, struct poolfs_err *err)
{
	static const struct poolfs_key *const tables[] = { config_keys, NULL };
	struct config *config = memory_new(sizeof(*config));

	config->file = memory_string("poolfs-demo");
	config->daemon = values_new(tables);
	values_defaults(config->daemon, "/");
	int result = add_pool(config, err);
	if (result < 0)
		config_free(config);
	else
		*out = config;
	return result;
}
