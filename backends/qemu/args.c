/* SPDX-License-Identifier: MIT */
/*
 * Whatever comes from a configuration or a name is a word of its own, or inside JSON,
 * or has its commas doubled: QEMU takes a comma in an option for the next parameter.
 * Only machine and cpu are passed as they are, being QEMU's notation by definition.
 */
#include "backends/qemu/args.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "backends/base/memory.h"

/* What differs between architectures. */
struct architecture {
	const char *name;	/* as in qemu-system-NAME and `uname -m` */
	const char *machine;
	const char *console;	/* the serial port's name in Linux */
	const char *early;	/* how the kernel writes to it from the first line on */
};

static const struct architecture architectures[] = {
	{ "x86_64", "q35", "ttyS0", "earlyprintk=serial,ttyS0" },
	{ "aarch64", "virt,gic-version=max", "ttyAMA0", "earlycon" },
};

struct words {
	char **list;
	size_t count;
};

/* Adds one word, which becomes ours. */
static void add_word(struct words *words, char *word)
{
	words->list = memory_grow(words->list, (words->count + 2) * sizeof(*words->list));
	words->list[words->count++] = word;
	words->list[words->count] = NULL;
}

/* Adds an option and its value. */
__attribute__((format(printf, 3, 4)))
static void add(struct words *words, const char *option, const char *format, ...)
{
	char *value = NULL;
	va_list list;

	va_start(list, format);
	if (vasprintf(&value, format, list) < 0)
		abort();
	va_end(list);
	add_word(words, memory_string(option));
	add_word(words, value);
}

/* Adds an option with a path or name from the configuration, where it is set. */
static void add_key(struct words *words, const char *option, const struct args *args,
	const char *key)
{
	if (poolfs_has(args->values, key))
		add(words, option, "%s", poolfs_string(args->values, key));
}

/* Adds an option with a JSON value, which is released. */
static void add_json(struct words *words, const char *option, json_t *value)
{
	add_word(words, memory_string(option));
	add_word(words, json_dumps(value, JSON_COMPACT));
	json_decref(value);
}

/* A text for an option string: commas doubled. */
static char *double_commas(const char *text)
{
	char *out = memory_new(2 * strlen(text) + 1), *to = out;

	for (; *text; text++) {
		if (*text == ',')
			*to++ = ',';
		*to++ = *text;
	}
	return out;
}

/* The host's architecture, or the first one that we know. */
static const struct architecture *host_architecture(void)
{
	struct utsname host;

	uname(&host);
	for (size_t i = 0; i < sizeof(architectures) / sizeof(*architectures); i++)
		if (strcmp(host.machine, architectures[i].name) == 0)
			return &architectures[i];
	return &architectures[0];
}

/* The machine's architecture: what the program's name ends in, else the host's. */
static const struct architecture *architecture_of(const struct poolfs_values *values)
{
	const char *program = poolfs_string(values, "program");
	size_t size = strlen(program);

	for (size_t i = 0; i < sizeof(architectures) / sizeof(*architectures); i++) {
		size_t length = strlen(architectures[i].name);

		if (size >= length && strcmp(program + size - length, architectures[i].name) == 0)
			return &architectures[i];
	}
	return host_architecture();
}

/* Whether KVM could run it. */
bool args_is_native(const struct poolfs_values *values)
{
	struct utsname host;

	return uname(&host) == 0 &&
		strcmp(host.machine, architecture_of(values)->name) == 0;
}

/* The machine, its memory and processors. */
static void add_machine(struct words *words, const struct args *args,
	const struct architecture *architecture)
{
	const char *machine = poolfs_string(args->values, "machine");
	const char *cpu = poolfs_string(args->values, "cpu");
	bool trial = args->purpose == ARGS_TRIAL;
	char *name = double_commas(args->name);

	add(words, "-name", "guest=%s", name);
	free(name);
	add(words, "-machine", "%s", machine ? machine : architecture->machine);
	add(words, "-cpu", "%s", cpu ? cpu : args->kvm ? "host" : "max");
	/* On a host with a weaker order of memory accesses QEMU has to decide about threads. */
	add(words, "-accel", "%s", args->kvm ? "kvm" :
		args_is_native(args->values) ? "tcg,thread=multi" : "tcg");
	add(words, "-m", "size=%lldb", trial ? ARGS_TRIAL_MEMORY :
		(long long)poolfs_number(args->values, "memory"));
	add(words, "-smp", "%lld", trial ? 1 : (long long)poolfs_number(args->values, "cpus"));
	if (args->purpose == ARGS_RUN)
		add_key(words, "-bios", args, "firmware");
	if (args->sandbox)
		add(words, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
			"resourcecontrol=deny");
}

