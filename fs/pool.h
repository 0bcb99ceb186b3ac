/* SPDX-License-Identifier: MIT */
/*
 * A pool: one [pool NAME] section of the configuration, shown as a directory. mkdir in it
 * makes an instance, rmdir destroys one. Loop's thread only.
 */
#ifndef FS_POOL_H
#define FS_POOL_H

#include "fs/control.h"
#include "fs/mount.h"

struct instance;
struct pool;

extern const struct directory pool_directory;

struct pool *pool_new(struct mount *mount, const struct config_pool *config);
/* Takes an instance's name away and destroys it in the background, as rmdir does. */
struct instance;
void pool_drop(struct pool *pool, struct instance *instance);
/* An instance's shim has ended: its machine, by the number that instance_new got, may be lent to the
 * next. bad: why not; NULL: all is well. */
void pool_give_back(struct pool *pool, int target, const char *bad);
/* Whether a machine is to be reset before it is lent again. */
bool pool_resets(const struct pool *pool);
/* How long an instance may take to leave its machine, beyond the time that ending takes, in ms. */
uint64_t pool_leave_ms(const struct pool *pool);
/* The word of the configuration for the machine of that number; NULL where machines are made. */
const char *pool_target(const struct pool *pool, int target);
/* Begins to destroy every instance. */
void pool_stop(struct pool *pool);

struct object *pool_object(struct pool *pool);
const char *pool_name(const struct pool *pool);
struct mount *pool_mount(const struct pool *pool);
const struct config_pool *pool_config(const struct pool *pool);
/* The pool's lines of the top's `status`. */
void pool_status_rows(struct pool *pool, struct text *text);
/* The same and more, for status.json; the caller owns it. */
struct json_t *pool_json(struct pool *pool);
/* A boot of one of the pool's instances ended well. */
void pool_booted(struct pool *pool);
/* A boot of one of the pool's instances failed, for pool.status. reason is copied. */
void pool_boot_failed(struct pool *pool, const char *instance, const char *reason);

#endif