/* The network: only 127.0.0.1 of the host, and there a port that the kernel chooses. */
static void add_network(struct words *words, const struct args *args, const char *bus)
{
	bool isolated = strcmp(poolfs_string(args->values, "network"), "isolated") == 0;
	const char *slash = strrchr(args->name, '/');
	char *name = double_commas(slash ? slash + 1 : args->name);

	add(words, "-netdev", "user,id=net0,restrict=%s,hostname=%s,hostfwd=tcp:127.0.0.1:0-:%lld",
		isolated ? "on" : "off", name, (long long)poolfs_number(args->values, "ssh_port"));
	free(name);
	add(words, "-device", "virtio-net-%s,netdev=net0%s", bus,
		strcmp(bus, "pci") == 0 ? ",romfile=" : "");
}

/* The base image below an overlay. Nothing is taken from what the images say of themselves:
 * formats and the backing file stand here. The overlay need not survive the host: no flushes. */
static void add_disk(struct words *words, const struct args *args, const char *bus)
{
	json_t *base = json_pack("{s:s, s:b, s:{s:s, s:s, s:b}}",
		"driver", poolfs_string(args->values, "disk_format"), "read-only", 1,
		"file", "driver", "file", "filename", poolfs_string(args->values, "disk"),
		"read-only", 1);

	if (strcmp(poolfs_string(args->values, "disk_format"), "qcow2") == 0)
		json_object_set_new(base, "backing", json_null());
	add_json(words, "-blockdev", json_pack("{s:s, s:s, s:{s:b}, s:{s:s, s:s}, s:o}",
		"driver", "qcow2", "node-name", "disk0", "cache", "no-flush", 1,
		"file", "driver", "file", "filename", ARGS_OVERLAY, "backing", base));
	add(words, "-device", "virtio-blk-%s,drive=disk0", bus);
}

/* The kernel, with a command line that fits the purpose. */
static void add_kernel(struct words *words, const struct args *args,
	const struct architecture *architecture)
{
	if (!poolfs_has(args->values, "kernel"))
		return;
	add_key(words, "-kernel", args, "kernel");
	if (args->purpose == ARGS_TRIAL)
		add(words, "-append", "console=%s %s panic=-1", architecture->console,
			architecture->early);
	else if (poolfs_has(args->values, "append"))
		add_key(words, "-append", args, "append");
	else
		add(words, "-append", "console=%s panic=-1", architecture->console);
	if (args->purpose == ARGS_RUN)
		add_key(words, "-initrd", args, "initrd");
}

/* Everything that the machine itself has and a trial has not. microvm has no PCI bus. */
static void add_devices(struct words *words, const struct args *args)
{
	const char *machine = poolfs_string(args->values, "machine");
	bool is_pci = !machine || strncmp(machine, "microvm", 7) != 0;
	const char *bus = is_pci ? "pci" : "device";
	const char *const *more = poolfs_words(args->values, "arguments");

	add(words, "-chardev", "socket,id=console,server=off,path=%s", ARGS_CONSOLE);
	add(words, "-chardev", "socket,id=qmp,server=off,path=%s", ARGS_QMP);
	add(words, "-mon", "chardev=qmp,mode=control");
	add(words, "-device", "virtio-rng-%s", bus);
	if (is_pci)
		add(words, "-device", "pvpanic-pci");
	add_network(words, args, bus);
	if (poolfs_has(args->values, "disk"))
		add_disk(words, args, bus);
	for (size_t i = 0; more[i]; i++)
		add_word(words, memory_string(more[i]));
}

/* What a trial boots where there is no kernel. */
static void add_trial(struct words *words, const struct args *args,
	const struct architecture *architecture)
{
	if (poolfs_has(args->values, "kernel"))
		return;
	if (strcmp(architecture->name, "x86_64") != 0)
		return add(words, "-kernel", "%s", ARGS_TRIAL_IMAGE);
	add_json(words, "-blockdev", json_pack("{s:s, s:s, s:b, s:{s:s, s:s, s:b}}",
		"driver", "raw", "node-name", "disk0", "read-only", 1,
		"file", "driver", "file", "filename", ARGS_TRIAL_IMAGE, "read-only", 1));
	add(words, "-device", "virtio-blk-pci,drive=disk0");
}

/* Makes the command line. */
char **args_make(const struct args *args)
{
	static const char *const always[] = { "-nodefaults", "-no-user-config", "-display",
		"none" };
	const struct architecture *architecture = architecture_of(args->values);
	struct words words = { 0 };

	add_word(&words, memory_string(poolfs_string(args->values, "program")));
	for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
		add_word(&words, memory_string(always[i]));
	if (!args->resets)
		add_word(&words, memory_string("-no-reboot"));
	add_machine(&words, args, architecture);
	add_kernel(&words, args, architecture);
	if (args->purpose == ARGS_TRIAL) {
		add_trial(&words, args, architecture);
		add(&words, "-chardev", "stdio,id=console,signal=off");
	} else {
		add_devices(&words, args);
	}
	add(&words, "-serial", "chardev:console");
	return words.list;
}

/* Frees the words. */
void args_free(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}
